"""What a terminal sends when keys are pressed, as names and characters."""

# Terminals send one or the other form of these, depending on a mode that they may be in.
_NAMES = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[C": "right",
    b"\x1bOC": "right",
    b"\x1b[D": "left",
    b"\x1bOD": "left",
    b"\x1b[H": "home",
    b"\x1bOH": "home",
    b"\x1b[1~": "home",
    b"\x1b[7~": "home",
    b"\x1b[F": "end",
    b"\x1bOF": "end",
    b"\x1b[4~": "end",
    b"\x1b[8~": "end",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "backspace",
    b"\x08": "backspace",
    b"\x15": "ctrl u",
    b"\x0c": "ctrl l",
}
_ESCAPE = 0x1B
_LONGEST_SEQUENCE_BYTES = 32


def parse_keys(data: bytes, *, more_may_come: bool = True) -> tuple[list[str], bytes]:
    """Return the keys in ``data``, and the bytes of a key that has not come whole yet.

    Without ``more_may_come`` nothing is kept: a lone escape is then the key "escape". Sequences that
    mean nothing here, and control characters, are left out.
    """
    keys: list[str] = []
    position = 0
    while position < len(data):
        length = _length(data, position)
        if length is None:
            if more_may_come:
                return keys, data[position:]
            length = 1
        if name := _name(data[position : position + length]):
            keys.append(name)
        position += length
    return keys, b""


def _length(data: bytes, position: int) -> int | None:
    """Return how many bytes the key at ``position`` has, None where they have not all come."""
    first = data[position]
    if first == _ESCAPE:
        return _sequence_length(data, position)
    size = 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    return size if position + size <= len(data) else None


def _sequence_length(data: bytes, position: int) -> int | None:
    second = data[position + 1 : position + 2]
    if not second:
        return None
    if second == b"O":
        return 3 if position + 2 < len(data) else None
    if second != b"[":
        # Alt and a key, or escape twice.
        return 1 if second == b"\x1b" else 2
    for end in range(position + 2, min(len(data), position + _LONGEST_SEQUENCE_BYTES)):
        if 0x40 <= data[end] <= 0x7E:
            return end + 1 - position
    return None if len(data) - position < _LONGEST_SEQUENCE_BYTES else _LONGEST_SEQUENCE_BYTES


def _name(key: bytes) -> str:
    if key == b"\x1b":
        return "escape"
    if name := _NAMES.get(key):
        return name
    text = key.decode("utf-8", "ignore")
    return text if len(text) == 1 and text.isprintable() else ""
