"""From the images before to the images after, and back again by itself if that fails.

While containers are replaced, every service is on record as held at its image of before. So whatever
ends owctl, `owctl start` brings back what was; only the last line of the record makes the new one
count.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.images import forget_images, image_id, keep_image
from owctl.errors import Interrupted, OwctlError
from owctl.progress import Receiver, warning
from owctl.project.upgrade_record import (
    Change,
    Held,
    ImageNote,
    Record,
    UnderWay,
    Upgrade,
    finish,
    hold_images,
    release_images,
    write_record,
)
from owctl.upgrade.images.roll import Rolled, roll

# For the way back: whatever was allowed to the new version, the old one is not given up early.
_PATIENCE_SECONDS = 300.0
_UNFINISHED = "the {kind} of {when} was not finished"
_FAILED = "the {kind} of {when} did not take place"
_WENT_BACK = "rolled back on {when}"


class WentBack(OwctlError):
    """An upgrade failed, and the services run their images of before again."""


@dataclass(frozen=True, slots=True)
class Way:
    """What a transition works with: the stack (held services as they are held), the time allowed."""

    engine: Engine
    stack: Stack
    receive: Receiver
    timeout_seconds: float


def note(way: Way, record: Record, upgrade: Upgrade) -> Record:
    """Write down that the services are about to be replaced, and return that record.

    Their images of before get names of owctl's own first. Raises OwctlError.
    """
    upgrade = _kept(way, upgrade)
    holds = {**record.held, **_holds(way.stack, upgrade, _UNFINISHED)}
    noted = replace(record, held=holds, under_way=UnderWay(upgrade, "replacing", {}))
    write_record(way.stack.working_dir, noted)
    return noted


def go(way: Way, record: Record, noted: Record) -> Rolled:
    """Replace the containers of the changed services; the record then has the upgrade as finished.

    ``record`` is that of before, ``noted`` what ``note`` made of it. Raises WentBack, or Interrupted,
    when it failed and everything is as before; another OwctlError when going back failed, too: then
    the record says that it is under way.
    """
    assert noted.under_way is not None
    upgrade = noted.under_way.upgrade
    target = _target(way, upgrade)
    try:
        rolled = roll(
            way.engine,
            target,
            upgrade.services,
            way.receive,
            timeout_seconds=way.timeout_seconds,
        )
    except (KeyboardInterrupt, OwctlError) as error:
        way.receive(warning("Going back to the images before"))
        _return_after(way, noted, error)
    done = finish(record, upgrade, _held_after(way, record, upgrade))
    _settle(way, done)
    return rolled


def go_back(way: Way, record: Record) -> Rolled:
    """Bring the services of an upgrade that is under way back to their images of before.

    Afterwards the record knows nothing of it any more, but holds what a start would upgrade again.
    """
    assert record.under_way is not None
    upgrade = record.under_way.upgrade
    holds = {**record.held, **_holds(way.stack, upgrade, _UNFINISHED)}
    returning = replace(record, held=holds, under_way=replace(record.under_way, phase="returning"))
    write_record(way.stack.working_dir, returning)
    stack = hold_images(way.stack, returning)
    rolled = roll(
        way.engine,
        stack,
        upgrade.services,
        way.receive,
        timeout_seconds=max(way.timeout_seconds, _PATIENCE_SECONDS),
    )
    settled = Record(record.finished, _held_before(way, holds, upgrade))
    _settle(way, settled)
    return rolled


def _settle(way: Way, record: Record) -> None:
    """Write the record that makes it count, and give up the names that it does not need."""
    write_record(way.stack.working_dir, record)
    # One that cannot be had off now goes with the next upgrade.
    with contextlib.suppress(OwctlError):
        forget_images(way.engine, way.stack.project, record.kept_names)


def _return_after(way: Way, record: Record, error: BaseException) -> None:
    """Go back, and raise what says why."""
    assert record.under_way is not None
    upgrade = record.under_way.upgrade
    names = ", ".join(upgrade.services)
    interrupted = isinstance(error, (KeyboardInterrupt, Interrupted))
    cause = (
        "Interrupted." if interrupted else error.message if isinstance(error, OwctlError) else ""
    )
    try:
        go_back(way, record)
    except (KeyboardInterrupt, OwctlError) as second:
        raise _stuck(upgrade, cause, error, second) from second
    message = (
        f"{cause} The {upgrade.kind} did not take place: {names} {_runs(upgrade)} the image of before "
        "again, and `owctl start` keeps to it."
    )
    if interrupted:
        raise Interrupted(message, hint=f"owctl {upgrade.kind}, which begins again") from error
    details = error.details if isinstance(error, OwctlError) else ()
    raise WentBack(
        message,
        hint="owctl status, which shows what runs; owctl upgrade, once the new image is mended",
        details=details,
    ) from error


def _runs(upgrade: Upgrade) -> str:
    return "runs" if len(upgrade.changes) == 1 else "run"


def _stuck(upgrade: Upgrade, cause: str, first: BaseException, second: BaseException) -> OwctlError:
    details = list(first.details) if isinstance(first, OwctlError) else []
    if isinstance(second, OwctlError):
        details += [f"On the way back: {second.message}", *second.details]
    kind = Interrupted if isinstance(second, (KeyboardInterrupt, Interrupted)) else OwctlError
    return kind(
        f"{cause} The way back was not finished either: some of "
        f"{', '.join(upgrade.services)} may run the images of before, some the new ones.",
        hint="owctl rollback, which goes on with the way back",
        details=details,
    )


def _kept(way: Way, upgrade: Upgrade) -> Upgrade:
    """Give the images of before names of owctl's own, so that nothing prunes them."""
    project = way.stack.project
    changes = list[Change]()
    for each in upgrade.changes:
        name = keep_image(way.engine, project, each.service, each.before.image_id)
        changes.append(replace(each, before=replace(each.before, kept_as=name)))
    return replace(upgrade, changes=tuple(changes))


