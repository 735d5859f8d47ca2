"""The engine's multiplexed stream: stdout and stderr of a container without a terminal, in frames.

A frame is one byte for the stream (0 stdin, 1 stdout, 2 stderr), three zeros, the size of the
payload as four bytes big-endian, and the payload.
"""

from typing import Literal

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
