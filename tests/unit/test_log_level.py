"""How serious a line is, in the forms of the programs that such a stack runs."""

import pytest

from owctl.observe.log_filter import LEVELS, LevelReader, parse_levels


@pytest.mark.parametrize(
    ("line", "level"),
    [
        # JSON: structlog, pino, ECS
        ('{"time":"2026-01-01","level":"warn","msg":"ERROR in the text"}', "warn"),
        ('{"levelname": "CRITICAL", "message": "x"}', "fatal"),
        ('{"level":50,"msg":"pino counts"}', "error"),
        ('{"log":{"level":"debug"}}', "debug"),
        ('{"level":null}', None),
        ('{"level":true}', None),
        ('{"a":' * 5000, None),
        # logfmt
        ('time="2026-01-01T00:00:00Z" level=warning msg="an ERROR in words"', "warn"),
        ("ts=1 lvl=eror level=error caller=main.go", "error"),
        ("2026-01-01T00:00:00Z level=info msg=ERROR", "info"),
        ("the water level=high", None),
        # Rust: tracing, with and without a time; env_logger
        ("2026-01-01T12:00:00.123456Z  WARN backend::db: slow query", "warn"),
        (" INFO backend: ERROR is a word here", "info"),
        ("[2026-01-01T12:00:00Z ERROR backend] refused", "error"),
        # Python: logging, uvicorn, gunicorn, loguru
        ("WARNING: careful", "warn"),
        ("ERROR:root:failed", "error"),
        ('INFO:     127.0.0.1:1 - "GET /ERROR HTTP/1.1" 500', "info"),
        ("2026-01-01 12:00:00,123 - uvicorn.error - INFO - Started", "info"),
        ("[2026-01-01 12:00:00 +0000] [7] [CRITICAL] WORKER TIMEOUT", "fatal"),
        ("2026-01-01 12:00:00.123 | WARNING  | mod:fn:12 - slow", "warn"),
        # nginx
        ("2026/01/01 12:00:00 [error] 12#12: *1 open() failed", "error"),
        ("2026/01/01 12:00:00 [emerg] 1#1: bind() failed", "fatal"),
        ('1.2.3.4 - - [01/Jan/2026:12:00:00 +0000] "GET /ERROR HTTP/1.1" 500 1', None),
        # PostgreSQL
        ("2026-01-01 12:00:00.123 UTC [12] LOG:  statement: select 'ERROR:  x'", "info"),
        ('2026-01-01 12:00:00.123 UTC [12] ERROR:  relation "x" does not exist', "error"),
        ("2026-01-01 12:00:00.123 UTC [12] FATAL:  password authentication failed", "fatal"),
        ("2026-01-01 12:00:00.123 UTC [12] DEBUG2:  x", "debug"),
        ("LOG:  starting PostgreSQL", "info"),
        ("log: a word like any other", None),
        # Redis
        ("1:M 01 Jan 2026 12:00:00.123 # Warning: no memory", "warn"),
        ("1:M 01 Jan 2026 12:00:00.123 * Ready", "info"),
        ("1:M 01 Jan 2026 12:00:00.123 - Accepted", "info"),
        ("1:M 01 Jan 2026 12:00:00.123 . DB 0", "debug"),
        # others
        ("E0101 12:00:00.123456 1 main.go:1] failed", "error"),
        ("Jan  1 12:00:00 host app[1]: ERROR x", "error"),
        ("17:00:00.123 [main] DEBUG c.f - x", "debug"),
        ("<warn> careful", "warn"),
        ("Error: boom", "error"),
        ("an error occurred", None),
        ("Information is power", None),
        ("", None),
    ],
)
def test_the_level_of_a_line(line: str, level: str | None):
    assert LevelReader().level_of("web", line) == level


def levels_of(text: str, origin: object = "web") -> list[str | None]:
    reader = LevelReader()
    return [reader.level_of(origin, line) for line in text.split("\n")]


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        # A logged exception belongs to its line, whatever its level.
        (
            "WARNING:root:no\nTraceback (most recent call last):\n  File x\nValueError: x\nafter",
            ["warn"] * 4 + [None],
        ),
        # One that nobody logged is an error of its own.
        (
            "INFO:root:begun\nTraceback (most recent call last):\n  File x\nValueError: x\n1.2.3.4 -",
            ["info", *["error"] * 3, None],
        ),
        (
            "Traceback (most recent call last):\n  File x\nKeyError: 1\n\n"
            "During handling of the above exception, another exception occurred:\n\n"
            "Traceback (most recent call last):\n  File x\nValueError\nINFO: on",
            ["error"] * 9 + ["info"],
        ),
        (
            "thread 'main' panicked at src/main.rs:2:5:\nboom\nnote: run with `RUST_BACKTRACE=1`",
            ["error"] * 3,
        ),
        (
            "INFO x\npanic: boom\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:3\nexit status 2",
            ["info", *["fatal"] * 6],
        ),
        ("TypeError: x is not a function\n    at main (x.js:1:1)", ["error", "error"]),
        ("ERROR x\njava.io.IOException: y\n\tat A\nCaused by: z\n\t... 3 more", ["error"] * 5),
        (
            "2026-01-01 12:00:00 UTC [1] ERROR:  x at character 8\n"
            "2026-01-01 12:00:00 UTC [1] HINT:  y\n2026-01-01 12:00:00 UTC [1] STATEMENT:  select\n"
            "\tfrom x\n2026-01-01 12:00:00 UTC [1] LOG:  z",
            ["error"] * 4 + ["info"],
        ),
        # What only follows is not counted to it.
        ("ERROR x\nplain text\n  indented", ["error", None, None]),
        ("  begins indented\n", [None, None]),
    ],
)
def test_lines_that_go_on_with_the_one_before(text: str, levels: list[str | None]):
    assert levels_of(text) == levels


def test_origins_are_kept_apart():
    reader = LevelReader()
    assert reader.level_of("a", "ERROR x") == "error"
    assert reader.level_of("b", "\tindented") is None
    assert reader.level_of("a", "\tindented") == "error"


def test_naming_levels():
    assert parse_levels("warn") == {"warn"}
    assert parse_levels("Warning+") == {"warn", "error", "fatal"}
    assert parse_levels("trace+") == set(LEVELS)
    assert parse_levels("crit") == {"fatal"}
    for text in ("", "+", "wrong", "warn-", "warn++", "warn+error"):
        with pytest.raises(ValueError, match="trace, debug, info, warn, error, fatal"):
            parse_levels(text)
