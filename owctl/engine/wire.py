"""Requests to the engine on connections of their own: the head read byte-exact, the body as a stream of frames."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import quote, urlencode

from owctl.engine.connection import Engine
from owctl.engine.failures import engine_answer
from owctl.engine.transport import Transport, connect
from owctl.errors import EngineUnavailable

if TYPE_CHECKING:
    from owctl.engine.ssh_tunnel import SshTunnel


# -- What every stream from the engine is: closed when its ``with`` block is left.


class Closing:
    """A context manager that closes itself; a subclass says how in ``close``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; also from another thread."""
        raise NotImplementedError


# -- The engine's multiplexed stream: stdout and stderr of a container without a terminal, in frames.
# A frame is one byte for the stream (0 stdin, 1 stdout, 2 stderr), three zeros, the size of the
# payload as four bytes big-endian, and the payload.


Stream = Literal["stdout", "stderr"]

HEADER_BYTES = 8


class FrameSplitter:
    """Takes a stream of frames apart without holding more than one header.

    Payloads are handed out as they come, in pieces; ``complete`` tells whether the stream may
    end here.
    """

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        self._stream: Stream = "stdout"

    @property
    def complete(self) -> bool:
        """Whether everything so far was whole frames."""
        return not self._header and not self._left

    def feed(self, data: bytes) -> list[tuple[Stream, bytes]]:
        """Return the payload pieces in ``data``; raises ValueError for what is not a frame."""
        if self._header:
            data, self._header = self._header + data, b""
        pieces: list[tuple[Stream, bytes]] = []
        position, length = 0, len(data)
        while position < length:
            if not self._left:
                payload = position + HEADER_BYTES
                if payload > length:
                    self._header = data[position:]
                    break
                self._stream = stream_name(data[position])
                self._left = int.from_bytes(data[position + 4 : payload], "big")
                position = payload
                continue
            end = min(position + self._left, length)
            pieces.append((self._stream, data[position:end]))
            self._left -= end - position
            position = end
        return pieces


def stream_name(number: int) -> Stream:
    """Return the name of a frame's stream; raises ValueError for a number that has none."""
    if number in (0, 1):
        return "stdout"
    if number == 2:
        return "stderr"
    raise ValueError(f"{number} is not a stream of the engine")


# -- One HTTP request on a connection of its own: the head read byte-exact, the body as a stream.
# Nothing that follows the head is lost, a body that was cut off is an error, and an upgraded
# connection is a plain stream of bytes in both directions.


BUFFER_BYTES = 1 << 18
GATHERED_BYTES = 16_000
HEAD_LIMIT_BYTES = 1 << 16
HEAD_TIMEOUT_SECONDS = 120.0


@dataclass(slots=True)
class Response(Closing):
    """An answer whose body has not been read: ``remainder`` is what came along with the head."""

    transport: Transport
    status: int
    headers: Mapping[str, str]
    remainder: bytes = field(repr=False)
    action: str
    tunnel: "SshTunnel | None" = None
    # A pause before a read lets many tiny writes of the engine gather, and spares it a wake-up
    # for each: a third of the time for a long log. Needless while reads find much anyway.
    gather_seconds: float = 0.0
    _last_size_bytes: int = 0

    def close(self) -> None:
        """Close the connection; a thread that is reading the body sees its end or an OSError."""
        self.transport.close()

    def receive(self) -> bytes:
        """Return the next bytes as they come on the wire, b"" at the end.

        Raises EngineUnavailable when the connection breaks, TimeoutError by the transport's limit.
        """
        if self.remainder:
            data, self.remainder = self.remainder, b""
            return data
        if self.gather_seconds and self._last_size_bytes < GATHERED_BYTES:
            time.sleep(self.gather_seconds)
        try:
            data = self.transport.recv(BUFFER_BYTES)
        except TimeoutError:
            raise
        except OSError as error:
            raise self.lost(str(error)) from error
        self._last_size_bytes = len(data)
        return data

    def lost(self, why: str) -> EngineUnavailable:
        """Return the error for a body that was cut off, with what ssh said if that was the way."""
        if self.tunnel is not None and self.tunnel.is_lost():
            return self.tunnel.explain(self.action)
        return lost(self.action, why)

    def raw(self) -> Iterator[bytes]:
        """Yield what comes until the connection ends (an upgraded connection has no framing)."""
        while data := self.receive():
            yield data

    def pieces(self) -> Iterator[list[bytes]]:
        """Yield the body in lists of pieces; a chunk of a chunked body of up to 64 KiB is one.

        Raises EngineUnavailable if the connection ends before the body does.
        """
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks()
        return self._sized()

    def body(self) -> bytes:
        """Return the whole body; for small ones."""
        return b"".join(b"".join(pieces) for pieces in self.pieces())

    def _sized(self) -> Iterator[list[bytes]]:
        length = self.headers.get("content-length")
        left = int(length) if length is not None else None
        while left is None or left > 0:
            data = self.receive()
            if not data:
                if left:
                    raise self.lost(f"{left} bytes of the answer are missing")
                return
            if left is not None:
                left -= len(data)
            yield [data]

    def _chunks(self) -> Iterator[list[bytes]]:
        buffer, skip = b"", 0
        while True:
            data = self.receive()
            if not data:
                raise self.lost("the connection ended in the middle of the answer")
            try:
                pieces, buffer, skip, ended = split_chunks(buffer + data if buffer else data, skip)
            except ValueError as error:
                raise lost(self.action, f"the answer is garbled: {error}") from error
            if pieces:
                yield pieces
            if ended:
                return


