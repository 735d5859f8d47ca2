"""Saying which services owctl keeps at an earlier image, and that an upgrade is not finished."""

from owctl.context import Context
from owctl.errors import OwctlError


def tell_held(context: Context) -> None:
    """Say which services are kept at an image that is not the one that the files name."""
    from owctl.project.upgrade_record import read_record

    stack = context.stack
    record = read_record(stack.working_dir)
    for name, held in record.held.items():
        service = stack.services.get(name)
        if record.under_way is not None and record.under_way.upgrade.of(name):
            # Said by the warning that it is not finished.
            continue
        if service is not None and service.held_image is not None:
            context.console.info(
                f"{name} is kept at {held.image.in_words}: {held.why}. "
                f"`owctl upgrade` takes {held.reference} as it is by then."
            )


def tell_unfinished(context: Context) -> None:
    """Warn of an upgrade that replaces containers, or was interrupted while it did."""
    from owctl.project.upgrade_record import read_record

    if context.command_prefix:
        return
    under_way = read_record(context.stack.working_dir).under_way
    if under_way is not None and under_way.phase != "acquiring":
        upgrade = under_way.upgrade
        context.console.warn(
            f"The {upgrade.kind} of {', '.join(upgrade.services)} that began at {upgrade.started_at} "
            f"is not finished. If no owctl is at work on it: {upgrade.ways_on}"
        )


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
