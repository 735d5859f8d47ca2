"""Container logs as streams of whole lines, each with its time, read over a connection of our own."""

import re
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from owctl.engine.connection import Engine
from owctl.engine.naming import ONEOFF, PROJECT, SERVICE
from owctl.engine.wire import (
    HEADER_BYTES,
    Closing,
    Response,
    Stream,
    lost,
    request,
    short_id,
    stream_name,
)

# -- Log lines out of the engine's frames: whole lines, each with its time.
# A line longer than 16 KiB comes as several frames, of which only the last ends with a newline.


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


# -- Container logs as streams of lines, read over a connection of our own.


GATHER_SECONDS = 0.0003

__all__ = ["Guard", "LogEntry", "LogLine", "LogStream", "container_states", "stream_logs"]


class LogStream(Closing):
    """A container's log that is being read: iterate for LogLine, or take ``batches``.

    ``close`` may be called from another thread; iterating then raises EngineUnavailable, as it
    does when the connection breaks: only the engine ends a log.
    """

    def __init__(self, response: Response, *, tty: bool, guard: Guard | None = None) -> None:
        self._response = response
        self._lines: TerminalLines | LineAssembler = (
            TerminalLines(guard) if tty else LineAssembler(guard)
        )

    @property
    def entries(self) -> int:
        """How many entries of the engine's have been read; a line over 16 KiB is several."""
        return self._lines.entries

    def batches(self) -> Generator[list[LogEntry], None, None]:
        """Yield lines in the engine's order, as many at once as have come."""
        with self._response:
            try:
                for pieces in self._response.pieces():
                    if frames := self._lines.feed(pieces):
                        yield entries_of(frames)
                if frames := self._lines.finish():
                    yield entries_of(frames)
            except ValueError as error:
                raise lost(self._response.action, str(error)) from error

    def __iter__(self) -> Iterator[LogLine]:
        with closing(self.batches()) as batches:
            for batch in batches:
                yield from map(line_of, batch)

    def close(self) -> None:
        """Close the connection."""
        self._response.close()


def stream_logs(
    engine: Engine,
    container_id: str,
    *,
    tty: bool,
    follow: bool,
    tail: int | None,
    since: float | str | None,
    until: float | None,
    guard: Guard | None = None,
) -> LogStream:
    """Open a container's log; both streams, in the order of the engine.

    ``tail`` is a number of last entries (None: all); a line over 16 KiB is several of them.
    ``guard`` hides secrets in a line that is too long to stay in one piece. ``since`` and ``until`` are seconds since 1970,
    ``since`` also a stamp of the engine's (exact to the nanosecond); a line of that very time is
    included. Raises NotFound,
    EngineError (a log driver that cannot be read), EngineUnavailable.
    """
    query = {
        "stdout": "1",
        "stderr": "1",
        "follow": str(int(follow)),
        "timestamps": "1",
        "tail": "all" if tail is None else str(tail),
    }
    if since is not None:
        query["since"] = _moment(since)
    if until is not None:
        query["until"] = _moment(until)
    response = request(
        engine,
        "GET",
        f"/containers/{container_id}/logs",
        query=query,
        action=f"read the log of container {short_id(container_id)}",
    )
    if not follow:
        response.gather_seconds = GATHER_SECONDS
    return LogStream(response, tty=tty, guard=guard)


def _moment(moment: float | str) -> str:
    if isinstance(moment, str):
        seconds, nanoseconds = divmod(stamp_ns(moment), 10**9)
        return f"{seconds}.{nanoseconds:09d}"
    return f"{moment:.6f}"


def container_states(
    engine: Engine, project: str, services: Collection[str] | None = None
) -> dict[str, str]:
    """Return the ids of the project's containers, each with the engine's word for its state.

    One cheap request, for a loop. ``services`` None means all.
    """
    with engine.translate("list the containers"):
        found = engine.api.containers(
            all=True, filters={"label": [f"{PROJECT}={project}", f"{ONEOFF}=False"]}
        )
    return {
        str(entry["Id"]): str(entry.get("State") or "")
        for entry in found
        if services is None or (entry.get("Labels") or {}).get(SERVICE) in services
    }