def split_chunks(data: bytes, left: int) -> tuple[list[bytes], bytes, int, bool]:
    """Take the chunks of a chunked HTTP body apart.

    ``left`` counts the bytes still missing of a large chunk that an earlier call handed out in
    part (with its line end), 0 if there is none. Returns the pieces, the bytes kept for the next
    call, the new ``left`` and whether the last chunk was seen. Small chunks stay whole.
    """
    pieces: list[bytes] = []
    add, find, length, position = pieces.append, data.find, len(data), 0
    if left:
        if left > length:
            # The line end of two bytes is part of ``left`` and never handed out.
            keep = max(left - 2, 0)
            return [data[:keep]] if keep else [], b"", left - length, False
        if left > 2:
            add(data[: left - 2])
        position = left
    while True:
        line_end = find(b"\r\n", position)
        if line_end < 0:
            return pieces, data[position:], 0, False
        try:
            size = int(data[position:line_end], 16)
        except ValueError:
            # An extension (";name=value") is allowed and means nothing.
            size = int(data[position:line_end].partition(b";")[0], 16)
        if not size:
            return pieces, b"", 0, True
        start = line_end + 2
        end = start + size
        if end + 2 > length:
            if size <= 1 << 16:
                return pieces, data[position:], 0, False
            add(data[start:end])
            return pieces, b"", end + 2 - length, False
        add(data[start:end])
        position = end + 2


def request(
    engine: Engine,
    method: str,
    path: str,
    *,
    action: str,
    query: Mapping[str, str] | None = None,
    document: Mapping[str, object] | None = None,
    upgrade: bool = False,
) -> Response:
    """Send a request without body, or with a JSON ``document``, and read the answer's head.

    ``path`` is quoted and gets the API version. ``action`` completes "Cannot …" in errors:
    EngineUnavailable, NotFound, EngineError with what the engine said. The caller closes.
    """
    transport = send_head(
        engine, method, path, action=action, query=query, document=document, upgrade=upgrade
    )
    try:
        response = read_head(transport, action)
        if method == "HEAD":
            # Its headers speak of a body that does not come.
            response.headers = {**response.headers, "content-length": "0", "transfer-encoding": ""}
        response.tunnel = engine.endpoint.tunnel
        return checked(response)
    except BaseException:
        transport.close()
        raise


def send_head(
    engine: Engine,
    method: str,
    path: str,
    *,
    action: str,
    query: Mapping[str, str] | None = None,
    document: Mapping[str, object] | None = None,
    upgrade: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Transport:
    """Connect and send a request's head (and ``document``); the rest is up to the caller."""
    body = b"" if document is None else json.dumps(document).encode()
    target = f"/v{engine.api_version}{quote(path)}" + (f"?{urlencode(query)}" if query else "")
    lines = [f"{method} {target} HTTP/1.1", "Host: docker", "User-Agent: owctl"]
    if upgrade:
        lines += ["Connection: Upgrade", "Upgrade: tcp"]
    else:
        lines += ["Connection: close"]
    if document is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    transport = connect(engine.endpoint, action)
    try:
        transport.settimeout(HEAD_TIMEOUT_SECONDS)
        transport.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    except BaseException as error:
        transport.close()
        if isinstance(error, OSError):
            raise lost(action, str(error)) from error
        raise
    return transport


def read_head(transport: Transport, action: str) -> Response:
    """Read status and headers, and lift the time limit for the body. Raises EngineUnavailable."""
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            more = transport.recv(BUFFER_BYTES)
        except OSError as error:
            raise lost(action, str(error)) from error
        data += more
        if not more or len(data) > HEAD_LIMIT_BYTES + BUFFER_BYTES:
            raise lost(action, "it closed the connection without an answer")
    transport.settimeout(None)
    head, _, remainder = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    words = first.split(" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        raise lost(action, f"it answered {first!r}")
    return Response(transport, int(words[1]), headers, remainder, action)


def checked(response: Response) -> Response:
    """Return a good answer; raise the error for any other, in the engine's words."""
    if response.status < 400:
        return response
    text = response.body().decode("utf-8", "replace").strip()
    try:
        reason = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        reason = text or f"status {response.status}"
    raise engine_answer(response.status, reason, response.action)


def short_id(container_id: str) -> str:
    """Return a container's id as the docker command shows it; a name stays whole."""
    return container_id[:12] if len(container_id) == 64 else container_id


def lost(action: str, why: str) -> EngineUnavailable:
    """Return the error for a connection that broke before the answer was complete."""
    return EngineUnavailable(
        f"Cannot {action}: the connection to the engine was lost ({why})",
        hint="see whether the engine still runs: docker info",
    )
