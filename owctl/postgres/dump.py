"""A database dumped by the container's own pg_dump, from a snapshot in which its rows are counted."""

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any, Self

from owctl.engine.containers import inspect_container
from owctl.errors import OwctlError
from owctl.postgres.place import APPLICATION_TABLES
from owctl.postgres.psql import Server, SnapshotSession, last_lines

LOCK_WAIT_MILLISECONDS = 300_000
_KILLED = 137
_ABOUT = """
SELECT current_setting('server_version'), current_setting('server_version_num'),
  current_database(), current_user, pg_encoding_to_char(encoding), datcollate,
  pg_database_size(oid), (SELECT reset_val FROM pg_settings WHERE name = 'search_path')
FROM pg_database WHERE datname = current_database()
"""
# What a restore keeps or stages is no data of anybody's own.
_OTHERS = r"""
SELECT datname FROM pg_database
WHERE datallowconn AND NOT datistemplate AND datname <> current_database()
  AND datname !~ '^ow_(restore|before)_' ORDER BY 1
"""
_COUNT_TABLES = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');
"""
_FILE_PATHS = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'file' AND c.relkind = 'r' AND a.attname = 'path' AND n.nspname !~ '^pg_'
"""


def dump(
    server: Server, *options: str, failed: Callable[[int, bytes], OwctlError]
) -> Generator[bytes, None, None]:
    """Yield the dump of the server's database in pg_dump's own form, not compressed.

    Raises what ``failed`` makes of pg_dump's exit code and the end of its complaints.
    """
    lock_wait = f"--lock-wait-timeout={LOCK_WAIT_MILLISECONDS}"
    argv = ["pg_dump", "-Fc", "-Z0", "--no-password", lock_wait, *options]
    return server.output(argv, failed)


class DatabaseSnapshot:
    """The stack's database as one snapshot sees it; a context manager.

    ``about`` is what a manifest says of it.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        try:
            self._session = SnapshotSession(server)
        except OwctlError as error:
            is_missing = False
            with suppress(OwctlError):  # a server that is gone
                is_missing = not server.has_database()
            if is_missing:
                raise self._no_database() from error
            raise
        try:
            row = self._session.ask(_ABOUT)[0]
            self.tables = self._session.tables()
        except BaseException:
            self._session.close()
            raise
        self.about: dict[str, Any] = {
            "server_version": row[0],
            "server_version_number": int(row[1]),
            "database": row[2],
            "user": row[3],
            "encoding": row[4],
            "collation": row[5],
            "search_path": row[7],
        }
        self.size_bytes = int(row[6])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    @property
    def has_application_tables(self) -> bool:
        """Whether these are Open WebUI's tables at all."""
        names = {table.name for table in self.tables}
        return all(name in names for name in APPLICATION_TABLES)

    def dump(self) -> Generator[bytes, None, None]:
        """Yield the dump, while the rows of every table are counted; raises OwctlError."""
        self._session.send_count(self.tables)
        # By this name the session ends it when owctl is gone.
        server = self.server.with_variables(PGAPPNAME=self._session.application_name)
        yield from dump(server, f"--snapshot={self._session.snapshot_id}", failed=self._dump_failed)

    def rows(self) -> dict[str, int]:
        """Return how many rows each table has, by ``schema.table``; to be called after a dump."""
        return {t.key: count for t, count in self._session.counted(self.tables).items()}

    def others(self) -> Iterator[tuple[str, int]]:
        """Yield the server's other databases that hold tables, and how many; raises OwctlError."""
        for (name,) in self._session.ask(_OTHERS):
            ((tables,),) = self.server.ask(_COUNT_TABLES, database=name)
            if int(tables):
                yield name, int(tables)

    def file_paths(self) -> Iterator[str]:
        """Yield the paths of the uploaded files that the database names."""
        for (table,) in self._session.ask(_FILE_PATHS):
            self._session.send(f"COPY (SELECT path FROM {table} WHERE path <> '') TO STDOUT;")  # noqa: S608  # quoted by the server
            for row in self._session.answer():
                yield row[0]

    def _no_database(self) -> OwctlError:
        name, service = self.server.environment["PGDATABASE"], self.server.container.service
        return OwctlError(
            f"{service} has no database {name}, which the stack names.",
            hint=f"owctl restore latest, which brings it back; or CREATE DATABASE in owctl shell {service}",
        )

    def _dump_failed(self, code: int, complaints: bytes) -> OwctlError:
        name = self.server.container.name
        container = inspect_container(self.server.engine, self.server.container.id)
        if container is None or not container.is_running:
            message = f"The container {name} stopped while its database was dumped."
        elif code == _KILLED:
            message = (
                f"pg_dump was killed in the container {name}: the container was "
                "stopped while its database was dumped, or has too little memory."
            )
        else:
            message = f"pg_dump failed in the container {name} (exit code {code})."
        return OwctlError(
            message,
            hint=f"owctl logs {self.server.container.service}",
            details=last_lines(complaints),
        )
