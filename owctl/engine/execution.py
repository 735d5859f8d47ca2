"""Commands inside a running container: exec over a hijacked connection of our own.

Output streams with bounded memory, input can be half-closed, and an exit code is only ever one
that the engine has reported: a connection that breaks is an error, not an end.
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from owctl.engine.connection import Engine
from owctl.engine.wire import Closing, FrameSplitter, Response, Stream, lost, request, short_id
from owctl.errors import EngineError, NotFound, TimedOut

# The engine's default (Ctrl-P Ctrl-Q) would swallow the first Ctrl-P in psql and bash.
DETACH_KEYS = "ctrl-@,ctrl-^,ctrl-@"
CONSOLE_SIZE_API_VERSION = "1.42"
POLL_SECONDS = (0.002, 0.1)
STDIN_PIECE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Execution:
    """A command that has ended."""

    exit_code: int
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)


class ExecStream(Closing):
    """A command that runs in a container; iterate for its output as (stream, bytes).

    With a terminal everything is stdout. ``write``, ``close_stdin`` and ``close`` may be called
    from another thread than the one that iterates.
    """

    def __init__(
        self, engine: Engine, exec_id: str, response: Response, *, tty: bool, action: str
    ) -> None:
        self._engine = engine
        self._id = exec_id
        self._response = response
        self._tty = tty
        self._action = action
        self._deadline: float | None = None
        self._connection = engine.connection_number

    def __iter__(self) -> Iterator[tuple[Stream, bytes]]:
        """Yield output as it comes.

        Raises EngineUnavailable when the connection breaks, TimedOut after ``limit``.
        """
        frames = FrameSplitter()
        while data := self._receive():
            if self._tty:
                yield "stdout", data
                continue
            try:
                pieces = frames.feed(data)
            except ValueError as error:
                raise lost(self._action, str(error)) from error
            yield from pieces
        if not frames.complete:
            raise self._response.lost("the output was cut off")

    def limit(self, timeout_seconds: float) -> None:
        """Let reading and ``exit_code`` raise TimedOut when so much time has passed from now."""
        self._deadline = time.monotonic() + timeout_seconds

    def _receive(self) -> bytes:
        if self._deadline is None:
            return self._response.receive()
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._timed_out()
        self._response.transport.settimeout(left)
        try:
            return self._response.receive()
        except TimeoutError as error:
            raise self._timed_out() from error

    def _timed_out(self) -> TimedOut:
        return TimedOut(
            f"Cannot {self._action}: it did not end in the time allowed",
            hint="the command may still run in the container; see docker top",
        )

    def write(self, data: bytes) -> None:
        """Send to the command's stdin; raises BrokenPipeError when nobody reads it any more."""
        try:
            self._response.transport.sendall(data)
        except OSError as error:
            raise BrokenPipeError(str(error)) from error

    def close_stdin(self) -> None:
        """Let the command see the end of its input; output goes on."""
        # The command may be gone already, and the connection with it.
        with contextlib.suppress(OSError):
            self._response.transport.shutdown_write()

    def resize(self, height: int, width: int) -> None:
        """Set the size of the command's terminal, in characters. Raises EngineError."""
        with self._engine.translate("resize the terminal"):
            self._engine.api.exec_resize(self._id, height=height, width=width)

    def exit_code(self) -> int:
        """Wait until the command has ended and return its exit code.

        To be called when the output has ended. Raises EngineUnavailable if the engine is gone,
        EngineError if it does not know the code, TimedOut after ``limit``.
        """
        pause, longest = POLL_SECONDS
        while True:
            try:
                with self._engine.translate(self._action):
                    state = self._engine.api.exec_inspect(self._id)
            except NotFound as error:
                raise EngineError(
                    f"Cannot {self._action}: the engine no longer knows its exit code",
                    hint="the container or the engine was restarted meanwhile; try again",
                ) from error
            if self._engine.connection_number != self._connection:
                # The end of the output was that of the connection, and the rest of it is gone.
                raise lost(self._action, "ssh ended in the middle of the output")
            code = state.get("ExitCode")
            if not state.get("Running") and code is not None:
                return int(code)
            if self._deadline is not None and time.monotonic() > self._deadline:
                raise self._timed_out()
            time.sleep(pause)
            pause = min(pause * 2, longest)

    def close(self) -> None:
        """Close the connection. A command that is still running may go on in the container."""
        self._response.close()


def open_exec(
    engine: Engine,
    container_id: str,
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
    working_dir: str | None = None,
    stdin: bool = False,
    tty: bool = False,
    size: tuple[int, int] | None = None,
) -> ExecStream:
    """Start ``argv`` in a running container and return its streams; the caller closes them.

    ``size`` (lines, columns) is that of its terminal from the beginning, where the engine can.
    ``environment`` goes through the API and appears in no argument list: the place for secrets.
    Raises NotFound, EngineError (not running), EngineUnavailable. A program that does not exist
    is not an error here: it ends with exit code 126 or 127 and says so.
    """
    action = f"run {argv[0]} in container {short_id(container_id)}"
    with engine.translate(action):
        created = engine.api.exec_create(
            container_id,
            list(argv),
            stdin=stdin,
            tty=tty,
            environment=dict(environment or {}),
            user=user or "",
            workdir=working_dir,
            detach_keys=DETACH_KEYS if tty else None,
        )
    exec_id = str(created["Id"])
    document: dict[str, object] = {"Detach": False, "Tty": tty}
    if tty and size is not None and engine.at_least(CONSOLE_SIZE_API_VERSION):
        document["ConsoleSize"] = size
    response = request(
        engine,
        "POST",
        f"/exec/{exec_id}/start",
        action=action,
        document=document,
        upgrade=True,
    )
    return ExecStream(engine, exec_id, response, tty=tty, action=action)


def run(
    engine: Engine,
    container_id: str,
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
    stdin: bytes | None = None,
    timeout_seconds: float | None = None,
) -> Execution:
    """Run ``argv`` to its end and return its exit code and its whole output.

    ``stdin`` is fed while output is read, then closed. Raises as ``open_exec`` does, TimedOut
    after ``timeout_seconds``, EngineUnavailable if the engine dies meanwhile.
    """
    output: dict[Stream, list[bytes]] = {"stdout": [], "stderr": []}
    with open_exec(
        engine, container_id, argv, environment=environment, user=user, stdin=stdin is not None
    ) as stream:
        if timeout_seconds is not None:
            stream.limit(timeout_seconds)
        with _feeding(stream, stdin):
            for name, data in stream:
                output[name].append(data)
            code = stream.exit_code()
    return Execution(code, b"".join(output["stdout"]), b"".join(output["stderr"]))


@contextlib.contextmanager
def _feeding(stream: ExecStream, stdin: bytes | None) -> Iterator[None]:
    """Send ``stdin`` from a thread: a command that answers before it has read all would block."""
    if stdin is None:
        yield
        return

    def feed() -> None:
        view = memoryview(stdin)
        # The command need not read its input to the end; its exit code tells.
        with contextlib.suppress(BrokenPipeError):
            for start in range(0, len(view), STDIN_PIECE_BYTES):
                stream.write(bytes(view[start : start + STDIN_PIECE_BYTES]))
        stream.close_stdin()

    feeder = threading.Thread(target=feed, name="owctl-exec-stdin", daemon=True)
    feeder.start()
    try:
        yield
    finally:
        stream.close()  # wakes up a feeder that nobody listens to
        feeder.join()
