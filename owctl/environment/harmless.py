"""What others wrote, made harmless for a terminal: no sequence that steers it, no broken UTF-8.

Complete control sequences go (a terminal would not show them either). Whatever else cannot be
printed is shown: ``^M`` for a control character, ``<U+202E>`` for one that turns the direction of
writing. The end of a line stays where it is.
"""

import re

# Everything below a space but tab and newline, and DEL.
_CONTROLS = bytes({*range(32), 127} - {9, 10})
# C1 controls, the marks that turn or hide what stands beside them, and Unicode's own line ends.
_HIDDEN = re.compile("[\x80-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_COLOR = re.compile(rb"\x1b\[[0-9;:]*m")
_SEQUENCE = re.compile(
    rb"(?P<color>\x1b\[[0-9;:]*m)"  # SGR: colours and styles
    rb"|(?:\x1b\[|\xc2\x9b)[0-?]*[ -/]*[@-~]"  # other CSI: cursor, erasing, modes
    # OSC, DCS, SOS, PM, APC up to their end: titles, clipboard, links
    rb"|(?:\x1b[\]PX^_]|\xc2[\x90\x98\x9d-\x9f])"
    rb"(?:[^\x07\x1b\n\xc2]|\xc2[^\x80-\x9f\n])*(?:\x07|\x1b\\|\xc2\x9c)"
    rb"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"  # other escapes: reset, character sets
    rb"|\r+(?=\n)"
    rb"|(?P<shown>[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xd8\x9c"
    rb"|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9])"
)
# The parameters of a colour of 256 or of 16 million, of which an 8 may be one.
_EXTENDED = re.compile(rb"[345]8[;:](?:5[;:]\d*|2(?:[;:]\d*){3,4})")
_CONCEAL = re.compile(rb"(?:^|;)0*8(?:;|$)")
_RESET = b"\x1b[0m"


def harmless(data: bytes) -> bytes:
    """Return lines in UTF-8 without control characters, colours neither; fast where none are."""
    data, clean = _examined(data)
    if clean:
        return data
    # Most that write colours write nothing worse: one pass without a call for each.
    without_colors, clean = _examined(_COLOR.sub(b"", data))
    return without_colors if clean else _SEQUENCE.sub(_replaced, data)


def harmless_text(text: str) -> str:
    """Return one or several lines of text as ``harmless`` does."""
    return harmless(text.encode("utf-8", "replace")).decode()


def harmless_line(line: bytes) -> bytes:
    """Return a line, with its newline, with its colours, which end with it, and nothing else."""
    line, clean = _examined(line)
    if clean:
        return line
    kept = False

    def keep(match: re.Match[bytes]) -> bytes:
        nonlocal kept
        color = match["color"]
        if color is None or _CONCEAL.search(_EXTENDED.sub(b"", color[2:-1])):
            return _replaced(match)
        kept = True
        return color

    shown = _SEQUENCE.sub(keep, line)
    return shown.removesuffix(b"\n") + _RESET + b"\n" if kept else shown


def _examined(data: bytes) -> tuple[bytes, bool]:
    """Return the data in valid UTF-8, and whether it is harmless already."""
    clean = len(data.translate(None, _CONTROLS)) == len(data)
    if data.isascii():
        return data, clean
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        data = text.encode()
    return data, clean and not _HIDDEN.search(text)


def _replaced(match: re.Match[bytes]) -> bytes:
    shown = match["shown"]
    if shown is None:
        return b""
    if len(shown) == 1:
        return b"^" + bytes([shown[0] ^ 64])
    return b"<U+%04X>" % ord(shown.decode())
