"""How log lines are shown: prefix, time, colours, JSON; and what never is."""

import json
import re

import pytest

from owctl.environment.secrets import Mask
from owctl.observe.logs import Line, Source
from owctl.ui.log_colors import printable
from owctl.ui.log_text import JsonFormat, TextFormat, service_colors

STAMP = b"2026-01-31T12:34:56.123456789Z"
SECRET = "s3cret-p4ssword"


def source(service: str) -> Source:
    return Source("id", f"p-{service}-1", service, service, tty=False, started_at=None)


def line(text: bytes, service: str = "web", stream: str = "stdout") -> Line:
    return (STAMP, source(service), stream, text + b"\n")


LINES = [line(b"hello"), line(b"password s3cret-p4ssword", "postgres", "stderr")]


def test_prefixes_are_aligned():
    assert TextFormat().render(LINES[::-1]) == (
        b"postgres  | password s3cret-p4ssword\nweb       | hello\n"
    )
    # A longer name that comes later widens the column from there on.
    form = TextFormat(width=3)
    assert form.render(LINES[:1]) == b"web  | hello\n"
    form.render(LINES[1:])
    assert form.render(LINES[:1]) == b"web       | hello\n"


def test_parts_of_a_line():
    assert TextFormat(prefixed=False).render(LINES[:1]) == b"hello\n"
    stamped = TextFormat(timestamps=True).render(LINES[:1])
    assert stamped == b"web  | " + STAMP + b" hello\n"
    alone = TextFormat(timestamps=True, prefixed=False).render(LINES[:1])
    assert alone == STAMP + b" hello\n"


def test_secrets_are_masked_in_every_form():
    mask = Mask([SECRET]).mask_bytes
    for form in (
        TextFormat(mask=mask),
        TextFormat(mask=mask, timestamps=True),
        TextFormat(mask=mask, pattern=re.compile(b"password")),
        JsonFormat("p", mask=mask),
    ):
        output = form.render(LINES)
        assert SECRET.encode() not in output
        assert b"password ***" in output


def test_a_pattern_is_looked_for_in_what_is_shown():
    mask = Mask([SECRET]).mask_bytes
    assert TextFormat(mask=mask, pattern=re.compile(b"s3cret")).render(LINES) == b""
    assert TextFormat(pattern=re.compile(b"^hello$")).render(LINES) == b"web  | hello\n"


def test_json_lines():
    output = JsonFormat("shop").render([line(b'say "hi" \xff \x1b[31m', "web", "stderr"), LINES[0]])
    first, second = output.decode().splitlines()
    assert json.loads(first) == {
        "schema": 1,
        "project": "shop",
        "time": STAMP.decode(),
        "service": "web",
        "container": "p-web-1",
        "stream": "stderr",
        "message": 'say "hi" � \x1b[31m',
    }
    assert json.loads(second)["message"] == "hello"
    assert "\x1b" not in first


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"plain \t text", b"plain \t text"),
        (b"\x1b]0;title\x07after", b"after"),
        (b"\x1b]52;c;ZXZpbA==\x1b\\after", b"after"),
        (b"\x1b]8;;never closed", b""),
        (b"\x1b[2J\x1b[1;1Hclear", b"clear"),
        (b"\x1b[?1049hscreen", b"screen"),
        (b"\x1bPdcs\x1b\\after", b"after"),
        (b"\x1bcreset", b"reset"),
        (b"over\rwrite\x08\x07", b"overwrite"),
        (b"c1 \xc2\x9b2J", b"c1 2J"),
        ("größe \u00a0 ✓".encode(), "größe \u00a0 ✓".encode()),
        (b"ends in \x1b", b"ends in "),
        (b"ends in \x1b[", b"ends in "),
    ],
)
def test_a_terminal_is_not_steered_by_a_container(written: bytes, shown: bytes):
    assert printable(written + b"\n", colors=True) == shown + b"\n"
    assert TextFormat(prefixed=False, terminal=True).render([line(written)]) == shown + b"\n"


def test_colours_of_a_container_end_with_the_line():
    assert printable(b"\x1b[31mred\n", colors=True) == b"\x1b[31mred\x1b[0m\n"
    assert printable(b"\x1b[31mred\n", colors=False) == b"red\n"


def test_a_pipe_gets_what_was_written():
    assert TextFormat(prefixed=False).render([line(b"\x1b[2J\r")]) == b"\x1b[2J\r\n"


def test_each_service_has_its_colour():
    colors = service_colors(["a", "b", "c", "d", "e"])
    assert len(set(colors.values())) == 5
    assert service_colors(["a", "b"]) == {"a": colors["a"], "b": colors["b"]}
    form = TextFormat(colors={"web": "36"})
    assert form.render(LINES[:1]) == b"\x1b[36mweb  | \x1b[0mhello\n"
