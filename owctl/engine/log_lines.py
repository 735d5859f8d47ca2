"""Log lines out of the engine's frames: whole lines, each with its time.

A line longer than 16 KiB comes as several frames, of which only the last ends with a newline.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from owctl.engine.frames import HEADER_BYTES, Stream, stream_name

# A longer line becomes several: what a container writes must not fill our memory.
MAX_LINE_BYTES = 1 << 20
# So much of a line that is cut waits for what follows: a secret may have come half.
HELD_BYTES = 1 << 12
# The engine passes a longer line on in parts of this size.
PART_BYTES = 1 << 14
# "2026-01-31T12:34:56.123456789Z", as the engine writes it, and the space behind it.
STAMP_BYTES = 30
_TEXT = HEADER_BYTES + STAMP_BYTES + 1
_STDOUT_HEADER = b"\x01" + bytes(HEADER_BYTES - 1)
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) ")

Guard = Callable[[bytes], bytes]


# A line as bytes: its stamp (sorts by time), its stream, its text with the newline. A plain tuple:
# there may be millions.
LogEntry = tuple[bytes, Stream, bytes]


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a container's log; ``time`` is RFC 3339 with nanoseconds, UTC."""

    time: str
    stream: Stream
    message: str

    @property
    def time_ns(self) -> int:
        """The time in nanoseconds since 1970."""
        return stamp_ns(self.time)


class LineAssembler:
    """Turns pieces of a multiplexed log into frames that each hold one whole line.

    A piece that is one whole frame with one whole line, which nearly all are, passes untouched.
    ``guard`` hides what must not be cut in two from an endless line before that is cut.
    """

    def __init__(self, guard: Guard | None = None) -> None:
        self.entries = 0
        self._guard = guard
        self._held = b""
        self._open: dict[int, OpenLine] = {}

    def feed(self, pieces: Sequence[bytes]) -> list[bytes]:
        """Return complete lines as frames (header and line); raises ValueError for rubbish."""
        frames: list[bytes] = []
        whole = 0
        add, size_of = frames.append, int.from_bytes
        for piece in pieces:
            if (
                piece[-1:] == b"\n"
                and not self._held
                and not self._open
                and size_of(piece[4:HEADER_BYTES], "big") == len(piece) - HEADER_BYTES
            ):
                add(piece)
                whole += 1
            else:
                self._feed_slowly(piece, frames)
        self.entries += whole
        return frames

    def _feed_slowly(self, piece: bytes, frames: list[bytes]) -> None:
        data = self._held + piece
        position = 0
        while position + HEADER_BYTES <= len(data):
            size = int.from_bytes(data[position + 4 : position + HEADER_BYTES], "big")
            stream_name(data[position])
            end = position + HEADER_BYTES + size
            if end > len(data):
                break
            self._take(data[position:end], frames)
            position = end
        self._held = data[position:]

    def _take(self, frame: bytes, frames: list[bytes]) -> None:
        self.entries += 1
        begun = self._open.pop(frame[0], None)
        if begun is None:
            if frame.endswith(b"\n"):
                frames.append(frame)
                return
            begun = OpenLine(*_head_and_text(frame))
        else:
            head, text = _head_and_text(frame)
            if begun.goes_on_with(head):
                begun.add(text)
            else:
                frames.append(begun.frame())
                begun = OpenLine(head, text)
        if begun.ended:
            frames.append(begun.frame())
            return
        self._open[frame[0]] = begun
        if begun.is_too_long:
            frames.append(begun.cut(self._guard))

    def finish(self) -> list[bytes]:
        """Return lines that had no newline; raises ValueError if a frame is incomplete."""
        if self._held:
            raise ValueError("a frame was cut off")
        frames = [line.frame() for line in self._open.values()]
        self._open.clear()
        return frames


class TerminalLines:
    """Turns the log of a container with a terminal (no frames, all stdout) into such frames.

    The engine puts a time before each part of a long line, and sets what follows a last line without
    a newline right behind it.
    """

    def __init__(self, guard: Guard | None = None) -> None:
        self.entries = 0
        self._guard = guard
        self._held = b""

    def feed(self, pieces: Sequence[bytes]) -> list[bytes]:
        """Return complete lines as frames."""
        *lines, held = (self._held + b"".join(pieces)).split(b"\n")
        frames = [frame for line in lines for frame in self._frames(line)]
        if len(held) > MAX_LINE_BYTES:
            *before, last = self._lines(held)
            frames += [line.frame() for line in before]
            if last.is_too_long:
                frames.append(last.cut(self._guard))
            held = (last.head + last.text)[HEADER_BYTES:]
            self.entries -= 1  # it is counted again with what follows
        self._held = held
        return frames

    def finish(self) -> list[bytes]:
        """Return a last line that had no newline."""
        held, self._held = self._held, b""
        return self._frames(held) if held else []

    def _frames(self, line: bytes) -> list[bytes]:
        return [part.frame() for part in self._lines(line.removesuffix(b"\r"))]

    def _lines(self, line: bytes) -> list["OpenLine"]:
        lines = [OpenLine(*_head_and_text(_STDOUT_HEADER + line))]
        text = lines[0].text
        position = 0
        for stamp in _STAMP.finditer(text):
            if stamp[1] < lines[-1].stamp:
                continue  # a time that the program wrote: it is earlier than the engine's
            piece = text[position : stamp.start()]
            lines[-1].replace_last(piece)
            lines.append(OpenLine(_STDOUT_HEADER + stamp[0], b""))
            position = stamp.end()
            if lines[-2].goes_on_with(lines[-1].head):
                lines.pop()
                lines[-1].add(b"")
            self.entries += 1
        lines[-1].replace_last(text[position:])
        self.entries += 1
        return lines


