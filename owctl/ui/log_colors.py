"""Colours of services, and what of a container's own control sequences may reach a terminal."""

import re

# Readable on dark and light backgrounds, and far from the red and yellow of messages.
_PALETTE = ("36", "35", "32", "34", "33", "96", "95", "92", "94", "93")

# What a container prints could move the cursor, set the title or the clipboard, or hide lines.
_SEQUENCE = re.compile(
    rb"(?P<color>\x1b\[[0-9;:]*m)"  # SGR: colours and styles
    rb"|\x1b\[[0-?]*[ -/]*[@-~]?"  # other CSI
    rb"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC
    rb"|\x1b[ -/]*[0-~]?"  # other escapes
    rb"|\xc2[\x80-\x9f]"  # C1 controls in UTF-8
    rb"|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]"  # C0 controls but tab and newline
)
_SUSPICIOUS = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
_RESET = b"\x1b[0m"


def service_color(index: int) -> str:
    """Return the SGR code of the service at ``index``; every run gives it the same one."""
    return _PALETTE[index % len(_PALETTE)]


def paint(text: str, code: str) -> str:
    """Return ``text`` in a colour."""
    return f"\x1b[{code}m{text}\x1b[0m"


def printable(line: bytes, *, colors: bool) -> bytes:
    """Return a line, with its newline, without anything that could steer the terminal.

    ``colors`` keeps SGR sequences, and ends them with the line.
    """
    if not _SUSPICIOUS.search(line):
        return line
    kept = False

    def keep(match: re.Match[bytes]) -> bytes:
        nonlocal kept
        color = match["color"] if colors else None
        kept = kept or color is not None
        return color or b""

    clean = _SEQUENCE.sub(keep, line)
    return clean.removesuffix(b"\n") + _RESET + b"\n" if kept else clean
