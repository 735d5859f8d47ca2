"""Which log lines are wanted: containers, times, words, and how serious a line is."""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Literal

from owctl.engine.connection import Engine
from owctl.engine.containers import Container, list_containers
from owctl.engine.wire import Stream
from owctl.errors import EngineError

# -- Whose logs are read, and what a line of them is.


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of each log is wanted; times are seconds since 1970, None means unbounded."""

    tail: int | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A container whose log is read; ``label`` is what a reader calls it."""

    container_id: str
    container: str
    service: str
    label: str
    tty: bool
    started_at: str | None


# A line as bytes: stamp (sorts by time), source, stream, text with its newline.
Line = tuple[bytes, Source, Stream, bytes]
OnProblem = Callable[[Source, EngineError], None]

stamp_of = itemgetter(0)


def log_sources(
    engine: Engine, project: str, services: Collection[str] | None = None
) -> list[Source]:
    """Return the project's containers, running or not; ``services`` None means all."""
    containers = list_containers(engine, project, services=services)
    counts = Counter(container.service for container in containers)
    return [_source(container, counts[container.service]) for container in containers]


def _source(container: Container, count: int) -> Source:
    alone = count == 1 and container.number == 1
    return Source(
        container_id=container.id,
        container=container.name,
        service=container.service,
        label=container.service if alone else f"{container.service}-{container.number}",
        tty=container.tty,
        started_at=container.started_at,
    )


# -- What ``--since`` and ``--until`` accept: a duration back from now, or a moment.


