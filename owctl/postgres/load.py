"""Loading a dump: by the container's own pg_restore or psql; what could not be made is named."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal

from owctl.engine.connection import Engine
from owctl.engine.containers import Container, inspect_container
from owctl.errors import BackupInvalid, OwctlError
from owctl.postgres.dump_scan import DumpEntry, read_head, with_search_path
from owctl.postgres.login import hand_over
from owctl.postgres.not_made import Complaints, Failure, NotMade, of_extensions, roles_in
from owctl.postgres.psql import (
    ALL_SCHEMAS,
    MAINTENANCE_DATABASE,
    STRICT_PSQL,
    Server,
    SnapshotSession,
    counted,
    feed,
    session_environment,
)

# -- A dump in SQL text, as ``pg_dump`` writes it without ``-F``: made one transaction, or none.


COMMITTED = "owctl: committed"
_COMPLETE = b"-- PostgreSQL database dump complete"
_TAIL_BYTES = 4096


def in_one_transaction(content: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what psql is to read so that all of the dump counts, or nothing.

    psql prints ``COMMITTED`` once it has committed. Raises BackupInvalid for a dump that does not
    end as pg_dump ends one; then the commit was not sent.
    """
    yield b"BEGIN;\n"
    # psql would take the end of its input for the end of the dump, so the end is looked at first.
    tail = b""
    for piece in _without_restriction(content):
        tail += piece
        if len(tail) > _TAIL_BYTES:
            yield tail[:-_TAIL_BYTES]
            tail = tail[-_TAIL_BYTES:]
    if _COMPLETE not in tail:
        raise BackupInvalid(
            "the SQL dump is cut off: it does not end as pg_dump ends one.",
            hint="an older dump of this database",
        )
    lines = [line for line in tail.split(b"\n") if not line.startswith(b"\\unrestrict ")]
    yield b"\n".join(lines)
    yield f"\nCOMMIT;\n\\echo {COMMITTED}\n".encode()


def _without_restriction(content: Iterable[bytes]) -> Iterator[bytes]:
    """Leave out ``\\restrict``, which only a newer psql knows; it stands in the dump's head."""
    pieces = iter(content)
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= _TAIL_BYTES:
            break
    lines = head.split(b"\n")
    end = next((n for n, line in enumerate(lines) if not _is_preamble(line)), len(lines))
    lines[:end] = [line for line in lines[:end] if not line.startswith(b"\\restrict ")]
    yield b"\n".join(lines)
    yield from pieces


def _is_preamble(line: bytes) -> bool:
    return line == b"" or line.startswith((b"--", b"\\restrict "))


# -- Loading a dump, of whichever form.
# What was cut off never counts. pg_restore misses the data that the dump's table of contents
# promises, and fails; psql is told to commit only after the last piece was sent, and only if the dump
# says that it is complete.


Form = Literal["custom", "plain", "database"]
_COMPLAINT_BYTES = 8192
_SHOWN_LINES = 5
_PSQL = (*STRICT_PSQL, "-f", "-")
# The entry that an error belongs to is told with --verbose alone.
# Two databases with one subscription would take each other's changes from its slot.
_PG_RESTORE = ("pg_restore", "--verbose", "--no-password", "--no-subscriptions")
_SUBSCRIPTION = "it was left out: the database from before has its place at the publisher"
_ROWS: Final = ("--section=pre-data", "--section=data")
_REST: Final = ("--section=post-data",)
# The database itself is in it: for a server with nothing but the roles.
_WHOLE_DATABASE = ("--create", "--clean", "--if-exists")
# The list of what to load and the dump both come by stdin, one after the other through a pipe.
_LISTED = """{ printf %s "$0" | "$@" -L /dev/fd/3 3<&0 <&4; } 4<&0"""
_ROUNDS = 5
_ABOUT = """
SELECT EXISTS (SELECT FROM pg_settings
  WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)), rolsuper
FROM pg_roles WHERE rolname = current_user;
"""
# PostgreSQL keeps these names for roles of its own.
_RESERVED: Final = "pg_"
_OWN_PATH: Final = '"$user", public'
# What fails for these says nothing about the dump.
_MACHINE_TROUBLE = (
    "no space left",
    "could not extend file",
    "out of memory",
    "out of shared memory",
    "could not resize shared memory",
    "server closed the connection",
    "no connection to the server",
    "terminating connection",
)


