"""How serious a log line is, told from the forms in which programs commonly say it.

JSON (``{"level":"warn"}``), logfmt (``level=warn``), a word at the beginning (``WARNING:``, ``[error]``)
or behind a time (Rust's tracing, Python's logging, nginx, PostgreSQL), Redis' marks, glog's letters.
A line without a level of its own that goes on with the one before (indented, a stack trace,
PostgreSQL's ``DETAIL:``) has the level of that one.
"""

import json
import re
from typing import Literal

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


def own_level(line: str) -> Level | None:
    """Return the level that a line (without control sequences) states itself, None if none."""
    return _stated(line)[0]


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
