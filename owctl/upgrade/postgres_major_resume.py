"""Going on with an interrupted upgrade, from the phase that its journal names."""

from pathlib import Path

from owctl.backup.restore.events import Receiver, ignore
from owctl.backup.restore.services import Services
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.one_off import remove_helpers
from owctl.upgrade.postgres_major_back import check_same_engine, finish_upgrade, undo_upgrade
from owctl.upgrade.postgres_major_complete import (
    complete,
    put_in_place,
    start_database,
    start_others,
)
from owctl.upgrade.postgres_major_journal import Journal
from owctl.upgrade.postgres_major_plan import UpgradeRequest, plan_upgrade
from owctl.upgrade.postgres_major_run import UpgradeOutcome, upgrade_postgres
from owctl.upgrade.postgres_major_server import PURPOSE


def resume_upgrade(
    engine: Engine,
    stack: Stack,
    journal: Journal,
    request: UpgradeRequest,
    receive: Receiver = ignore,
) -> UpgradeOutcome | None:
    """Bring an upgrade to the end that it was heading for.

    What was not yet in place is thrown away and begun again, with the backup that was made, and then
    returned as an outcome; an interrupted swap, undo or finish is completed. The caller holds the
    project's lock. Raises what these raise; then it can be called again.
    """
    check_same_engine(engine, stack, journal)
    seconds = request.timeout_seconds
    if journal.phase == "undoing":
        undo_upgrade(engine, stack, journal, receive, timeout_seconds=seconds)
    elif journal.phase == "finishing":
        finish_upgrade(engine, stack, journal, receive)
    elif journal.phase in ("swapping", "swapped"):
        remove_helpers(engine, stack.project, PURPOSE)
        services = Services(engine, stack, receive, seconds)
        if journal.phase == "swapping":
            journal = put_in_place(engine, stack, journal, services)
        start_database(engine, journal, services)
        journal = start_others(journal, services)
        complete(engine, stack, journal, services)
    else:
        undo_upgrade(engine, stack, journal, receive, timeout_seconds=seconds)
        plan = plan_upgrade(engine, stack, request, receive)
        made = None if journal.backup is None else Path(journal.backup)
        return upgrade_postgres(engine, stack, plan, request, receive, backup=made)
    return None
