"""A stack from its backup alone: configuration, images, volumes, data, and everything started.

Nothing was there before, so nothing is replaced and nothing is kept. A note in the project's folder
says that it was begun: the same command goes on after whatever stopped it.
"""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from owctl.backup.access import make_folders, open_readable
from owctl.backup.restore.journal import Journal, has_begun_note, write_begun_note
from owctl.backup.restore.plan import RestoreRequest, plan_restore
from owctl.backup.restore.run import RestoreOutcome, finish_restore, run_restore
from owctl.backup.restore.source import ConfigContent, Source
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import list_containers
from owctl.engine.volumes import list_volumes
from owctl.errors import BackupInvalid, Interrupted, OwctlError, UsageError
from owctl.lifecycle.plan import Plan
from owctl.lifecycle.run import Prepared, prepare_start, run
from owctl.lifecycle.start_plan import StartOptions
from owctl.progress import Receiver, ignore, warning
from owctl.project.private_file import PRIVATE_MODE, FileAppeared, cannot, create_file
from owctl.project.state import FOLDER

_COMPOSE_SUFFIXES = (".yaml", ".yml")
_FIRST = ("pull", "build", "volume")
_GOES_ON = "The configuration is in place; nothing else was restored yet. The same command goes on."


@dataclass(frozen=True, slots=True)
class Configuration:
    """Which files of a backup belong into the project's folder, and which came from elsewhere."""

    files: tuple[str, ...]
    elsewhere: tuple[str, ...]

    @property
    def compose_files(self) -> tuple[str, ...]:
        """The compose files among those of the project's folder, in their order."""
        return tuple(name for name in self.files if name.endswith(_COMPOSE_SUFFIXES))


def configuration_of(source: Source) -> Configuration:
    """Return what a source has of the configuration."""
    files = [file.path for file in source.config if file.path is not None]
    elsewhere = [file.name for file in source.config if file.path is None]
    return Configuration(tuple(files), tuple(elsewhere))


def was_begun(folder: Path) -> bool:
    """Return whether a restore into an empty folder was begun here, and has no journal yet."""
    return has_begun_note(folder) and not Journal.exists(folder)


def write_configuration(folder: Path, source: Source) -> Configuration:
    """Write the backup's configuration into a folder that has none, ``.env`` for its owner only.

    What is there already with the same content stays. Raises BackupInvalid for a damaged file or
    one that leads out of the folder, OwctlError where another file is in the way.
    """
    contents: list[tuple[ConfigContent, str, bytes]] = []
    for file in source.config:
        if file.path is None:
            continue
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or path.parts[:1] == (FOLDER,):
            raise BackupInvalid(f"{file.name}: its place is not in the project's folder.")
        contents.append((file, file.path, file.read()))
    for _, name, data in contents:
        target = folder / name
        if target.exists() and target.read_bytes() != data:
            raise OwctlError(
                f"{target} is there already, and is not the backup's.",
                hint="an empty folder; or owctl restore BACKUP --only config in a project",
            )
    write_begun_note(folder)
    for file, name, data in contents:
        _create(folder, name, data, file)
    return configuration_of(source)


def open_configuration(stack: Stack, source: Source) -> None:
    """Let others read what is no secret, of a backup that says nothing of who may.

    These are the compose files, and what ``configs:`` name: containers of other users read it.
    Raises OwctlError.
    """
    unknown = {stack.working_dir / f.path for f in source.config if f.path and f.access is None}
    named = {
        section: {Path(e["file"]) for e in stack.spec.get(section, {}).values() if e.get("file")}
        for section in ("configs", "secrets")
    }
    public = {*stack.config_files, *named["configs"]} - named["secrets"]
    public -= set(stack.environment_files)
    try:
        open_readable({path for path in unknown & public if path.exists()})
    except OSError as error:
        raise cannot("open", Path(error.filename or stack.working_dir), error) from error


def check_files(stack: Stack, source: Source) -> None:
    """Raise UsageError unless the stack was read from the very compose files of the backup."""
    found = configuration_of(source)
    used = [
        path.relative_to(stack.working_dir).as_posix()
        for path in stack.config_files
        if path.is_relative_to(stack.working_dir)
    ]
    if found.compose_files and sorted(used) != sorted(found.compose_files):
        flags = " ".join(f"-f {name}" for name in found.compose_files)
        raise UsageError(
            f"The stack was made from {', '.join(found.compose_files)}; here, "
            f"{', '.join(used) or 'none'} would be used.",
            hint=f"owctl {flags} restore {source.paths[0]}",
        )


