"""Log lines out of the engine's frames: whole lines, each with its time.

A line longer than 16 KiB comes as several frames, of which only the last ends with a newline.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from owctl.engine.frames import HEADER_BYTES, Stream, stream_name

# Longer lines are cut: what a container writes must not fill our memory.
MAX_LINE_BYTES = 1 << 20
# "2026-01-31T12:34:56.123456789Z", as the engine writes it, and the space behind it.
STAMP_BYTES = 30
_TEXT = HEADER_BYTES + STAMP_BYTES + 1
_STDOUT_HEADER = b"\x01" + bytes(HEADER_BYTES - 1)


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
    """

    def __init__(self) -> None:
        self._held = b""
        self._open: dict[int, bytes] = {}

    def feed(self, pieces: Sequence[bytes]) -> list[bytes]:
        """Return complete lines as frames (header and line); raises ValueError for rubbish."""
        frames: list[bytes] = []
        add, size_of = frames.append, int.from_bytes
        for piece in pieces:
            if (
                piece[-1:] == b"\n"
                and not self._held
                and not self._open
                and size_of(piece[4:HEADER_BYTES], "big") == len(piece) - HEADER_BYTES
            ):
                add(piece)
            else:
                self._feed_slowly(piece, frames)
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
        begun = self._open.pop(frame[0], None)
        if begun is not None:
            # Each part of a long line carries a time of its own; the first one's counts.
            frame = begun + frame[HEADER_BYTES:].partition(b" ")[2]
        if frame.endswith(b"\n"):
            frames.append(frame)
        elif len(frame) > MAX_LINE_BYTES:
            frames.append(frame + b"\n")
        else:
            self._open[frame[0]] = frame

    def finish(self) -> list[bytes]:
        """Return lines that had no newline; raises ValueError if a frame is incomplete."""
        if self._held:
            raise ValueError("a frame was cut off")
        frames = [frame + b"\n" for frame in self._open.values()]
        self._open.clear()
        return frames


class TerminalLines:
    """Turns the log of a container with a terminal (no frames, all stdout) into such frames."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, pieces: Sequence[bytes]) -> list[bytes]:
        """Return complete lines as frames."""
        *lines, self._held = (self._held + b"".join(pieces)).split(b"\n")
        if len(self._held) > MAX_LINE_BYTES:
            lines.append(self._held)
            self._held = b""
        return [_STDOUT_HEADER + line.removesuffix(b"\r") + b"\n" for line in lines]

    def finish(self) -> list[bytes]:
        """Return a last line that had no newline."""
        held, self._held = self._held, b""
        return [_STDOUT_HEADER + held + b"\n"] if held else []


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
