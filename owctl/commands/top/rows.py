"""The rows of ``owctl top``, and which of them is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from owctl.commands.health_table import STYLES as HEALTH_STYLES
from owctl.commands.stats import (
    GAP_COLUMNS,
    column_width,
    figure_style,
    figure_text,
    fitting,
    name_of,
    state_of,
)
from owctl.commands.status import STYLES as STATE_STYLES
from owctl.commands.status import ports_text, uptime_of
from owctl.figures import latency_text
from owctl.observe.sampling import ContainerUsage

if TYPE_CHECKING:
    from owctl.health.result import HealthReport, ServiceHealth
    from owctl.observe.sampling import Round
    from owctl.ui.table import Cell, Column


# -- The rows: what is known of each container, from all who were asked


# Longer lists of ports are cut off; the detail of the selected row has them whole.
MOST_PORT_COLUMNS = 12
ASKING = "…"


@dataclass(frozen=True, slots=True)
class Row:
    """A container, or a service without one; ``key`` is that of whatever takes its place, too."""

    key: str
    name: str
    usage: ContainerUsage
    health: "ServiceHealth | None"

    @property
    def service(self) -> str:
        """The service's name."""
        return self.usage.service

    @property
    def number(self) -> int | None:
        """The container's number, None without one."""
        return self.usage.container.number if self.usage.container else None

    @property
    def is_running(self) -> bool:
        """Whether a process of it runs that one could go into."""
        return self.usage.container is not None and self.usage.container.is_running


def rows_of(
    usage: "Round | None", health: "HealthReport | None", services: Sequence[str]
) -> list[Row]:
    """Return the rows in the order of the services; before the first answer those are all."""
    if usage is None:
        return [_row(ContainerUsage(name, None, None), health) for name in services]
    return [_row(each, health) for each in usage.rows]


def matching(rows: Sequence[Row], text: str) -> list[Row]:
    """Return the rows whose names contain the text; all where it is in none: it is of the logs."""
    found = [row for row in rows if text.lower() in row.name.lower()]
    return found or list(rows)


def _row(usage: ContainerUsage, health: "HealthReport | None") -> Row:
    container = usage.container.name if usage.container else None
    answers = [
        each
        for each in (health.services if health else ())
        if each.service == usage.service and each.container == container
    ]
    name = name_of(usage)
    return Row(name, name, usage, answers[0] if answers else None)


def table(
    rows: Sequence[Row], width: int, *, asked: bool
) -> "tuple[list[Column], list[list[Cell]]]":
    """Return the columns that fit and the rows; ``asked`` is False where there is no answer yet."""
    from owctl.ui.table import Cell, Column

    columns = [Column("SERVICE", narrow="crop"), Column("HEALTH")]
    lines = [[Cell(row.name), _health(row, asked)] for row in rows]
    ports = [_short_ports(row) for row in rows]
    taken = sum(column_width(each.title, index, lines) for index, each in enumerate(columns))
    taken += max([len("PORTS"), *map(len, ports)]) + GAP_COLUMNS
    usages = [row.usage for row in rows]
    for figure in fitting(usages, width - taken, watched=True):
        columns.append(Column(figure.title, right=True))
        for line, usage in zip(lines, usages, strict=True):
            line.append(Cell(figure_text(figure, usage), figure_style(figure, usage)))
    columns.append(Column("PORTS", narrow="crop"))
    for line, text in zip(lines, ports, strict=True):
        line.append(Cell(text))
    return columns, lines


def detail(row: Row, now: datetime) -> "Cell":
    """Return what there is to say of the selected row at ``now`` of the engine, what counts first."""
    from owctl.ui.table import Cell

    container = row.usage.container
    parts = []
    if row.usage.problem:
        parts.append(row.usage.problem)
    if row.health is not None:
        latency = row.health.latency_ms
        parts.append(row.health.detail + (f" in {latency_text(latency)}" if latency else ""))
    if container is not None:
        up = uptime_of(container, now)
        parts += [f"up {up}" if up else state_of(row.usage), ports_text(container), container.image]
    return Cell(f"{row.name}: {' · '.join(part for part in parts if part)}", "dim")


def _health(row: Row, asked: bool) -> "Cell":
    """Return the verdict; of a container that has ended since, what became of it."""
    from owctl.ui.table import Cell

    if not asked:
        return Cell(ASKING, "dim")
    state = state_of(row.usage)
    if row.usage.container is None or not row.is_running:
        return Cell(state, STATE_STYLES.get(state, "red"))
    if row.health is None or row.health.state != "running":
        return Cell(ASKING, "dim")
    return Cell(row.health.status, HEALTH_STYLES.get(row.health.status, "red"))


def _short_ports(row: Row) -> str:
    container = row.usage.container
    if container is None:
        return ""
    text = ",".join(dict.fromkeys(str(port.host_port) for port in container.ports))
    return text if len(text) <= MOST_PORT_COLUMNS else text[: MOST_PORT_COLUMNS - 1] + "…"


# -- What the keys do: the state of the screen, apart from what it shows


