"""The configuration: compose files, ``.env`` and the files that they name, stored as they are."""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from owctl.backup.encryption import Encryption
from owctl.backup.manifest import Member
from owctl.backup.member_file import write_small
from owctl.compose.model import Stack
from owctl.errors import OwctlError


def configuration_files(stack: Stack) -> Iterator[tuple[str, Path]]:
    """Yield (name of the member, file); files outside the project go to ``config/elsewhere/``."""
    taken: set[str] = set()
    files = (*stack.config_files, *stack.environment_files, *stack.named_files)
    for path in dict.fromkeys(files):
        if path.is_relative_to(stack.working_dir):
            name = PurePosixPath("config") / path.relative_to(stack.working_dir).as_posix()
        else:
            name = PurePosixPath("config/elsewhere") / path.name
        number = 1
        while str(name) in taken:
            number += 1
            name = name.with_name(f"{number}-{path.name}")
        taken.add(str(name))
        yield str(name), path


def store_configuration(
    stack: Stack,
    folder: Path,
    warn: Callable[[str], None],
    encryption: Encryption | None = None,
) -> Iterator[Member]:
    """Store the files in ``folder`` and yield their members; raises OwctlError.

    ``warn`` is told of a secret or config that cannot be stored: the engine may read what this
    user may not, and it may be a folder.
    """
    own = {*stack.config_files, *stack.environment_files}
    for name, path in configuration_files(stack):
        try:
            content = _content(path)
        except OSError as error:
            reason = error.strerror or str(error)
            if path not in own:
                warn(f"{path}, which the compose files name, is not in the backup: {reason}.")
                continue
            raise OwctlError(
                f"Cannot read {path}: {reason}.",
                hint="owctl config --validate",
            ) from error
        stored = write_small(folder, name, content, encryption)
        yield Member(
            name=stored.name,
            kind="configuration",
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            content_size_bytes=stored.content_size_bytes,
            detail={"path": str(path)},
        )


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise OSError(0, "it is no file")
    return path.read_bytes()
