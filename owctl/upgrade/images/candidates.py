"""What an upgrade would change: candidates, fetched or asked of the registry, and what is worth a word."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from owctl.compose.model import Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.drift import is_made_from
from owctl.engine.images import Image, image_id, inspect_image, tag_image
from owctl.errors import ImageMissing, OwctlError, ServiceFailed, UsageError
from owctl.lifecycle.actions import Actions
from owctl.lifecycle.execute import announce, execute
from owctl.lifecycle.observed import Observed
from owctl.lifecycle.plan import Plan, Step
from owctl.progress import Receiver
from owctl.project.upgrade_record import Change, ImageNote, Record

# -- Images written down.


VERSION_LABEL = "org.opencontainers.image.version"


def note_of(image: Image, reference: str) -> ImageNote:
    """Return what is written down of an image that the files call ``reference``."""
    repository = _repository(reference)
    digests = [digest for digest in image.digests if digest.rpartition("@")[0] == repository]
    chosen = (digests or list(image.digests) or [""])[0].rpartition("@")[2]
    return ImageNote(
        reference=reference,
        image_id=image.id,
        digest=chosen or None,
        version=image.labels.get(VERSION_LABEL) or None,
    )


def _repository(reference: str) -> str:
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


# -- Which services can be upgraded, and what they run now.


@dataclass(frozen=True, slots=True)
class Candidate:
    """A service that runs: as the files describe it, its containers, the image before.

    ``reference`` is the image that the files name.
    """

    service: Service
    containers: tuple[Container, ...]
    reference: str
    before: ImageNote


def find_candidates(
    engine: Engine,
    stack: Stack,
    observed: Observed,
    record: Record,
    names: Sequence[str],
    *,
    named: bool,
) -> tuple[Candidate, ...]:
    """Return the services among ``names`` that run, in the order of their dependencies.

    ``named`` says that the user named them: then one that does not run is an error. Those of an
    upgrade that is not finished are always among them. Raises ServiceFailed.
    """
    from owctl.compose.references import dependency_order

    unfinished = record.under_way.upgrade.services if record.under_way else ()
    check_are_described(stack, unfinished)
    absent = [
        name for name in names if name not in unfinished and not _counts(stack, observed, name)
    ]
    if (named and absent) or len(absent) == len(names):
        which = ", ".join(absent) if named else "the stack"
        raise ServiceFailed(
            f"There is nothing to upgrade: {which} is not started."
            if not named
            else f"{which} cannot be upgraded: it does not run.",
            hint="owctl start --pull, which starts with the newest images",
        )
    chosen = {*names, *unfinished} - {*absent}
    return tuple(
        _candidate(engine, stack, stack.services[name], observed.of(name), record)
        for name in dependency_order(stack)
        if name in chosen and observed.of(name)
    )


def _counts(stack: Stack, observed: Observed, name: str) -> bool:
    """Return whether a service is at work, or did its work and ended as it should."""
    containers = observed.of(name)
    return bool(containers) and (
        stack.is_one_shot(name)
        or any(each.state in ("running", "restarting", "paused") for each in containers)
    )


def _candidate(
    engine: Engine, stack: Stack, service: Service, containers: Sequence[Container], record: Record
) -> Candidate:
    reference = service.declared_image(stack.project)
    upgrade = record.under_way.upgrade if record.under_way else None
    change = upgrade.of(service.name) if upgrade else None
    if upgrade is None or change is None:
        before = present_image(engine, containers[0])
    else:
        # What a rollback was to bring is what an upgrade then goes on from.
        before = change.before if upgrade.kind == "upgrade" else change.after
    return Candidate(service, tuple(containers), reference, before)


def check_are_described(stack: Stack, names: Sequence[str]) -> None:
    """Refuse to go on without services that an upgrade changed: raises UsageError."""
    missing = [name for name in names if name not in stack.services]
    if missing:
        raise UsageError(
            f"{', '.join(missing)}, which the last upgrade changed, is not in the compose files "
            "that are used now.",
            hint="the same command with the -f and --profile of that upgrade",
        )


def present_image(engine: Engine, container: Container) -> ImageNote:
    """Return the image that a container runs."""
    image = inspect_image(engine, container.image_id)
    if image is None:
        return ImageNote(container.image, container.image_id)
    return note_of(image, container.image)


# -- The new images, fetched or built while the old ones run; put back where something fails.


Source = Literal["pull", "build", "local"]


@dataclass(frozen=True, slots=True)
class Fetching:
    """Where new images come from. ``pull`` None: ready-made images are pulled, and base images of
    builds are not; True: those, too; False: nothing is pulled.
    """

    pull: bool | None = None
    build: bool = True


def fetch_plan(stack: Stack, candidates: Sequence[Candidate], fetching: Fetching) -> Plan:
    """Return the steps that get the images, each name once; all can be done at the same time."""
    steps: dict[tuple[str, str], Step] = {}
    for each in candidates:
        kind = source_of(each.service, fetching)
        if kind != "local":
            name = each.service.name
            step = Step(kind=kind, subject=name, service=name, name=each.reference)
            steps.setdefault((kind, each.reference), step)
    return Plan(tuple(steps.values()))


def source_of(service: Service, fetching: Fetching) -> Source:
    """Return where a service's new image comes from; "local" is this machine."""
    policy = service.pull_policy or "missing"
    if service.build is not None and policy not in ("always", "never"):
        return "build" if fetching.build else "local"
    return "local" if policy == "never" or fetching.pull is False else "pull"


