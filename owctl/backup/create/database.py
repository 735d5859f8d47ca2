"""The database: dumped by the container's own pg_dump, from a snapshot in which rows are counted."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from owctl.backup.encryption import Encryption, Identity
from owctl.backup.manifest import Member
from owctl.backup.member_file import MemberContent, MemberFile, Stored
from owctl.backup.verify import dump_head
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, inspect_container
from owctl.engine.execution import open_exec, run
from owctl.errors import BackupInvalid, OwctlError
from owctl.postgres.database import (
    APPLICATION_TABLES,
    TABLES_QUERY,
    Table,
    connection_environment,
    count_query,
)
from owctl.postgres.psql import SnapshotSession

MEMBER_NAME = "postgres.dump.zst"
LOCK_WAIT_MILLISECONDS = 300_000
_COMPLAINT_BYTES = 8192
_KILLED = 137
_ABOUT = """
SELECT current_setting('server_version'), current_setting('server_version_num'),
  current_database(), current_user, pg_encoding_to_char(encoding), datcollate,
  pg_database_size(oid)
FROM pg_database WHERE datname = current_database()
"""
_FILE_PATHS = """
SELECT n.nspname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'file' AND c.relkind = 'r' AND a.attname = 'path' AND n.nspname = 'public'
"""


class Database:
    """The stack's database as one snapshot sees it; a context manager."""

    def __init__(self, engine: Engine, container: Container) -> None:
        self.engine = engine
        self.container = container
        self.environment = connection_environment(engine, container)
        self.session = SnapshotSession(engine, container, self.environment)
        try:
            row = self.session.ask(_ABOUT)[0]
            self.tables = [Table(*found) for found in self.session.ask(TABLES_QUERY)]
        except BaseException:
            self.session.__exit__(None, None, None)
            raise
        self.about: dict[str, Any] = {
            "server_version": row[0],
            "server_version_number": int(row[1]),
            "database": row[2],
            "user": row[3],
            "encoding": row[4],
            "collation": row[5],
        }
        self.size_bytes = int(row[6])

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.session.__exit__(None, None, None)

    @property
    def has_application_tables(self) -> bool:
        """Whether these are Open WebUI's tables at all."""
        names = {table.name for table in self.tables}
        return all(name in names for name in APPLICATION_TABLES)

    def dump(
        self,
        folder: Path,
        on_bytes: Callable[[int], None],
        encryption: Encryption | None = None,
    ) -> Member:
        """Write the dump into ``folder``, and count the rows of every table meanwhile."""
        counts = count_query(self.tables)
        if counts:
            self.session.send(f"COPY ({counts}) TO STDOUT;")
        stored = self._dump(folder, on_bytes, encryption)
        rows = {}
        for number, count in self.session.answer() if counts else ():
            rows[self.tables[int(number)].key] = int(count)
        about = {**self.about, "service": self.container.service, "rows": rows}
        return stored.member("database", **about)

    def file_paths(self) -> Iterator[str]:
        """Yield the paths of the uploaded files that the database names."""
        if not self.session.ask(_FILE_PATHS):
            return
        self.session.send("COPY (SELECT path FROM public.file WHERE path <> '') TO STDOUT;")
        for row in self.session.answer():
            yield row[0]

    def _dump(
        self, folder: Path, on_bytes: Callable[[int], None], encryption: Encryption | None
    ) -> Stored:
        argv = ["pg_dump", "-Fc", "-Z0", "--no-password", f"--snapshot={self.session.snapshot_id}"]
        argv.append(f"--lock-wait-timeout={LOCK_WAIT_MILLISECONDS}")
        complaints = b""
        with (
            MemberFile(folder, MEMBER_NAME, on_bytes=on_bytes, encryption=encryption) as file,
            open_exec(
                self.engine,
                self.container.id,
                argv,
                environment={**self.environment, "PGAPPNAME": self.session.application_name},
            ) as stream,
        ):
            for name, data in stream:
                if name == "stdout":
                    file.write(data)
                else:
                    complaints = (complaints + data)[-_COMPLAINT_BYTES:]
            code = stream.exit_code()
            if code:
                raise self._dump_failed(code, complaints)
            return file.finish()

    def _dump_failed(self, code: int, complaints: bytes) -> OwctlError:
        container = inspect_container(self.engine, self.container.id)
        if container is None or not container.is_running:
            message = f"The container {self.container.name} stopped while its database was dumped."
        elif code == _KILLED:
            message = (
                f"pg_dump was killed in the container {self.container.name}: the container was "
                "stopped while its database was dumped, or has too little memory."
            )
        else:
            message = f"pg_dump failed in the container {self.container.name} (exit code {code})."
        return OwctlError(
            message,
            hint=f"owctl logs {self.container.service}",
            details=complaints.decode("utf-8", "replace").splitlines()[-5:],
        )

    def check_with_pg_restore(
        self, folder: Path, member: Member, identities: Sequence[Identity] = ()
    ) -> None:
        """Have the container's pg_restore list the dump in ``folder``; raises BackupInvalid."""
        with MemberContent(folder, member, identities=identities) as content:
            head = dump_head(content)
        listing = run(
            self.engine,
            self.container.id,
            ["pg_restore", "-l"],
            stdin=head,
            timeout_seconds=60,
        )
        if listing.exit_code:
            raise BackupInvalid(
                f"{MEMBER_NAME}: pg_restore cannot read it.",
                details=listing.stderr.decode("utf-8", "replace").splitlines()[-5:],
            )
