"""The whole way from the old backend to the new one, and the way back."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from owctl.compose.model import Stack
from owctl.errors import Interrupted, OwctlError
from owctl.migrate.folder import Journal, Step, write_document
from owctl.migrate.report.document import build_report
from owctl.migrate.report.page import write_page
from owctl.migrate.steps import StackServices, Steps
from owctl.progress import Event, Receiver, ignore

if TYPE_CHECKING:
    from owctl.engine.connection import Engine

REPORT_NAME = "report.json"
PAGE_NAME = "report.html"


def migrate(
    engine: "Engine",
    stack: Stack,
    journal: Journal,
    receive: Receiver = ignore,
    timeout_seconds: float = 300.0,
) -> dict[str, Any]:
    """Do the steps that the journal has not done yet, and return the report.

    The caller holds the project's lock, and has asked whether the old container may be stopped.
    Raises OwctlError of the step that failed; the next run goes on from there.
    """
    steps = Steps(engine, stack, journal, receive, timeout_seconds)
    ways: list[tuple[Step, Callable[[], dict[str, Any]]]] = [
        ("capture", steps.capture),
        ("start-new", steps.start_new),
        ("backup", steps.back_up),
        ("halt", steps.halt),
        ("load", steps.load),
        ("files", steps.files),
        ("start", steps.start),
        ("prove", steps.prove),
    ]
    if journal.origin["kind"] == "container":
        ways.insert(0, ("stop-old", steps.stop_old))
    for name, step in ways:
        if journal.is_done(name):
            receive(Event(name, "done", "done before"))
            continue
        _do(journal, name, step, receive)
    report = build_report(journal)
    write_document(journal.folder / REPORT_NAME, report)
    write_page(journal.folder / PAGE_NAME, report)
    return report


def go_back(engine: "Engine", stack: Stack, journal: Journal, receive: Receiver = ignore) -> str:
    """Stop the new stack and start the old container again; returns its name.

    The new stack's data stays. Raises OwctlError where there is no old container to go back to.
    """
    from owctl.engine.containers import inspect_container, start_container

    name = str(journal.origin["name"])
    old = inspect_container(engine, name) if journal.origin["kind"] == "container" else None
    if old is None:
        raise OwctlError(
            f"There is no old container to go back to: the migration {journal.id} came from the "
            f"{journal.origin['kind']} {name}.",
            hint="start the old backend yourself; owctl stop ends the new one",
        )
    receive(Event("rollback", "working", "stopping the new stack"))
    StackServices(engine, stack, receive, 300.0).halt_all()
    if not old.is_running:
        receive(Event("rollback", "working", f"starting {name}"))
        start_container(engine, old.id, name)
    journal.rolled_back = True
    journal.write()
    receive(Event("rollback", "done", f"{name} runs again"))
    return name


def _do(
    journal: Journal, name: Step, step: Callable[[], dict[str, Any]], receive: Receiver
) -> None:
    began = time.monotonic()
    receive(Event(name, "working", "begun"))
    try:
        facts = step()
    except KeyboardInterrupt as error:
        raise Interrupted("Interrupted.", details=_way_on(journal, name)) from error
    except OwctlError as error:
        error.details = (*error.details, *_way_on(journal, name))
        raise
    seconds = dict(journal.facts.get("seconds", {}))
    seconds[name] = round(time.monotonic() - began, 2)
    journal.finish(name, **facts, seconds=seconds)
    receive(Event(name, "done", "done"))


def _way_on(journal: Journal, name: Step) -> list[str]:
    lines = [f"The migration {journal.id} stands before its step {name}."]
    if journal.is_done("halt") and not journal.is_done("start"):
        lines.append("The new backend is stopped meanwhile.")
    lines.append("When the cause is gone: owctl migrate --resume")
    if journal.origin["kind"] == "container" and journal.is_done("stop-old"):
        lines.append("To go back to the old backend: owctl migrate rollback")
    return lines