def fetch(engine: Engine, stack: Stack, plan: Plan, fetching: Fetching, receive: Receiver) -> None:
    """Pull and build. Raises the first failure; the tags are then as far as it came."""
    actions = Actions(engine, stack, plan, force_pull=fetching.pull is True)
    announce(plan, receive)
    execute(plan, actions.perform, receive)


def present_tags(engine: Engine, candidates: Sequence[Candidate]) -> dict[str, str | None]:
    """Return which image each reference means now, by id; None for one that is not there."""
    references = sorted({each.reference for each in candidates})
    return {reference: image_id(engine, reference) for reference in references}


def put_back(engine: Engine, tags: Mapping[str, str | None]) -> None:
    """Give names back to the images that had them; one that is gone by now is left out."""
    for reference, before in tags.items():
        if before is None or "@" in reference or image_id(engine, reference) == before:
            continue
        if inspect_image(engine, before) is not None:
            tag_image(engine, before, reference)


def find_changes(engine: Engine, candidates: Sequence[Candidate]) -> tuple[Change, ...]:
    """Return the services whose reference means another image than the one that they run.

    Raises ImageMissing where a reference means none.
    """
    changes = list[Change]()
    for each in candidates:
        image = inspect_image(engine, each.reference)
        if image is None:
            raise ImageMissing(
                f"The image {each.reference} of {each.service.name} is not on this machine.",
                hint="owctl upgrade without --no-pull and --no-build, or docker load",
            )
        runs_it = all(is_made_from(container.raw, image.raw) for container in each.containers)
        if not runs_it or each.before.image_id != image.id:
            _refuse_major_step(engine, each, image)
            changes.append(Change(each.service.name, each.before, note_of(image, each.reference)))
    return tuple(changes)


def _refuse_major_step(engine: Engine, candidate: Candidate, image: Image) -> None:
    """Refuse a PostgreSQL that cannot read the data of the one that runs."""
    from owctl.compose.services import choose_probe
    from owctl.postgres.files import image_major

    if choose_probe(candidate.service).type != "postgres":
        return
    old = inspect_image(engine, candidate.before.image_id)
    before = image_major(candidate.before.reference, old)
    after = image_major(candidate.reference, image)
    if before is not None and after is not None and before != after:
        raise OwctlError(
            f"{candidate.service.name} runs PostgreSQL {before}, and {candidate.reference} is "
            f"PostgreSQL {after}, which cannot read its data.",
            hint=f"owctl upgrade --postgres-major; or an image of PostgreSQL {before} in .env",
        )


# -- What an upgrade would bring, as far as that can be known without fetching anything.


Verdict = Literal["new", "same", "unknown"]


@dataclass(frozen=True, slots=True)
class Outlook:
    """One service: whether its image would be another one.

    ``digest`` is the registry's, where it told; ``after`` the image, where it is on this machine;
    ``why`` says in words how that is known, or why it is not.
    """

    service: str
    reference: str
    source: Source
    before: ImageNote
    verdict: Verdict
    why: str
    after: ImageNote | None = None
    digest: str | None = None


def look_ahead(
    engine: Engine, candidates: tuple[Candidate, ...], fetching: Fetching
) -> list[Outlook]:
    """Return the outlook of each service; registries are asked, all at once."""
    return engine.map(lambda each: _outlook(engine, each, fetching), candidates)


def _outlook(engine: Engine, candidate: Candidate, fetching: Fetching) -> Outlook:
    source = source_of(candidate.service, fetching)
    here = inspect_image(engine, candidate.reference)
    base = Outlook(
        service=candidate.service.name,
        reference=candidate.reference,
        source=source,
        before=candidate.before,
        verdict="unknown",
        why="",
    )
    if source == "build":
        return _with(base, "unknown", "built here: known after the build")
    if source == "pull":
        return _asked(engine, base, here)
    return _here(base, here, "on this machine")


def _asked(engine: Engine, base: Outlook, here: Image | None) -> Outlook:
    from owctl.engine.images import registry_digest

    try:
        digest = registry_digest(engine, base.reference)
    except OwctlError as error:
        why = error.message.rstrip(".")
        return _with(base, "unknown", f"not known without pulling: {why}")
    if here is not None and any(each.endswith("@" + digest) for each in here.digests):
        return _here(base, here, "pulled already", digest)
    if base.before.digest == digest:
        return _with(base, "same", "the registry has nothing newer", digest=digest)
    return _with(base, "new", "the registry has another one", digest=digest)


def _here(base: Outlook, here: Image | None, why: str, digest: str | None = None) -> Outlook:
    if here is None:
        return _with(base, "unknown", "not on this machine")
    note = note_of(here, base.reference)
    if note.image_id == base.before.image_id:
        return _with(base, "same", "nothing newer", after=note, digest=digest)
    return _with(base, "new", why, after=note, digest=digest)


def _with(
    base: Outlook,
    verdict: Verdict,
    why: str,
    *,
    after: ImageNote | None = None,
    digest: str | None = None,
) -> Outlook:
    return replace(base, verdict=verdict, why=why, after=after, digest=digest)
