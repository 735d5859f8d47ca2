"""A program in the database's container that is fed a dump, and listened to meanwhile."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.execution import ExecStream, open_exec

_PIECE_BYTES = 1 << 18
_REPORT_BYTES = 8 * 1024 * 1024
Listener = Callable[[bytes], object]


def feed(
    engine: Engine,
    container: Container,
    argv: Sequence[str],
    environment: Mapping[str, str],
    pieces: Iterable[bytes],
    on_output: Listener,
    on_complaint: Listener,
) -> int:
    """Run a program on ``pieces`` and return its exit code.

    ``on_output`` is handed what it writes, ``on_complaint`` what it writes to stderr. Raises what
    these and ``pieces`` raise.
    """
    with open_exec(engine, container.id, argv, environment=environment, stdin=True) as stream:
        feeder = _Feeder(stream, iter(pieces))
        feeder.start()
        try:
            for name, data in stream:
                (on_output if name == "stdout" else on_complaint)(data)
            code = stream.exit_code()
        finally:
            stream.close()  # wakes up a feeder that nobody listens to
            feeder.join()
    if feeder.error is not None:
        raise feeder.error
    return code


def counted(content: Iterable[bytes], on_bytes: Callable[[int], None] | None) -> Iterator[bytes]:
    """Yield each piece when the next was read: the last one only after ``content`` has ended well.

    ``on_bytes`` is told now and then how many bytes that were.
    """
    sent_bytes, report_at = 0, _REPORT_BYTES
    held = b""
    for piece in content:
        yield held
        sent_bytes, held = sent_bytes + len(held), piece
        if on_bytes is not None and sent_bytes >= report_at:
            report_at = sent_bytes + _REPORT_BYTES
            on_bytes(sent_bytes)
    yield held


class _Feeder(threading.Thread):
    """Sends the dump while the main thread listens; ``error`` is why it could not be read."""

    def __init__(self, stream: ExecStream, pieces: Iterator[bytes]) -> None:
        super().__init__(name="owctl-load", daemon=True)
        self.error: BaseException | None = None
        self._stream = stream
        self._pieces = pieces

    def run(self) -> None:
        """Send everything; the input is closed as finished only if all of it was read."""
        try:
            for piece in self._pieces:
                view = memoryview(piece)
                for start in range(0, len(view), _PIECE_BYTES):
                    self._stream.write(bytes(view[start : start + _PIECE_BYTES]))
            self._stream.close_stdin()
        except BrokenPipeError:
            # The program is gone, and its exit code says why.
            return
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits
            self.error = error
            self._stream.close_stdin()
