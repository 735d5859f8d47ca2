"""The screen: which stream, which colours, what is masked, how tables and progress look."""

import io
import json
import os
import sys
import threading
from pathlib import Path

import pytest

from owctl.errors import ConfigurationError, OutputRefused, OwctlError, Problem, ReaderGone
from owctl.ui.console import Console, Output, unmasked
from owctl.ui.progress import Progress
from owctl.ui.table import Cell, Column, render

COLUMNS = [Column("NAME"), Column("COUNT", right=True), Column("TEXT", narrow="crop")]
ROWS = [[Cell("one"), Cell("1"), Cell("short")], [Cell("two"), Cell("22"), Cell("x" * 100)]]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_results_go_to_stdout_and_messages_to_stderr(capsys):
    console = Console()
    console.result("result")
    console.info("message")
    console.warn("careful")
    out, err = capsys.readouterr()
    assert out == "result\n"
    assert err == "message\nWarning: careful\n"


def test_quiet_keeps_results_warnings_and_errors(capsys):
    console = Console()
    console.quiet = True
    console.result("result")
    console.info("message")
    console.warn("careful")
    console.error(OwctlError("broken"))
    out, err = capsys.readouterr()
    assert out == "result\n"
    assert err == "Warning: careful\nError: broken\n"


def test_an_error_says_what_why_and_what_to_try(capsys):
    Console().error(
        ConfigurationError(
            "The compose files are wrong.",
            hint="owctl config --validate",
            problems=[Problem("compose.yaml", 3, "services.a.imagee: unknown key")],
        )
    )
    assert capsys.readouterr().err == (
        "Error: The compose files are wrong.\n"
        "  compose.yaml:3: services.a.imagee: unknown key\n"
        "Try: owctl config --validate\n"
    )


def test_everything_is_masked(capsys):
    console = Console()
    console.mask = lambda text: text.replace("geheim", "***")
    console.result("geheim")
    console.info("geheim")
    console.json({"key": "geheim"})
    console.table([Column("A")], [["geheim"]])
    console.error(OwctlError("geheim", hint="geheim", details=["geheim"]))
    out, err = capsys.readouterr()
    assert "geheim" not in out + err
    assert (out + err).count("***") == 7


def test_a_traceback_is_shown_with_debug_only_and_masked(capsys):
    console = Console()
    console.debug = True
    console.mask = lambda text: text.replace("geheim", "***")
    try:
        raise OwctlError("geheim")
    except OwctlError as error:
        console.error(error)
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "geheim" not in err


def test_json_is_one_document(capsys):
    Console().json({"schema": 1, "name": "ä"})
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "name": "ä"}


def test_a_piped_table_is_whole():
    text = render(COLUMNS, ROWS, width=None, color=False)
    assert text.splitlines() == [
        "NAME  COUNT  TEXT",
        "one       1  short",
        "two      22  " + "x" * 100,
    ]


def test_a_table_on_a_terminal_fits_it():
    text = render(COLUMNS, ROWS, width=40, color=False)
    lines = text.splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 40
    assert lines[2].endswith("…")


def test_a_table_is_coloured_only_when_asked():
    rows = [[Cell("up", "green")]]
    assert "\x1b[" in render([Column("A")], rows, width=40, color=True)
    assert "\x1b[" not in render([Column("A")], rows, width=40, color=False)


@pytest.mark.parametrize(
    ("color", "terminal", "expected"),
    [(None, True, True), (None, False, False), (False, True, False), (True, False, False)],
)
def test_when_there_is_colour(color, terminal, expected):
    stream = Terminal() if terminal else io.StringIO()
    assert Console(color=color).colored(stream) is expected


def test_what_the_terminal_cannot_say_is_replaced(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    Console().result("✓ done")
    assert raw.getvalue() == b"? done\n"


def test_without_a_terminal_there_is_nobody_to_ask():
    assert Console().confirm("Really?") is None


def test_plain_progress_prints_outcomes_only(capsys):
    progress = Progress("Starting", unmasked)
    progress.update("db", "waiting", "waiting")
    progress.update("db", "working", "starting")
    progress.update("db", "done", "ready")
    progress.update("web", "failed", "no")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in lines] == ["✓ db: ready", "✗ web: no"]


def test_plain_progress_speaks_of_what_takes_long(capsys):
    progress = Progress("Starting", unmasked)
    progress.update("db", "working", "starting")
    row = progress.rows["db"]
    assert row.started is not None
    row.started -= 60
    progress.update("db", "working", "waiting: refused")
    progress.update("db", "working", "waiting: refused again")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "waiting: refused" in lines[0]


def test_live_progress_draws_a_row_for_each_subject(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    console = Console(color=False)
    with console.progress("Starting demo") as progress:
        progress.update("db", "working", "starting")
        progress.update("db", "done", "ready: accepts connections")
        console.info("a message beside it")
    text = terminal.getvalue()
    assert "Starting demo 1/1" in text
    assert "ready: accepts connections" in text
    assert "a message beside it" in text


def output_to_nobody() -> Output:
    reader, writer = os.pipe()
    os.close(reader)
    return Output(writer, must_arrive=True)


def test_a_reader_that_went_away_is_said_once():
    output = output_to_nobody()
    with pytest.raises(ReaderGone):
        output.write(b"results")
    # What Python's buffers still hold goes nowhere, without another word.
    assert output.write(b"results") == 7
    assert output.refused is None


def test_what_need_not_arrive_is_dropped():
    output = output_to_nobody()
    output.must_arrive = False
    assert output.write(b"messages") == 8
    assert output.refused is None


def test_a_full_disk_is_an_error_of_its_own():
    with Path("/dev/full").open("wb") as full:
        output = Output(full.fileno(), must_arrive=True)
        with pytest.raises(OutputRefused, match="No space left"):
            output.write(b"results")
        output = Output(full.fileno(), must_arrive=False)
        assert output.write(b"results") == 7
        assert "No space left" in str(output.refused)


def test_a_pipe_that_does_not_block_gets_everything():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    received = []

    def read() -> None:
        with os.fdopen(reader, "rb") as pipe:
            received.append(pipe.read())

    thread = threading.Thread(target=read)
    thread.start()
    data = bytes(1_000_000)
    assert Output(writer, must_arrive=True).write(data) == len(data)
    os.close(writer)
    thread.join()
    assert received == [data]
