"""Which services can be upgraded, and what they run now."""

from collections.abc import Sequence
from dataclasses import dataclass

from owctl.compose.model import Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.images import inspect_image
from owctl.errors import ServiceFailed, UsageError
from owctl.lifecycle.observed import Observed
from owctl.project.upgrade_record import ImageNote, Record
from owctl.upgrade.notes import note_of


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
    from owctl.compose.order import dependency_order

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
    from owctl.lifecycle.actions import is_one_shot

    containers = observed.of(name)
    return bool(containers) and (
        is_one_shot(stack, name)
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
