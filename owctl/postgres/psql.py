"""SQL through the psql in the database's container: one statement at a time, or a session that holds a snapshot."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import NoReturn, Self

from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.execution import ExecStream, open_exec, run
from owctl.errors import OwctlError

# -- One statement at a time, by the psql in the database's container.


# pg_dump and pg_restore may wait for locks; what is asked here answers at once or is in trouble.
_SECONDS = 600.0
_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class Server:
    """The PostgreSQL of a running container; ``environment`` are libpq's variables for it."""

    engine: Engine
    container: Container
    environment: Mapping[str, str] = field(repr=False)

    def ask(
        self, statements: str, *, database: str | None = None, **values: str
    ) -> list[list[str]]:
        """Run statements and return the rows they print, as text; the first error ends them.

        ``database`` None is the application's own. ``values`` are psql's variables: ``:"name"`` in
        the statements is a quoted identifier, ``:'name'`` a quoted text. Raises OwctlError with the
        words of the server.
        """
        argv = ["psql", "-X", "-q", "-A", "-t", "-w", "-F", _SEPARATOR, "-v", "ON_ERROR_STOP=1"]
        for name, value in values.items():
            argv += ["-v", f"{name}={value}"]
        environment = dict(self.environment)
        if database is not None:
            environment["PGDATABASE"] = database
        answer = run(
            self.engine,
            self.container.id,
            [*argv, "-f", "-"],
            environment=environment,
            stdin=statements.encode(),
            timeout_seconds=_SECONDS,
        )
        if answer.exit_code:
            lines = answer.stderr.decode("utf-8", "replace").splitlines()
            raise OwctlError(
                f"PostgreSQL in {self.container.name} refused what owctl asked of it.",
                hint=f"owctl logs {self.container.service}",
                details=lines[-5:],
            )
        text = answer.stdout.decode("utf-8", "replace")
        return [line.split(_SEPARATOR) for line in text.splitlines() if line]


# -- A psql session in the database's container that holds one snapshot while others use it.


# psql sets ERROR after each statement.
_MARK = "owctl: end of the answer, failed: "
_END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'"
)
_COMPLAINT_BYTES = 4096
_ESCAPES = {"\\": "\\", "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}


class SnapshotSession:
    """One repeatable-read transaction; ``snapshot_id`` is for ``pg_dump --snapshot``.

    psql reads from a pipe. When owctl dies or closes the session, psql sees the end of its input,
    ends the transaction, and then the sessions that are called ``application_name``: so no pg_dump
    goes on for nobody. A shell beside pg_dump could do the same, but its children would become
    PostgreSQL's where that is process 1, and one of them that a signal ends makes PostgreSQL think
    that it crashed: it throws everybody out. Every failure raises OwctlError with psql's words.
    """

    def __init__(
        self, engine: Engine, container: Container, environment: Mapping[str, str]
    ) -> None:
        self._service = container.service
        self.application_name = f"owctl backup {secrets.token_hex(6)}"
        argv = ["psql", "-X", "-q", "-A", "-t", "-w", "-f", "-", "-c", "ROLLBACK"]
        self._stream: ExecStream = open_exec(
            engine,
            container.id,
            [*argv, "-c", _END_SESSIONS.format(self.application_name)],
            environment=environment,
            stdin=True,
        )
        self._output = iter(self._stream)
        self._pending = b""
        self._complaints = b""
        try:
            self.send(
                "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot();"
            )
            # To its end: the answer's mark must not be left for the next one.
            (self.snapshot_id,) = (row[0] for row in self.answer())
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stream.close()

    def send(self, statement: str) -> None:
        """Send a statement; it runs while the caller does other things.

        Its answer must be read with ``answer``, in the order of sending.
        """
        try:
            self._stream.write(f"{statement}\n\\echo {_MARK}:ERROR\n".encode())
        except BrokenPipeError:
            # What psql said before it went is still to be read, and says more than this.
            self._fail()

    def answer(self) -> Iterator[list[str]]:
        """Yield the rows of the next answer; rows of ``COPY … TO STDOUT`` and single values."""
        while not (line := self._line()).startswith(_MARK):
            yield [_unescaped(value) for value in line.split("\t")]
        if not line.endswith("false"):
            self._stream.close_stdin()
            self._fail()

    def ask(self, query: str) -> list[list[str]]:
        """Return the rows of a query, as text."""
        self.send(f"COPY ({query}) TO STDOUT;")
        return list(self.answer())

    def _line(self) -> str:
        while b"\n" not in self._pending:
            piece = next(self._output, None)
            if piece is None:
                self._fail()
            elif piece[0] == "stdout":
                self._pending += piece[1]
            else:
                self._complaints = (self._complaints + piece[1])[-_COMPLAINT_BYTES:]
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode("utf-8", "replace")

    def _fail(self) -> NoReturn:
        for stream, data in self._output:
            if stream == "stderr":
                self._complaints = (self._complaints + data)[-_COMPLAINT_BYTES:]
        lines = self._complaints.decode("utf-8", "replace").splitlines()
        raise OwctlError(
            "Cannot read from the database.",
            hint=f"owctl logs {self._service}",
            details=lines[-5:] or ["psql ended without a word: the container may have stopped."],
        )


def _unescaped(value: str) -> str:
    if "\\" not in value:
        return value
    result, characters = [], iter(value)
    for character in characters:
        if character != "\\":
            result.append(character)
            continue
        follower = next(characters, "")
        result.append(_ESCAPES.get(follower, follower))
    return "".join(result)