class RowsRefused(OwctlError):
    """Rows could not be loaded; ``extensions`` that could not be made may be why."""

    extensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A dump that was loaded. All rows are there but for those of ``extension_tables``.

    ``not_made`` could not be made, and so could not ``of_extensions``: extensions, and what they
    alone can hold. ``write_script`` hands over the SQL that makes the latter, for a database that
    takes it. ``roles`` were made for the dump, and nobody can sign in as them. ``with_owners``:
    whether what it holds belongs to whom it belonged.
    """

    not_made: tuple[NotMade, ...] = ()
    of_extensions: tuple[NotMade, ...] = ()
    extension_tables: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    write_script: Callable[[Callable[[bytes], object]], None] = lambda _: None
    with_owners: bool = False


def load_dump(
    engine: Engine,
    container: Container,
    environment: Mapping[str, str],
    database: str,
    content: Callable[[], Iterable[bytes]],
    *,
    form: Form = "custom",
    search_path: str | None = None,
    user: str | None = None,
    on_bytes: Callable[[int], None] | None = None,
) -> Loaded:
    """Load a dump into an existing, empty database of the running container.

    ``environment`` are libpq's variables. ``content`` gives the dump, once more where it has to be
    read again. ``on_bytes`` is told, now and then and from another thread, how many bytes of it were
    sent. With the form ``database`` the dump makes its database anew, ``database``, or what is there
    of that name. ``user`` is who made the dump, whose objects belong to who loads it where that role
    is not there. ``search_path`` is that of the sessions in the dumped database.

    Raises RowsRefused with PostgreSQL's words if rows could not be loaded, OwctlError if the machine
    is in trouble or the dump is not whole, and what ``content`` raises: then the database is good for
    nothing.
    """
    server = Server(engine, container, environment)
    if form == "plain":
        _load_text(server, database, content(), on_bytes)
        return Loaded()
    return _Archive(server, database, content, search_path or _OWN_PATH).load(
        form, user=user, on_bytes=on_bytes
    )


def _load_text(
    server: Server,
    database: str,
    content: Iterable[bytes],
    on_bytes: Callable[[int], None] | None,
) -> None:
    """Have psql load a dump in one transaction."""
    output, complaints = _Tail(), _Tail()
    environment = _variables(server, database, lz4=_about(server, database)[0])
    pieces = in_one_transaction(counted(content, on_bytes))
    code = feed(
        server.engine, server.container, _PSQL, environment, pieces, output.feed, complaints.feed
    )
    if code or COMMITTED.encode() not in output.data.splitlines():
        raise _failed(server, _PSQL[0], code, _words(complaints.data))


def run_script(server: Server, script: bytes) -> None:
    """Run SQL that pg_restore wrote, in one transaction; raises OwctlError with psql's words."""
    complaints = _Tail()
    environment = session_environment({**server.environment, "LC_ALL": "C"})
    code = feed(
        server.engine,
        server.container,
        [*_PSQL, "--single-transaction"],
        environment,
        [script],
        lambda _: None,
        complaints.feed,
    )
    if code:
        raise _failed(server, _PSQL[0], code, _words(complaints.data))


class _Tail:
    """The end of what a program writes."""

    data = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self.data = (self.data + data)[-_COMPLAINT_BYTES:]