def _target(way: Way, upgrade: Upgrade) -> Stack:
    """Return the stack in which the changed services have their images of after."""
    released = release_images(way.stack, upgrade.services)
    return hold_images(released, Record(held=_needed(way, released, _after(upgrade), "")))


def _held_after(way: Way, record: Record, upgrade: Upgrade) -> dict[str, Held]:
    """Return what is held once the upgrade is done: what the files' names would change again."""
    others = {name: held for name, held in record.held.items() if upgrade.of(name) is None}
    why = _WENT_BACK.format(when=_day(upgrade))
    return {**others, **_needed(way, way.stack, _after(upgrade), why)}


def _held_before(way: Way, holds: Mapping[str, Held], upgrade: Upgrade) -> dict[str, Held]:
    """Return what is held once everything is back."""
    others = {name: held for name, held in holds.items() if upgrade.of(name) is None}
    why = _FAILED.format(kind=upgrade.kind, when=_day(upgrade))
    before = {each.service: each.before for each in upgrade.changes}
    return {**others, **_needed(way, way.stack, before, why)}


def _after(upgrade: Upgrade) -> dict[str, ImageNote]:
    return {each.service: each.after for each in upgrade.changes}


def _needed(way: Way, stack: Stack, images: Mapping[str, ImageNote], why: str) -> dict[str, Held]:
    """Return the services of which the files name another image than the one that they shall have."""
    held = dict[str, Held]()
    for name, note in images.items():
        reference = stack.services[name].declared_image(stack.project)
        if image_id(way.engine, reference) != note.image_id:
            held[name] = Held(reference, note, why)
    return held


def _holds(stack: Stack, upgrade: Upgrade, why: str) -> dict[str, Held]:
    text = why.format(kind=upgrade.kind, when=_day(upgrade))
    return {
        each.service: Held(
            stack.services[each.service].declared_image(stack.project), each.before, text
        )
        for each in upgrade.changes
    }


def _day(upgrade: Upgrade) -> str:
    return upgrade.started_at.replace("T", " ").removesuffix("Z") + " UTC"
