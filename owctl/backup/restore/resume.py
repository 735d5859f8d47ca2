"""Going on with an interrupted restore, from the phase that its journal names."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from owctl.backup.parts import Part
from owctl.backup.restore.complete import complete_swap
from owctl.backup.restore.events import Receiver, RestoreWarning, ignore
from owctl.backup.restore.journal import Journal
from owctl.backup.restore.pieces import check_same_engine
from owctl.backup.restore.plan import RestoreRequest, plan_restore
from owctl.backup.restore.run import RestoreOutcome, run_restore
from owctl.backup.restore.source import Source
from owctl.backup.restore.undo import finish_restore, undo_restore
from owctl.compose.model import Stack
from owctl.engine.connection import Engine


def resume_restore(
    engine: Engine,
    stack: Stack,
    journal: Journal,
    open_source: Callable[[Sequence[Path]], Source],
    request: RestoreRequest,
    receive: Receiver = ignore,
) -> RestoreOutcome | None:
    """Bring a restore to the end that it was heading for.

    What was only staged is staged afresh, from the same backup, and then returned as an outcome; an
    interrupted swap, undo or finish is completed. The caller holds the project's lock. Raises what
    these raise; then it can be called again.
    """
    check_same_engine(engine, stack, journal)
    seconds = request.timeout_seconds
    if journal.phase == "undoing":
        undo_restore(engine, stack, journal, receive, timeout_seconds=seconds)
    elif journal.phase == "finishing":
        finish_restore(engine, stack, journal, receive, timeout_seconds=seconds)
    elif journal.phase in ("swapping", "swapped"):
        complete_swap(engine, stack, journal, receive, timeout_seconds=seconds)
    else:
        source = open_source([Path(path) for path in (journal.backup_path, *journal.other_paths)])
        undo_restore(engine, stack, journal, receive, timeout_seconds=seconds)
        parts = frozenset(cast("Part", part) for part in journal.parts)
        request = replace(request, parts=parts)
        plan = plan_restore(engine, stack, source, request, receive)
        # What is to run in the end was settled at the beginning.
        plan = replace(plan, running=journal.running)
        for warning in plan.warnings:
            receive(RestoreWarning(warning))
        made = None if journal.safety_backup is None else Path(journal.safety_backup)
        return run_restore(engine, stack, plan, request, receive, safety_backup=made)
    return None
