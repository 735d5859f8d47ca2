"""Sessions with PostgreSQL by psql in its container, and any program there that is fed with a stream."""

import re
import secrets
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Final, NoReturn, Self

from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.execution import ExecStream, Execution, open_exec, run
from owctl.errors import OwctlError

# -- SQL through the psql in the database's container: one statement at a time, or a session that holds a snapshot.


PSQL = ("psql", "-X", "-q", "-A", "-t", "-w")
# With these the first error ends it.
STRICT_PSQL = (*PSQL, "-v", "ON_ERROR_STOP=1")
# pg_dump and pg_restore may wait for locks; what is asked here answers at once or is in trouble.
# Whatever else a server lacks, it has this one.
MAINTENANCE_DATABASE: Final = "template1"
_SECONDS = 600.0
_SEPARATOR = "\x1f"
_COMPLAINT_BYTES = 8192
_SHOWN_LINES = 5
# A role or a database may give its sessions settings that would cut ours short. What is asked for at the
# sign-in goes before these; what older servers do not know can only be set once one is signed in.
_OWN_SETTINGS = (
    "statement_timeout=0",
    "lock_timeout=0",
    "idle_in_transaction_session_timeout=0",
    "default_transaction_read_only=off",
)
_NEWER_SETTINGS = (
    "SELECT count(set_config(name, '0', false)) AS owctl_set FROM pg_settings "
    "WHERE name IN ('transaction_timeout', 'idle_session_timeout') \\gset\n"
)


def session_environment(environment: Mapping[str, str], *settings: str) -> dict[str, str]:
    """Return libpq's variables for a session of ours; ``settings`` are ``name=value``."""
    options = " ".join(f"-c {each}" for each in (*_OWN_SETTINGS, *settings))
    given = environment.get("PGOPTIONS", "")
    return {**environment, "PGOPTIONS": f"{options} {given}".rstrip()}


# What psql writes with VERBOSITY=verbose, in whichever language: where it is, how bad, SQLSTATE, words.
_COMPLAINT = re.compile(r"((?:psql:\S+ )?\S+:  )([0-9A-Z]{5}): ")
_WHERE_IN_THE_SOURCE = "LOCATION:"


class StatementRefused(OwctlError):
    """PostgreSQL refused a statement; ``sqlstate`` says why in any language, "" where that is not told."""

    sqlstate = ""


@dataclass(frozen=True, slots=True)
class Server:
    """The PostgreSQL of a running container; ``environment`` are libpq's variables for it."""

    engine: Engine
    container: Container
    environment: Mapping[str, str] = field(repr=False)

    def with_variables(self, **variables: str) -> "Server":
        """Return the same server, with more of libpq's variables."""
        return replace(self, environment={**self.environment, **variables})

    def run(self, statements: str, *options: str, timeout_seconds: float = _SECONDS) -> Execution:
        """Have psql read statements, of which the first error ends it, and return how it ended.

        ``options`` are further arguments, which everybody in the container can read.
        """
        return run(
            self.engine,
            self.container.id,
            [*STRICT_PSQL, *options, "-f", "-"],
            environment={"PGCLIENTENCODING": "UTF8", **session_environment(self.environment)},
            stdin=(_NEWER_SETTINGS + statements).encode(),
            timeout_seconds=timeout_seconds,
        )

    def ask(
        self, statements: str, *, database: str | None = None, **values: str
    ) -> list[list[str]]:
        """Run statements and return the rows they print, as text; the first error ends them.

        ``database`` None is the application's own. ``values`` are psql's variables: ``:"name"`` in
        the statements is a quoted identifier, ``:'name'`` a quoted text. Raises StatementRefused with
        the words of the server.
        """
        server = self if database is None else self.with_variables(PGDATABASE=database)
        options = [word for name, value in values.items() for word in ("-v", f"{name}={value}")]
        verbose = ("-v", "VERBOSITY=verbose")
        answer = server.run(statements, "-F", _SEPARATOR, *verbose, *options)
        if answer.exit_code:
            raise self._refused(answer.stderr)
        text = answer.stdout.decode("utf-8", "replace")
        return [line.split(_SEPARATOR) for line in text.splitlines() if line]

    def has_database(self) -> bool:
        """Return whether the server has the database that is signed in to; raises OwctlError."""
        name = self.environment["PGDATABASE"]
        statement = "SELECT 1 FROM pg_database WHERE datname = :'name';"
        return bool(self.ask(statement, database=MAINTENANCE_DATABASE, name=name))

    def _refused(self, complaints: bytes) -> StatementRefused:
        lines, state = [], ""
        for line in complaints.decode("utf-8", "replace").splitlines():
            if found := _COMPLAINT.match(line):
                state = found[2]
            if not line.startswith(_WHERE_IN_THE_SOURCE):
                lines.append(_COMPLAINT.sub(r"\1", line, count=1))
        error = StatementRefused(
            f"PostgreSQL in {self.container.name} refused what owctl asked of it.",
            hint=f"owctl logs {self.container.service}",
            details=lines[-_SHOWN_LINES:],
        )
        error.sqlstate = state
        return error

    def output(
        self, argv: Sequence[str], failed: Callable[[int, bytes], OwctlError]
    ) -> Generator[bytes, None, None]:
        """Yield what a client program of the server writes; to be closed by who does not read all.

        Raises what ``failed`` makes of an exit code other than 0 and the end of its complaints.
        """
        complaints = b""
        environment = session_environment(self.environment)
        with open_exec(self.engine, self.container.id, argv, environment=environment) as stream:
            for name, data in stream:
                if name == "stdout":
                    yield data
                else:
                    complaints = (complaints + data)[-_COMPLAINT_BYTES:]
            code = stream.exit_code()
        if code:
            raise failed(code, complaints)


