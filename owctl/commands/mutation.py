"""Around every command that changes something: the lock, the history, what is held and half done."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owctl.context import Context
from owctl.errors import EngineUnavailable, Interrupted, OwctlError
from owctl.lifecycle.plan import Plan

if TYPE_CHECKING:
    from owctl.project.upgrade_record import Held, Record


# -- Saying which services owctl keeps at an earlier image, and that an upgrade is not finished.


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


# -- What every changing command does around its work: lock, history.


_END_AN_UPGRADE = {"upgrade", "rollback"}


@contextmanager
def mutation(context: Context, command: str, lock_wait_seconds: float = 0) -> Iterator[None]:
    """Hold the project's lock for a block, and leave a line in the history.

    What a killed backup left stopped or started is set right first. Raises Locked when another
    owctl holds the lock, OwctlError where an interrupted restore left half of the data swapped, or an
    interrupted upgrade the database.
    """
    from owctl.changeover.journal import refuse_half_done
    from owctl.project.lock import project_lock
    from owctl.project.state import check_folder

    context.warn_of_files()
    identity, project = context.engine.engine_id, context.stack.project
    named = f"{context.command_prefix}{command}"
    with (
        project_lock(identity, project, named, wait_seconds=lock_wait_seconds),
        recorded(context, named),
    ):
        # What was left of a restore, a backup or an upgrade is not the development stack's.
        if not context.command_prefix:
            check_folder(context.stack.working_dir)
            refuse_half_done(context.stack.working_dir, command)
            _heal(context)
            _recover_upgrade(context, command)
        yield


def _heal(context: Context) -> None:
    from owctl.backup.create.interlude_record import path_of

    if not path_of(context.stack.working_dir).exists():
        return
    from owctl.backup.create.interlude_record import heal

    try:
        for sentence in heal(context.engine, context.stack):
            context.console.warn(sentence)
    except (EngineUnavailable, Interrupted):
        raise
    except OwctlError as error:
        # The command may be the very one that helps.
        context.console.warn(f"{error.message} Try: {error.hint}")


def _recover_upgrade(context: Context, command: str) -> None:
    """Set right what a killed upgrade left of names of images; say so if it replaced containers."""
    from owctl.project.upgrade_record import path_of

    if not path_of(context.stack.working_dir).exists():
        return

    from owctl.project.upgrade_record import read_record
    from owctl.upgrade.images.run import recover

    try:
        read_record(context.stack.working_dir)
    except OwctlError:
        if command == "backup":
            # It was said, and what is damaged there is no reason to go without a backup.
            return
        raise
    refuse_if_moved(context)
    sentence = recover(context.engine, context.stack)
    if sentence is not None and command not in _END_AN_UPGRADE:
        context.console.warn(sentence)


@contextmanager
def folder_mutation(
    context: Context, command: str, folder: Path, lock_wait_seconds: float = 0
) -> Iterator[None]:
    """Hold the lock of a folder, and the project's where an engine answers; leave a history line.

    For what changes files that no engine is needed for. Raises Locked.
    """
    from owctl.project.lock import folder_lock, project_lock

    with ExitStack() as held:
        try:
            identity = context.engine.engine_id
        except EngineUnavailable:
            identity = None
        if identity is not None:
            project = context.stack.project
            held.enter_context(
                project_lock(identity, project, command, wait_seconds=lock_wait_seconds)
            )
        held.enter_context(folder_lock(folder, command, wait_seconds=lock_wait_seconds))
        held.enter_context(recorded(context, command))
        yield


@contextmanager
def recorded(context: Context, command: str) -> Iterator[None]:
    """Leave a line in the history for what happens in a block."""
    outcome, exit_code, began = "done", 0, time.monotonic()
    context.console.must_end()
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        outcome, exit_code = "interrupted", Interrupted.exit_code
        raise
    except BaseException as error:
        outcome, exit_code = "failed", getattr(error, "exit_code", 1)
        raise
    finally:
        from owctl.project.history import record

        warning = record(
            context.settings.project_dir,
            command,
            outcome,
            arguments=sys.argv[1:],
            exit_code=exit_code,
            duration_ms=round((time.monotonic() - began) * 1000),
            mask=context.console.mask,
            environ=context.environ,
        )
        if warning:
            context.console.warn(warning)


def show_plan(context: Context, plan: Plan, *, as_json: bool = False) -> None:
    """Print a plan, one step a line, or that there is nothing to do; or all of it as a document."""
    if as_json:
        context.console.document(
            context.stack.project,
            dry_run=True,
            changes=bool(plan.changes),
            steps=[
                {
                    "kind": step.kind,
                    "subject": step.subject,
                    "service": step.service,
                    "number": None if step.service is None else step.number,
                    "name": step.name,
                    "reason": step.reason,
                }
                for step in plan.steps
            ],
        )
        return
    for step in plan.changes:
        context.console.result(str(step))
    if not plan.changes:
        context.console.result("Nothing to change.")