KEYS = (
    ("↑ ↓  k j", "select a container"),
    ("/  f", "filter services and log lines as you type; Enter keeps it, Esc drops it"),
    ("r", "restart the selected service, as `owctl restart` does; asks first"),
    ("s", "open a shell in it, as `owctl shell` does (psql, redis-cli, bash); back at its end"),
    ("l  Enter", "its log on the whole screen; again, or Esc: back"),
    ("o", "log lines of the selected service only, or of all"),
    ("PgUp PgDn", "older and newer lines there, ↑ ↓ line by line, End follows again"),
    ("Ctrl-L", "draw the screen anew"),
    ("?", "these keys"),
    ("q", "quit (also Ctrl-C)"),
)
MAIN_FOOTER = "↑↓ select  / filter  r restart  s shell  l log  o only its log  ? help  q quit"
LOG_FOOTER = "↑↓ PgUp PgDn scroll  End follow  ←→ service  o all  / filter  l back  q quit"


class Action(NamedTuple):
    """What is to be done beyond the screen, to which row."""

    kind: Literal["quit", "restart", "shell", "redraw"]
    row: Row | None = None


@dataclass(slots=True)
class TopModel:
    """``scrolled`` is the number of the last log line on the screen, None for the newest.

    ``typing`` says that the filter is being typed, ``asked`` which service a restart is asked for.
    ``message`` stays until the next key.
    """

    selected: str | None = None
    filter: str = ""
    typing: bool = False
    asked: Row | None = None
    whole_log: bool = False
    only_selected: bool = False
    scrolled: int | None = None
    help: bool = False
    message: str = ""
    message_is_bad: bool = False

    def tell(self, message: str, *, bad: bool = False) -> None:
        """Show a message in place of the keys."""
        self.message, self.message_is_bad = message, bad

    def row(self, rows: Sequence[Row]) -> Row | None:
        """Return the selected row, the first where it is gone, None where there are none."""
        return next((row for row in rows if row.key == self.selected), rows[0] if rows else None)

    def newer_below(self, numbers: Sequence[int], page: int) -> int:
        """Return how many log lines are below the screen; of those that were dropped it is above."""
        if self.scrolled is None or not numbers:
            return 0
        return len(numbers) - max(_place(numbers, self.scrolled) + 1, min(page, len(numbers)))

    def press(
        self, key: str, rows: Sequence[Row], numbers: Sequence[int], page: int
    ) -> Action | None:
        """Take a key. ``numbers`` are those of the log lines that can be scrolled through."""
        self.message = ""
        if self.asked is not None:
            return self._answer(key)
        if self.typing:
            self._type(key)
            return None
        if self.help:
            self.help = False
            return Action("quit") if key == "q" else None
        if key in ("q", "?", "ctrl l"):
            self.help = key == "?"
            return None if self.help else Action("quit" if key == "q" else "redraw")
        if key in ("/", "f"):
            self.typing = True
            return None
        if key == "escape":
            self._leave()
            return None
        if self.whole_log and self._scroll(key, numbers, page):
            return None
        return self._on_row(key, rows)

    def _answer(self, key: str) -> Action | None:
        row, self.asked = self.asked, None
        if key in ("y", "Y"):
            return Action("restart", row)
        self.tell("Not restarted.")
        return None

    def _type(self, key: str) -> None:
        if key in ("enter", "escape"):
            self.typing = False
            self.filter = self.filter if key == "enter" else ""
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif key == "ctrl u":
            self.filter = ""
        elif len(key) == 1:
            self.filter += key
        self.scrolled = None

    def _leave(self) -> None:
        """Take back the last thing: the whole log, then the filter, then the one service."""
        if self.whole_log:
            self.whole_log, self.only_selected = False, False
        elif self.filter:
            self.filter = ""
        else:
            self.only_selected = False
        self.scrolled = None

    def _on_row(self, key: str, rows: Sequence[Row]) -> Action | None:
        row = self.row(rows)
        if row is None:
            return None
        if key in ("up", "k", "left"):
            self._move(-1, row, rows)
        elif key in ("down", "j", "right"):
            self._move(1, row, rows)
        elif key == "home":
            self._move(-len(rows), row, rows)
        elif key == "end":
            self._move(len(rows), row, rows)
        elif key in ("l", "enter"):
            self.whole_log = self.only_selected = not self.whole_log
            self.selected, self.scrolled = row.key, None
        elif key == "o":
            self.only_selected = not self.only_selected
            self.selected, self.scrolled = row.key, None
        elif key == "r":
            self.asked = row
        elif key == "s":
            return Action("shell", row)
        return None

    def _move(self, by: int, row: Row, rows: Sequence[Row]) -> None:
        place = min(max(0, rows.index(row) + by), len(rows) - 1)
        self.selected, self.scrolled = rows[place].key, None

    def _scroll(self, key: str, numbers: Sequence[int], page: int) -> bool:
        """Move through the log; returns whether it was a key for that."""
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -page, "page down": page}
        steps |= {"home": -len(numbers), "end": len(numbers)}
        if key not in steps:
            return False
        last = len(numbers) - 1
        now = last if self.scrolled is None else _place(numbers, self.scrolled)
        place = min(max(now + steps[key], min(page, last + 1) - 1), last)
        self.scrolled = None if place >= last else numbers[place]
        return True


def _place(numbers: Sequence[int], number: int) -> int:
    """Return where a line is, or where it would be had it not been dropped meanwhile."""
    from bisect import bisect_right

    return max(0, bisect_right(numbers, number) - 1)