def last_lines(complaints: bytes) -> list[str]:
    """Return the lines with which a program ended."""
    return complaints.decode("utf-8", "replace").splitlines()[-_SHOWN_LINES:]


def quoted_name(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


# -- The tables of a database, and how many rows they have.


# Tables of extensions are made by CREATE EXTENSION; pg_dump leaves their rows out.
_TABLES = """
SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema'
  AND n.nspname !~ '^pg_' AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
    AND d.deptype = 'e')
ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the database; ``sql_name`` is quoted."""

    schema: str
    name: str
    sql_name: str

    @property
    def key(self) -> str:
        """The table's name in the manifest."""
        return f"{self.schema}.{self.name}"


# -- A psql session in the database's container that holds one snapshot while others use it.


# What is planned for a table looks at its indexes, and the functions that these call may rely on a
# search_path that other sessions have, such as the application's: so every schema is in ours.
ALL_SCHEMAS = r"""
(SELECT coalesce(string_agg(quote_ident(nspname), ', ' ORDER BY nspname <> 'public', nspname), 'public')
FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
"""
_REACH_ALL = f"""
SELECT count(set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''),
{ALL_SCHEMAS}), false)) AS owctl_set \\gset
"""
# psql sets ERROR after each statement.
_MARK = "owctl: end of the answer, failed: "
_END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'"
)
_ESCAPES = {"\\": "\\", "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}


class SnapshotSession:
    """One repeatable-read transaction; ``snapshot_id`` is for ``pg_dump --snapshot``.

    psql reads from a pipe. When owctl dies or closes the session, psql sees the end of its input,
    ends the transaction, and then the sessions that are called ``application_name``: so no pg_dump
    goes on for nobody. A shell beside pg_dump could do the same, but its children would become
    PostgreSQL's where that is process 1, and one of them that a signal ends makes PostgreSQL think
    that it crashed: it throws everybody out. Every failure raises OwctlError with psql's words.
    """

    def __init__(self, server: Server) -> None:
        self._service = server.container.service
        self.application_name = f"owctl backup {secrets.token_hex(6)}"
        end_sessions = _END_SESSIONS.format(self.application_name)
        self._stream: ExecStream = open_exec(
            server.engine,
            server.container.id,
            [*PSQL, "-f", "-", "-c", "ROLLBACK", "-c", end_sessions],
            environment=session_environment(server.environment),
            stdin=True,
        )
        self._output = iter(self._stream)
        self._pending = b""
        self._complaints = b""
        try:
            self.send(
                f"{_NEWER_SETTINGS}{_REACH_ALL}BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                "SELECT pg_export_snapshot();"
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
        self.close()

    def close(self) -> None:
        """End the session, its transaction and what runs by its name."""
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

    def tables(self) -> list[Table]:
        """Return the database's tables in the order of their names."""
        return [Table(*row) for row in self.ask(_TABLES)]

    def send_count(self, tables: Sequence[Table]) -> None:
        """Have the rows of tables counted; ``counted`` returns what comes of it."""
        queries = (
            f"SELECT {number}, count(*) FROM ONLY {table.sql_name}"  # noqa: S608  # quoted by the server
            for number, table in enumerate(tables)
        )
        if tables:
            self.send(f"COPY ({' UNION ALL '.join(queries)}) TO STDOUT;")

    def counted(self, tables: Sequence[Table]) -> dict[Table, int]:
        """Return the exact number of rows of the tables that were sent to be counted."""
        rows = self.answer() if tables else ()
        return {tables[int(number)]: int(count) for number, count in rows}

    def count(self, tables: Sequence[Table]) -> dict[Table, int]:
        """Return the exact number of rows of each table."""
        self.send_count(tables)
        return self.counted(tables)

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
        raise OwctlError(
            "Cannot read from the database.",
            hint=f"owctl logs {self._service}",
            details=last_lines(self._complaints)
            or ["psql ended without a word: the container may have stopped."],
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


# -- A program in the database's container that is fed a dump, and listened to meanwhile.


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
