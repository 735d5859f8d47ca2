"""Saying which services owctl keeps at an earlier image, and that an upgrade is not finished."""

from typing import TYPE_CHECKING, Any

from owctl.context import Context
from owctl.errors import OwctlError

if TYPE_CHECKING:
    from owctl.project.upgrade_record import Held, Record


def tell_held(context: Context) -> None:
    """Say which services are kept at an image that is not the one that the files name."""
    record = _record(context)
    for name, held in _held(context, record).items():
        # Else it is said by the warning that it is not finished.
        if record.under_way is None or record.under_way.upgrade.of(name) is None:
            context.console.info(
                f"{name} is kept at {held.image.in_words}: {held.why}. "
                f"`owctl upgrade` takes {held.reference} as it is by then."
            )


def tell_unfinished(context: Context) -> None:
    """Warn of an upgrade that replaces containers, or was interrupted while it did."""
    under_way = _record(context).under_way
    if under_way is not None and under_way.phase != "acquiring":
        upgrade = under_way.upgrade
        context.console.warn(
            f"The {upgrade.kind} of {', '.join(upgrade.services)} that began at {upgrade.started_at} "
            f"is not finished. If no owctl is at work on it: {upgrade.ways_on}"
        )


def upgrades_document(context: Context) -> dict[str, Any]:
    """Return what ``status --json`` says of upgrades: the services that are held, what is unfinished."""
    record = _record(context)
    under_way = record.under_way
    return {
        "held": [
            {
                "service": name,
                "reference": held.reference,
                "image_id": held.image.image_id,
                "version": held.image.version,
                "reason": held.why,
            }
            for name, held in _held(context, record).items()
        ],
        "unfinished_upgrade": None
        if under_way is None or under_way.phase == "acquiring"
        else {
            "kind": under_way.upgrade.kind,
            "services": list(under_way.upgrade.services),
            "started_at": under_way.upgrade.started_at,
        },
    }


def _held(context: Context, record: "Record") -> "dict[str, Held]":
    services = context.stack.services
    return {
        name: held
        for name, held in record.held.items()
        if name in services and services[name].held_image is not None
    }


def _record(context: Context) -> "Record":
    """Return what is on record; nothing where it is damaged, which was said with the stack.

    Upgrades are of the project's own stack alone.
    """
    from owctl.project.upgrade_record import Record, read_record

    if context.command_prefix:
        return Record()
    try:
        return read_record(context.stack.working_dir)
    except OwctlError:
        return Record()


def refuse_if_moved(context: Context) -> None:
    """Refuse to go on with a stack that was read before another owctl changed what is held.

    To be called once the lock is held. Raises OwctlError.
    """
    from owctl.project.upgrade_record import hold_images, read_record

    stack = context.stack
    now = hold_images(stack, read_record(stack.working_dir))
    before = {name: service.held_image for name, service in stack.services.items()}
    if {name: service.held_image for name, service in now.services.items()} != before:
        raise OwctlError(
            "Another owctl upgraded this project, or went back, while this one waited for it.",
            hint="the same command again",
        )