class _Archive:
    """One dump of pg_dump's own form on its way into a database."""

    def __init__(
        self,
        server: Server,
        database: str,
        content: Callable[[], Iterable[bytes]],
        search_path: str,
    ) -> None:
        self.server = server
        self.database = database
        self.content = content
        self.search_path = search_path
        self.entries: Mapping[int, DumpEntry] = {}
        self.head = b""
        self.options: tuple[str, ...] = ()
        self.roles: list[str] = []
        self.stand_in: str | None = None
        self.lz4 = self.is_superuser = False

    def load(
        self, form: Form, *, user: str | None, on_bytes: Callable[[int], None] | None
    ) -> Loaded:
        """Load everything: rows first, then what stands on them; raises OwctlError."""
        begins_in = MAINTENANCE_DATABASE if form == "database" else self.database
        self.lz4, self.is_superuser = _about(self.server, begins_in)
        contents, self.head, rest = read_head(counted(self.content(), on_bytes))
        self.entries = contents.entries
        if form == "custom":
            self._owners(user)
        making = _WHOLE_DATABASE if form == "database" else ()
        argv = [*_PG_RESTORE, *self.options, *making, *_ROWS, "-d", begins_in]
        failures = self._again(self._run(argv, chain([self.head], rest)))
        if lost := [each for each in failures if each.loses_rows]:
            self._refuse_loss(lost, failures)
        argv = [*_PG_RESTORE, *self.options, *_REST, "-d", self.database]
        failures += self._again(self._run(argv, [self.head]))
        failures += [
            Failure(entry, _SUBSCRIPTION)
            for entry in self.entries.values()
            if entry.kind == "SUBSCRIPTION"
        ]
        if self.stand_in is not None:
            hand_over(self.server, self.stand_in, self.database)
            self.roles.remove(self.stand_in)
        late = of_extensions(failures, self.entries)
        return Loaded(
            tuple(each.not_made() for each in failures if each not in late),
            tuple(each.not_made() for each in late),
            tuple(each.name for each in late if each.loses_rows),
            tuple(self.roles),
            lambda write: self._script(late, write),
            not self.options,
        )

    def _owners(self, user: str | None) -> None:
        """Make the roles that own something, ``user``, who made the dump, for the while."""
        if not self.is_superuser:
            self.options = ("--no-owner",)
            return
        existing = {row[0] for row in self.server.ask("SELECT rolname FROM pg_roles;")}
        owners = {entry.owner for entry in self.entries.values()} - existing - {""}
        self._make_roles(sorted(owners))
        self.stand_in = user if user in owners else None

    def _again(self, failures: list[Failure]) -> list[Failure]:
        """Try once more what was refused: with the roles that it needs, and a ``search_path``."""
        final = [each for each in failures if not each.can_be_tried_again]
        failures = [each for each in failures if each.can_be_tried_again]
        for _ in range(_ROUNDS):
            before = {each.entry.dump_id: each.reason for each in failures}
            if not before:
                break
            self._make_roles(roles_in(failures))
            argv = [*_PG_RESTORE, *self.options, "-d", self.database]
            failures = self._run(self._listed(failures, argv), self._pieces(failures), again=True)
            if {each.entry.dump_id: each.reason for each in failures} == before:
                break
        return final + failures

    def _listed(self, failures: Sequence[Failure], argv: Sequence[str]) -> list[str]:
        """Return how to run pg_restore for these alone."""
        wanted = "".join(f"{each.entry.dump_id};\n" for each in failures)
        return ["sh", "-euc", _LISTED, wanted, *argv]

    def _pieces(self, failures: Sequence[Failure]) -> Iterable[bytes]:
        """Return what pg_restore has to read for these: all of the dump only where rows are wanted."""
        path = self.server.ask(f"SELECT {ALL_SCHEMAS};", database=self.database)[0][0]
        head = with_search_path(self.head, f"{self.search_path}, {path}")
        if not any(each.entry.has_data for each in failures):
            return [head]
        _, _, rest = read_head(self.content())
        return chain([head], rest)

    def _script(self, failures: Sequence[Failure], write: Callable[[bytes], object]) -> None:
        argv = self._listed(failures, [*_PG_RESTORE, *self.options, "-f", "-"])
        self._run(argv, self._pieces(failures), write)

    def _make_roles(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.roles and not name.startswith(_RESERVED):
                self.server.ask('CREATE ROLE :"name" NOLOGIN;', name=name)
                self.roles.append(name)

    def _run(
        self,
        argv: Sequence[str],
        pieces: Iterable[bytes],
        write: Callable[[bytes], object] = lambda _: None,
        *,
        again: bool = False,
    ) -> list[Failure]:
        """Run pg_restore and return what was refused; raises OwctlError if it gave up."""
        server, complaints = self.server, Complaints()
        settings = []
        if self.is_superuser:
            # So that it is known what is refused for want of a role.
            settings.append("lc_messages=C")
            if again:
                # The dump's own triggers, also those of events, are there by now.
                settings.append("session_replication_role=replica")
        environment = _variables(server, self.database, *settings, lz4=self.lz4)
        code = feed(
            server.engine, server.container, argv, environment, pieces, write, complaints.feed
        )
        failures = complaints.failures(self.entries)
        troubled = [line for line in complaints.lines if is_machine_trouble(line)]
        judged = complaints.has_ended and failures and not complaints.has_strays(self.entries)
        if troubled or (code and not judged):
            lines = [*troubled, *complaints.lines]
            raise _failed(server, _PG_RESTORE[0], code, lines[:_SHOWN_LINES])
        return failures

    def _refuse_loss(self, lost: Sequence[Failure], failures: Sequence[Failure]) -> None:
        """Raise OwctlError for rows that are missing, but for those of an extension's own tables."""
        extensions = [each for each in failures if each.entry.kind == "EXTENSION"]
        own = of_extensions(lost, self.entries) if extensions else []
        if all(each in own for each in lost):
            return
        # Why comes first: what stands on an extension cannot be made without it.
        ordered = [*extensions, *(each for each in lost if each not in own)]
        words = [each.in_words() for each in ordered]
        refused = RowsRefused(
            f"pg_restore could not load the dump in {self.server.container.name}: rows are missing.",
            hint=ordered[0].not_made().hint if extensions else None,
            details=words[:_SHOWN_LINES],
        )
        refused.extensions = tuple(each.name for each in extensions)
        raise refused


def is_machine_trouble(text: str) -> bool:
    """Whether words of PostgreSQL are about the machine that it is on, rather than about a dump."""
    return any(each in text.lower() for each in _MACHINE_TROUBLE)


def count_rows(
    engine: Engine, container: Container, environment: Mapping[str, str], database: str
) -> dict[str, int]:
    """Return the exact number of rows by ``schema.table``: of the tables that a manifest counts."""
    server = Server(engine, container, {**environment, "PGDATABASE": database})
    with SnapshotSession(server) as session:
        return {table.key: count for table, count in session.count(session.tables()).items()}


def _about(server: Server, database: str) -> tuple[bool, bool]:
    """Return whether long texts can be compressed by lz4, and whether we may set everything."""
    ((lz4, is_superuser),) = server.ask(_ABOUT, database=database)
    return lz4 == "t", is_superuser == "t"


def _variables(server: Server, database: str, *settings: str, lz4: bool) -> dict[str, str]:
    # Nothing counts before the database is put in place, which writes everything out.
    own = ["maintenance_work_mem=128MB", "synchronous_commit=off", *settings]
    if lz4:
        # Long texts are compressed several times as fast, and hardly less well.
        own.append("default_toast_compression=lz4")
    environment = {**server.environment, "PGDATABASE": database, "LC_ALL": "C"}
    return session_environment(environment, *own)


def _failed(server: Server, program: str, code: int, words: Sequence[str]) -> OwctlError:
    container = server.container
    now = inspect_container(server.engine, container.id)
    if now is None or not now.is_running:
        message = f"The container {container.name} stopped while the dump was loaded."
    elif code == 0:
        message = f"The dump was not loaded: {program} met its end within a statement."
    else:
        message = f"{program} could not load the dump in {container.name} (exit code {code})."
    return OwctlError(message, hint=f"owctl logs {container.service}", details=words)


def _words(complaints: bytes) -> list[str]:
    """Return the lines that say what is wrong: the statement that failed may follow them, whole."""
    lines = [line for line in complaints.decode("utf-8", "replace").splitlines() if line]
    telling = [line for line in lines if re.search("error:|ERROR:|FATAL:|DETAIL:", line)]
    return (telling or lines)[-_SHOWN_LINES:]
