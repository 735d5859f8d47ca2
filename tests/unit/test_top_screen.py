"""The screen of `top` at every size: nothing too wide, nothing too high, what counts is on it."""

import re
from datetime import UTC, datetime

import pytest
from rich.cells import cell_len

from owctl.commands.top.rows import KEYS, LOG_FOOTER, MAIN_FOOTER, detail, rows_of, table
from owctl.observe.sampling import Round
from owctl.ui.table import Cell
from owctl.ui.top_screen import LogLine, TopScreen, TopView, first_row, plain
from tests.unit.test_stats_table import row

SERVICES = ("postgres", "redis", "rust-backend", "socketio-bridge", "frontend")
LOGS = [LogLine("rust-backend", "36", f"line {number} " + "漢字 " * 30) for number in range(100)]
SIZES = [(80, 24), (40, 10), (20, 6), (200, 60), (80, 1), (1, 1), (10, 2), (81, 3)]


def shown(lines: list[str]) -> list[str]:
    """The lines as they are to be read."""
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]


def view(width: int, services: tuple[str, ...] = SERVICES, **changes) -> TopView:
    rows = rows_of(Round(None, tuple(row(name) for name in services)), None, services)
    columns, cells = table(rows, width, asked=True)
    settings = {
        "title": Cell("demo"),
        "status": Cell("healthy, 5 of 5  12:00:00", "green"),
        "columns": columns,
        "rows": cells,
        "selected": 2,
        "detail": detail(rows[2], datetime.now(UTC)),
        "log_title": "newest log lines",
        "logs": LOGS,
        "footer": Cell(MAIN_FOOTER, "dim"),
    }
    return TopView(**{**settings, **changes})


@pytest.mark.parametrize("color", [True, False])
@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(
    "changes", [{}, {"full_logs": True}, {"help": KEYS}, {"footer": Cell("Error: x " * 60)}]
)
def test_it_fits_every_terminal(width: int, height: int, color: bool, changes: dict):
    lines = TopScreen(color=color).lines(view(width, **changes), width, height)
    assert len(lines) == height
    assert max(cell_len(line) for line in shown(lines)) <= width
    if not color:
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", "".join(lines))


def test_80_by_24_has_everything():
    lines = TopScreen(color=True).lines(view(80), 80, 24)
    text = shown(lines)
    assert text[0].split() == ["demo", "healthy,", "5", "of", "5", "12:00:00"]
    assert text[1].split()[:5] == ["SERVICE", "HEALTH", "CPU", "MEMORY", "MEM"]
    assert "PORTS" in text[1]
    assert [line.split()[0] for line in text[2:7]] == list(SERVICES)
    assert text[7].startswith("rust-backend:")
    assert text[8].startswith("── newest log lines ──")
    # The newest ones, to the last line but one.
    assert [line.split()[2] for line in text[9:23]] == [str(number) for number in range(86, 100)]
    assert text[23].startswith("↑↓ select")
    assert "\x1b[7m" in lines[4]
    assert all("\x1b[7m" not in line for line in lines if line is not lines[4])


def test_the_footers_fit_80_columns():
    assert len(MAIN_FOOTER) <= 80
    assert len(LOG_FOOTER) <= 80


def test_the_keys_of_the_footers_are_explained():
    explained = " ".join(keys for keys, _ in KEYS).split()
    for key in ("/", "r", "s", "l", "o", "?", "q"):
        assert key in explained
        assert re.search(rf"(^| ){re.escape(key)} ", MAIN_FOOTER)


def test_more_services_than_fit_scroll_with_the_selection():
    services = tuple(f"service-{number:02}" for number in range(40))
    text = shown(TopScreen(color=False).lines(view(80, services, selected=39), 80, 24))
    assert any(line.startswith("service-39") for line in text)
    assert not any(line.startswith("service-00") for line in text)
    assert any("above, 0 below" in line for line in text)
    # A few lines of the logs are left even so.
    assert "99" in text[22]


@pytest.mark.parametrize(
    ("selected", "count", "room", "first"),
    [(0, 5, 10, 0), (None, 50, 10, 0), (0, 50, 10, 0), (49, 50, 10, 40), (20, 50, 10, 15)],
)
def test_the_selected_row_is_among_those_shown(selected, count, room, first):
    assert first_row(selected, count, room) == first


def test_the_whole_log_is_folded_not_cut():
    long = LogLine("web", "", "x" * 200 + "END")
    screen = TopScreen(color=False)
    text = shown(screen.lines(view(80, logs=[*LOGS, long], full_logs=True), 80, 24))
    assert text[22].endswith("END")
    assert 1 < screen.shown_log_lines < 22


def test_a_long_message_takes_the_lines_that_it_needs():
    message = "Error: it did not become ready. Try: owctl logs --tail 20 rust-backend, and more"
    text = shown(TopScreen(color=False).lines(view(40, footer=Cell(message)), 40, 24))
    assert " ".join(text[-3:]).split() == message.split()


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("\x1b]0;title\x07x", " ]0;title x"),
        ("a\tb", "a   b"),
        ("a\rb\nc", "a b c"),
        ("\u202eabc", " abc"),
        ("\x9b2J", " 2J"),
        ("ä漢🙂", "ä漢🙂"),
    ],
)
def test_nothing_on_the_screen_can_steer_it(hostile: str, harmless: str):
    assert plain(hostile) == harmless
    logs = [LogLine(hostile, "36", hostile)]
    for full in (False, True):
        lines = TopScreen(color=True).lines(
            view(80, logs=logs, full_logs=full, title=Cell(hostile), detail=Cell(hostile)), 80, 24
        )
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", "".join(shown(lines)))