class OpenLine:
    """A line that may go on: its header and time, its text, the size of its latest part."""

    def __init__(self, head: bytes, text: bytes) -> None:
        self.head = head
        self.text = text
        self._part_bytes = len(text)

    @property
    def stamp(self) -> bytes:
        """The time, as the engine wrote it."""
        return self.head[HEADER_BYTES:-1]

    @property
    def ended(self) -> bool:
        """Whether it has its newline."""
        return self.text.endswith(b"\n")

    @property
    def is_too_long(self) -> bool:
        """Whether it must be cut to bound the memory."""
        return len(self.text) > MAX_LINE_BYTES

    def goes_on_with(self, head: bytes) -> bool:
        """Whether a part with that header and time belongs to it.

        All parts of a line carry one time, with older engines one each; all but the last are of one
        size. Anything else is what a program wrote after its predecessor had ended without a newline.
        """
        alike = head[HEADER_BYTES:] == self.head[HEADER_BYTES:] or self._part_bytes == PART_BYTES
        # Podman marks parts by the missing newline alone, and writes times with a zone.
        return alike or not self.head.endswith(b"Z ")

    def add(self, text: bytes) -> None:
        """Put a part behind it."""
        self.text += text
        self._part_bytes = len(text)

    def replace_last(self, text: bytes) -> None:
        """Put ``text`` in the place of its latest part."""
        self.text = self.text[: len(self.text) - self._part_bytes] + text
        self._part_bytes = len(text)

    def frame(self) -> bytes:
        """Return it as a frame with a newline."""
        return self.head + self.text + (b"" if self.ended else b"\n")

    def cut(self, guard: Guard | None) -> bytes:
        """Return all but its end as a frame, and keep that end, which ``guard`` has seen.

        What ``guard`` hides may have come half; it is shorter than the end that is kept.
        """
        if guard is not None:
            self.text = guard(self.text)
        end = max(len(self.text) - HELD_BYTES, 0)
        while end and self.text[end] & 0xC0 == 0x80:  # in the middle of a character
            end -= 1
        shown, self.text = self.text[:end], self.text[end:]
        return self.head + shown + b"\n"


def _head_and_text(frame: bytes) -> tuple[bytes, bytes]:
    stamp, space, text = frame[HEADER_BYTES:].partition(b" ")
    return frame[:HEADER_BYTES] + stamp + space, text


def entries_of(frames: Sequence[bytes]) -> list[LogEntry]:
    """Return the frames of an assembler, whose lines begin with a time, as entries."""
    return [
        (
            frame[HEADER_BYTES : _TEXT - 1],
            "stderr" if frame[0] == 2 else "stdout",
            frame[_TEXT:],
        )
        if frame[_TEXT - 2 : _TEXT] == b"Z "
        else _odd_entry(frame)
        for frame in frames
    ]


def _odd_entry(frame: bytes) -> LogEntry:
    """Podman and some log drivers write times with another zone or fewer digits."""
    stamp, _, text = frame[HEADER_BYTES:].partition(b" ")
    stream: Stream = "stderr" if frame[0] == 2 else "stdout"
    try:
        normal = ns_stamp(stamp_ns(stamp.decode("ascii"))).encode()
    except ValueError as error:
        raise ValueError(f"a log line begins with {stamp[:40]!r}, which is no time") from error
    return normal, stream, text or b"\n"


def line_of(entry: LogEntry) -> LogLine:
    """Return an entry as text."""
    stamp, stream, text = entry
    return LogLine(stamp.decode("ascii"), stream, text[:-1].decode("utf-8", "replace"))


def stamp_ns(stamp: str) -> int:
    """Return an RFC 3339 time in nanoseconds since 1970; raises ValueError."""
    base, dot, rest = stamp.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))] if dot else ""
    zone = rest[len(digits) :] if dot else ""
    moment = datetime.fromisoformat(base + zone)
    if moment.tzinfo is None:
        raise ValueError(f"{stamp!r} has no time zone")
    return int(moment.timestamp()) * 10**9 + int(digits[:9].ljust(9, "0"))


def ns_stamp(nanoseconds: int) -> str:
    """Return nanoseconds since 1970 in the engine's form, thirty characters."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