def is_new(engine: Engine, stack: Stack) -> bool:
    """Return whether the engine has nothing of the project, or only what was begun here."""
    if was_begun(stack.working_dir):
        # What runs was started by somebody else: it may have data of its own by now.
        return not any(each.is_running for each in list_containers(engine, stack.project))
    return not list_containers(engine, stack.project) and not list_volumes(engine, stack.project)


def restore_anew(
    engine: Engine,
    stack: Stack,
    source: Source,
    request: RestoreRequest,
    receive: Receiver = ignore,
    *,
    project_before: str | None = None,
) -> RestoreOutcome:
    """Bring a stack up that was never here, with the data of ``source``.

    The caller holds the project's lock. ``project_before`` is the name that the stack had when it
    was backed up. Every service answers when this returns, unless ``request`` says not to start
    them. Raises BackupInvalid before anything is made, ImageMissing and OwctlError, after which
    the same call goes on.
    """
    write_begun_note(stack.working_dir)
    check_files(stack, source)
    open_configuration(stack, source)
    source.verify(receive)
    _tell(stack, source, project_before, receive)
    _prepare(engine, stack, source, request.timeout_seconds, receive)
    request = replace(request, safety_backup=False)
    plan = plan_restore(engine, stack, source, request, receive, verified=True)
    for text in plan.warnings:
        receive(warning(text))
    plan = replace(plan, running=tuple(stack.services) if request.start else ())
    try:
        outcome = run_restore(engine, stack, plan, request, receive, anew=True)
    except OwctlError as error:
        if was_begun(stack.working_dir):
            error.details = (*error.details, _GOES_ON)
        raise
    finish_restore(engine, stack, outcome.journal, receive, timeout_seconds=request.timeout_seconds)
    return outcome


def _tell(stack: Stack, source: Source, project_before: str | None, receive: Receiver) -> None:
    elsewhere = configuration_of(source).elsewhere
    if elsewhere:
        receive(
            warning(
                f"{', '.join(elsewhere)} came from outside of the project's folder, and "
                f"{'was' if len(elsewhere) == 1 else 'were'} not written."
            )
        )
    if project_before not in (None, stack.project):
        receive(
            warning(
                f"The backup is of the project {project_before}; here it is {stack.project}. "
                f"owctl -p {project_before} keeps the name."
            )
        )


def _prepare(
    engine: Engine, stack: Stack, source: Source, timeout_seconds: float, receive: Receiver
) -> None:
    """Get the images, and make the volumes that data goes into."""
    prepared = prepare_start(engine, stack, list(stack.services), StartOptions())
    # A volume without a name comes with its container.
    unnamed = [content for content in source.volumes if content.key not in stack.volumes]
    services = {service for content in unnamed for service, _ in content.mounted_at}
    kinds = (*_FIRST, "network") if services else _FIRST
    steps = [
        step
        for step in prepared.plan.steps
        if step.kind in kinds or (step.kind == "create" and step.service in services)
    ]
    _check_builds(stack, [step.service or "" for step in steps if step.kind == "build"])
    kept = {step.key for step in steps}
    plan = Plan(tuple(replace(step, requires=step.requires & kept) for step in steps))
    try:
        run(
            engine, stack, Prepared(plan, prepared.observed), receive,
            timeout_seconds=timeout_seconds,
        )  # fmt: skip
    except OwctlError as error:
        error.details = (*error.details, _GOES_ON)
        if isinstance(error, Interrupted):
            error.hint = None
        raise


def _check_builds(stack: Stack, names: list[str]) -> None:
    """Raise OwctlError if images would have to be built from folders that are not here."""
    missing = []
    for name in names:
        service = stack.services[name]
        if service.build is not None and not service.build.context.is_dir():
            image = service.image_name(stack.project)
            missing.append(f"{name}: the image {image}, or the folder {service.build.context}")
    if missing:
        raise OwctlError(
            "Images are missing that are built from folders, which are not in a backup.",
            hint="bring what is named above from the old machine (docker save, docker load; or "
            "the folder), then the same command again",
            details=[*missing, _GOES_ON],
        )


def _create(folder: Path, name: str, data: bytes, file: ConfigContent) -> None:
    path = folder / name
    if path.exists():
        return
    try:
        make_folders(folder, name, file.folders)
        create_file(path, data, mode=PRIVATE_MODE)
        if file.access is not None:
            file.access.give(path)
    except FileAppeared:
        if path.read_bytes() != data:
            raise
    except OSError as error:
        raise cannot("write", path, error) from error
