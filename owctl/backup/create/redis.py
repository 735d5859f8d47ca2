"""Redis: has it write its data out, so that the volume that is archived next holds all of it."""

import contextlib
import re
import time

from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.execution import ExecStream, open_exec
from owctl.errors import OwctlError
from owctl.health.target import redis_password

_WAIT_SECONDS = 120.0
_ANSWER_SECONDS = 60.0
_POLL_SECONDS = 0.02
_MARK = "owctl: end of the answer"
# NOAUTH …, ERR …, LOADING …: no answer to what is asked here begins so.
_REFUSAL = re.compile(rb"[A-Z]{3,} .*\n")


def write_out(engine: Engine, container: Container) -> None:
    """Rewrite the append-only file where there is one, else save the snapshot; wait for the end.

    Raises OwctlError if Redis refuses, fails, or takes longer than two minutes.
    """
    with _open(engine, container) as stream:
        _write_out(_Session(container, stream))


def _write_out(session: "_Session") -> None:
    append_only = session.persistence().get("aof_enabled") == "1"
    running = "aof_rewrite_in_progress" if append_only else "rdb_bgsave_in_progress"
    scheduled = "aof_rewrite_scheduled" if append_only else running
    outcome = "aof_last_bgrewrite_status" if append_only else "rdb_last_bgsave_status"
    deadline = time.monotonic() + _WAIT_SECONDS

    def wait() -> dict[str, str]:
        while True:
            now = session.persistence()
            if now.get(running, "0") == "0" and now.get(scheduled, "0") == "0":
                return now
            if time.monotonic() > deadline:
                raise session.failed(f"it was not done in {_WAIT_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    # One that is under way may have begun before the last changes.
    wait()
    answer = session.ask("BGREWRITEAOF" if append_only else "BGSAVE")
    if "started" not in answer and "scheduled" not in answer:
        raise session.failed(answer)
    result = wait().get(outcome)
    if result != "ok":
        raise session.failed(f"{outcome} is {result}")


def _open(engine: Engine, container: Container) -> ExecStream:
    config = container.raw.get("Config") or {}
    words = (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))
    password = redis_password(container.environment, words)
    return open_exec(
        engine,
        container.id,
        ["redis-cli", "--raw"],
        environment={"REDISCLI_AUTH": password} if password else None,
        stdin=True,
    )


class _Session:
    """One redis-cli for all commands: each exec of its own would take a tenth of a second."""

    def __init__(self, container: Container, stream: ExecStream) -> None:
        self._container = container
        self._stream = stream
        self._output = iter(stream)

    def persistence(self) -> dict[str, str]:
        """Return what INFO says of persistence."""
        pairs = (line.partition(":") for line in self.ask("INFO persistence").splitlines())
        return {name: value.strip() for name, colon, value in pairs if colon}

    def ask(self, command: str) -> str:
        """Return the answer to a command; raises OwctlError for a refusal, or TimedOut."""
        self._stream.limit(_ANSWER_SECONDS)
        heard, complaints = b"", b""
        # Where it has gone already, what it said before is still to be read.
        with contextlib.suppress(BrokenPipeError):
            self._stream.write(f'{command}\nECHO "{_MARK}"\n'.encode())
        for name, data in self._output:
            if name == "stderr":
                complaints += data
                continue
            heard += data
            # Who may not ask hears a refusal in place of the mark, too.
            if f"{_MARK}\n".encode() in heard or _REFUSAL.match(heard):
                break
        text = heard.decode("utf-8", "replace").partition(_MARK)[0].strip()
        if not text or _REFUSAL.match(heard):
            raise self.failed(text or complaints.decode("utf-8", "replace").strip() or "it is gone")
        return text

    def failed(self, why: str) -> OwctlError:
        """Return the error that says why the data could not be written out."""
        return OwctlError(
            f"Redis in {self._container.name} cannot write its data out: {why}.",
            hint=f"owctl logs {self._container.service}",
        )