EXAMPLES = "10m, 2h30m, 1d, 2026-01-31, 2026-01-31T12:00:00 or 2026-01-31T12:00:00Z"

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = r"(\d+(?:\.\d+)?)(ms|[smhdw])"
_DURATION = re.compile(f"(?:{_PART})+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def parse_moment(text: str, now: float) -> float:
    """Return seconds since 1970 for "10m" (before ``now``), an ISO 8601 time or such seconds.

    A time without a zone is local. Raises ValueError with what is accepted.
    """
    text = text.strip()
    if _DURATION.fullmatch(text):
        return now - sum(
            float(number) * _UNIT_SECONDS[unit] for number, unit in re.findall(_PART, text)
        )
    # Eight digits are a date ("20260131") to ISO, not seconds.
    if _NUMBER.fullmatch(text) and len(text) >= 9:
        return float(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is neither a duration nor a time; try {EXAMPLES}") from error


# -- How serious a log line is, told from the forms in which programs commonly say it.
# JSON (``{"level":"warn"}``), logfmt (``level=warn``), a word at the beginning (``WARNING:``, ``[error]``)
# or behind a time (Rust's tracing, Python's logging, nginx, PostgreSQL), Redis' marks, glog's letters.
# A line without a level of its own that goes on with the one before (indented, a stack trace,
# PostgreSQL's ``DETAIL:``) has the level of that one.


Level = Literal["trace", "debug", "info", "warn", "error", "fatal"]
LEVELS: tuple[Level, ...] = ("trace", "debug", "info", "warn", "error", "fatal")

_SPELLINGS: dict[Level, tuple[str, ...]] = {
    "trace": ("trace", "trc"),
    "debug": ("debug", "dbg", "debug1", "debug2", "debug3", "debug4", "debug5"),
    "info": ("info", "inf", "information", "informational", "notice", "log", "verbose"),
    "warn": ("warn", "warning", "wrn"),
    "error": ("error", "err", "severe"),
    "fatal": ("fatal", "critical", "crit", "alert", "emerg", "emergency", "panic"),
}
_LEVEL_OF = {word: level for level, words in _SPELLINGS.items() for word in words}
_SEVERE = ("warn", "error", "fatal")

# "log" alone is an ordinary word; PostgreSQL writes "LOG:" and two spaces.
_WORDS = sorted(_LEVEL_OF.keys() - {"log"}, key=len, reverse=True)
_ANY_CASE = f"(?:(?i:{'|'.join(_WORDS)})|LOG(?=:  ))"
_UPPER_CASE = "|".join(word.upper() for word in _WORDS)
_DETAILS = "(?:DETAIL|HINT|STATEMENT|CONTEXT|QUERY|LOCATION|BACKTRACE):  "

_AT_THE_BEGINNING = re.compile(
    rf"\s*(?:[\[(<|]\s*(?P<closed>{_ANY_CASE})\s*[\])>|]|(?P<colon>{_ANY_CASE}):"
    rf"|(?P<plain>{_UPPER_CASE})(?=[\s\[|-]|$)|(?P<more>{_DETAILS}))"
)
_TIME = re.compile(
    r"\W{0,2}(?:\d{4}[-/.]\d\d[-/.]\d\d|\d\d?[/ -][A-Z][a-z]{2}[/ -]\d{2,4}"
    r"|[A-Z][a-z]{2} [ \d]\d |\d\d:\d\d:\d\d)"
)
_BEHIND_THE_TIME = re.compile(
    rf"[\[(<|]\s*(?P<closed>{_ANY_CASE})\s*[\])>|]"
    rf"|(?<=[\s\]|])(?P<colon>{_ANY_CASE}):(?=\s)"
    rf"|(?<=[\s\[(<|:-])(?P<plain>{_UPPER_CASE})(?=[\s\])>|:,-]|$)"
    rf"|\blevel=[\"']?(?P<field>\w+)|(?<=\s)(?P<more>{_DETAILS})"
)
_LOGFMT = re.compile(
    r"(?:^|[\s,])(?:level|lvl|severity|levelname|log\.level)=[\"']?([A-Za-z]+[1-5]?|\d\d)\b"
)
_REDIS = re.compile(r"\d+:[A-Z] \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\.\d{3} ([.*#-]) ")
_GLOG = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d")
_MARKS: dict[str, Level] = {
    ".": "debug",
    "-": "info",
    "*": "info",
    "#": "warn",
    "I": "info",
    "W": "warn",
    "E": "error",
    "F": "fatal",
}
_KEYS = ("level", "levelname", "severity", "lvl", "log.level", "@l", "loglevel")
# pino and bunyan count in tens.
_NUMBERS: dict[object, Level] = dict(zip(range(10, 70, 10), LEVELS, strict=True))

_TRACEBACK = re.compile(r"Traceback \(most recent call last\):")
_PANIC = re.compile(r"panic: |fatal error: |thread '.*' (?:\(\d+\) )?panicked at ")
_EXCEPTION = re.compile(
    r"(?:Uncaught |Exception in thread |Unhandled )|[A-Za-z_][\w.$]*(?:Error|Exception)(?::|$)"
)
_MORE = re.compile(
    r"\s|$|Caused by: |\.\.\. \d+ more|During handling of the above exception|The above exception was"
    r"|note: |stack backtrace:|goroutine \d+ \[|[\]})]+[,;]?$"
)
LOOK_CHARACTERS = 400
JSON_CHARACTERS = 1 << 18


def parse_levels(text: str) -> frozenset[Level]:
    """Return the levels that ``warn`` (that one) or ``warn+`` (and above) means; or ValueError."""
    name = text.strip().lower()
    level = _LEVEL_OF.get(name.removesuffix("+"))
    if level is None:
        raise ValueError(f"{text!r} is no level; try one of {', '.join(LEVELS)}, or warn+")
    return frozenset(LEVELS[LEVELS.index(level) :] if name.endswith("+") else [level])


class LevelReader:
    """Tells the levels of a log's lines, which it must be given in their order.

    ``origin`` tells logs apart; lines go on with the line before of the same origin.
    """

    def __init__(self) -> None:
        # The level of the latest line, and how much of what follows belongs to it: what looks like
        # it; also the next line (the end of a Python traceback); or all (a panic).
        self._before: dict[object, tuple[Level | None, Literal["looks", "next", "all"]]] = {}

    def level_of(self, origin: object, line: str) -> Level | None:
        """Return the level of the next line of ``origin``, None if nothing tells."""
        before, reach = self._before.get(origin, (None, "looks"))
        level, goes_on = _stated(line)
        if level is not None:
            reach = "all" if _PANIC.match(line) else "looks"
        elif goes_on:
            level = before
        elif _TRACEBACK.match(line):
            level, reach = _at_least_error(before), "next"
        elif _PANIC.match(line):
            level, reach = _at_least_error(before), "all"
        elif _MORE.match(line):
            level = before
            if line.startswith(("During", "The above")):
                reach = "next"
        elif reach != "looks" and not _TIME.match(line):
            level, reach = before, "looks" if reach == "next" else reach
        elif _EXCEPTION.match(line):
            level, reach = _at_least_error(before), "looks"
        else:
            reach = "looks"
        self._before[origin] = level, reach
        return level


def _at_least_error(before: Level | None) -> Level:
    # A logged warning may bring its own traceback; behind anything less it is an error of its own.
    return before if before in _SEVERE else "error"


def _stated(line: str) -> tuple[Level | None, bool]:
    """Return the level that a line states, and whether it says that it goes on with another."""
    if line.startswith("{") and (level := _json_level(line)):
        return level, False
    line = line[:LOOK_CHARACTERS]
    if marked := _REDIS.match(line) or _GLOG.match(line):
        return _MARKS[marked[1]], False
    found = _AT_THE_BEGINNING.match(line)
    if found is None and (time := _TIME.match(line)):
        found = _BEHIND_THE_TIME.search(line, time.end())
    if found is not None:
        if found["more"]:
            return None, True
        word = next(word for word in found.groups() if word)
        return _LEVEL_OF.get(word.lower()), False
    named = (_level_named(field[1]) for field in _LOGFMT.finditer(line))
    return next((level for level in named if level), None), False


def _json_level(line: str) -> Level | None:
    if len(line) > JSON_CHARACTERS:
        return None
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    for key in _KEYS:
        if (value := document.get(key)) is not None:
            return _level_named(value)
    nested = document.get("log")
    return _level_named(nested.get("level")) if isinstance(nested, dict) else None


def _level_named(value: object) -> Level | None:
    if isinstance(value, str):
        return _LEVEL_OF.get(value.lower()) or (
            _NUMBERS.get(int(value)) if value.isdecimal() and value.isascii() else None
        )
    return _NUMBERS.get(value) if isinstance(value, int) else None


# -- Chooses log lines: by what they say, how serious they are, and how many came before.


Show = Callable[[bytes], bytes]


class LineFilter:
    """Chooses lines by ``pattern`` (not found with ``invert``) and by ``levels``; both must agree.

    ``show`` turns lines into what a reader sees, in which the pattern is looked for. A line without
    a level of its own has that of the line it belongs to. ``tell_levels``: levels are wanted.
    """

    def __init__(
        self,
        show: Show | None = None,
        *,
        pattern: re.Pattern[str] | None = None,
        invert: bool = False,
        levels: Collection[Level] | None = None,
        tell_levels: bool = False,
    ) -> None:
        self._show = show
        self._pattern = pattern
        self._invert = invert
        self._levels = levels
        self._tell_levels = tell_levels
        self._reader = LevelReader()
        self._skip: Counter[str] = Counter()

    @property
    def leaves_out(self) -> bool:
        """Whether lines may be left out for what they say."""
        return self._pattern is not None or self._levels is not None

    def fresh(self) -> "LineFilter":
        """Return one that has not seen any line."""
        return LineFilter(
            self._show, pattern=self._pattern, invert=self._invert, levels=self._levels
        )

    def skip(self, container_id: str, count: int) -> None:
        """Leave out the next ``count`` lines of a container that would be chosen."""
        self._skip[container_id] = count

    def choose(self, lines: Sequence[Line]) -> tuple[Sequence[Line], Sequence[Level | None]]:
        """Return the chosen ones of the next lines, and the level of each if levels are wanted."""
        levels: Sequence[Level | None] = ()
        if self.leaves_out or self._tell_levels:
            texts = self._texts(lines)
            if self._levels is not None or self._tell_levels:
                of = self._reader.level_of
                levels = [
                    of((line[1].container_id, line[2]), text)
                    for line, text in zip(lines, texts, strict=True)
                ]
            if self.leaves_out:
                lines, levels = _kept(lines, levels, self._wanted(texts, levels))
        if self._skip:
            lines, levels = _kept(lines, levels, [self._is_due(line) for line in lines])
        return lines, levels

    def _wanted(self, texts: Sequence[str], levels: Sequence[Level | None]) -> list[bool]:
        wanted = [True] * len(texts)
        if self._pattern is not None:
            search, invert = self._pattern.search, self._invert
            wanted = [(search(text) is None) == invert for text in texts]
        if self._levels is not None:
            chosen = self._levels
            wanted = [
                is_wanted and level in chosen
                for is_wanted, level in zip(wanted, levels, strict=True)
            ]
        return wanted

    def _is_due(self, line: Line) -> bool:
        identity = line[1].container_id
        if identity not in self._skip:
            return True
        self._skip[identity] -= 1
        if not self._skip[identity]:
            del self._skip[identity]
        return False

    def _texts(self, lines: Sequence[Line]) -> list[str]:
        """Return the lines as they are shown, without newlines."""
        block = b"".join([line[3] for line in lines])
        if self._show is not None:
            block = self._show(block)
        texts = block.decode("utf-8", "replace").split("\n")
        if len(texts) == len(lines) + 1:
            return texts[:-1]
        # A secret of several lines was hidden as one.
        show = self._show or bytes
        return [show(line[3]).decode("utf-8", "replace").rstrip("\n") for line in lines]


def _kept(
    lines: Sequence[Line], levels: Sequence[Level | None], wanted: Sequence[bool]
) -> tuple[Sequence[Line], Sequence[Level | None]]:
    kept = [line for line, is_wanted in zip(lines, wanted, strict=True) if is_wanted]
    if levels:
        levels = [level for level, is_wanted in zip(levels, wanted, strict=True) if is_wanted]
    return kept, levels
