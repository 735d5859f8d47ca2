"""How log lines are shown: prefix, time, colours, JSON; and what never is."""

import json

import pytest

from owctl.environment.masking import Mask
from owctl.observe.log_filter import Line, Source
from owctl.ui.log_text import JsonFormat, Safety, TextFormat, service_colors

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


SAFETY = Safety(Mask([SECRET]).mask_bytes)
RAW = Safety(raw=True)


def test_secrets_are_masked_in_every_form():
    for form in (
        TextFormat(safety=SAFETY),
        TextFormat(safety=SAFETY, timestamps=True),
        TextFormat(safety=SAFETY, colors={"web": "36"}),
        JsonFormat("p", SAFETY),
    ):
        output = form.render(LINES)
        assert SECRET.encode() not in output
        assert b"password ***" in output


@pytest.mark.parametrize("inside", [b"\x1b[0m", b"\x1b[31m", b"\x1b]0;t\x07", b"\x1b[K"])
def test_a_control_sequence_does_not_hide_a_secret_from_the_mask(inside: bytes):
    lines = [line(b"password s3cret" + inside + b"-p4ssword\x1b[0m")]
    for form in (
        TextFormat(safety=SAFETY),
        TextFormat(safety=SAFETY, colors={"web": "36"}),
        JsonFormat("p", SAFETY),
    ):
        assert b"password ***" in form.render(lines)


def test_colours_stay_on_a_coloured_terminal_alone():
    lines = [line(b"\x1b[31mred\x1b[0m \x1b[2J" + SECRET.encode())]
    form = TextFormat(prefixed=False, safety=SAFETY, colors={"web": "36"})
    assert form.render(lines) == b"\x1b[31mred\x1b[0m ***\x1b[0m\n"
    assert TextFormat(prefixed=False, safety=SAFETY).render(lines) == b"red ***\n"


def test_raw_is_as_written():
    lines = [line(b"\x1b[2J\r\xff" + SECRET.encode())]
    for colors in ({}, {"web": "36"}):
        form = TextFormat(prefixed=False, safety=RAW, colors=colors)
        assert form.render(lines) == lines[0][3]
    # JSON escapes what could steer a terminal, and loses nothing of it.
    shown = JsonFormat("p", RAW).render([line("\x1b[2J\x9b2J\u202e".encode())])
    assert json.loads(shown)["message"] == "\x1b[2J\x9b2J\u202e"
    assert shown.isascii()


def test_json_lines():
    form = JsonFormat("shop")
    output = form.render(
        [line(b'say "hi" \xff \x1b[31m', "web", "stderr"), LINES[0]], ["warn", None]
    )
    first, second = output.decode().splitlines()
    assert json.loads(first) == {
        "schema": 1,
        "project": "shop",
        "time": STAMP.decode(),
        "service": "web",
        "container": "p-web-1",
        "stream": "stderr",
        "level": "warn",
        "message": 'say "hi" � ',
    }
    assert json.loads(second)["message"] == "hello"
    assert json.loads(second)["level"] is None


def test_each_service_has_its_colour():
    colors = service_colors(["a", "b", "c", "d", "e"])
    assert len(set(colors.values())) == 5
    assert service_colors(["a", "b"]) == {"a": colors["a"], "b": colors["b"]}
    form = TextFormat(colors={"web": "36"})
    assert form.render(LINES[:1]) == b"\x1b[36mweb  | \x1b[0mhello\n"
