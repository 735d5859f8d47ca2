"""Tables of the stack's PostgreSQL: one snapshot for all of them, streamed by psql's COPY."""

from contextlib import closing
from typing import TYPE_CHECKING, Self

from owctl.errors import OwctlError
from owctl.migrate.export.form import (
    JSON_DELIMITER,
    JSON_QUOTE,
    Column,
    Format,
    OnRows,
    PsqlLines,
    Write,
    Written,
)
from owctl.postgres.place import find_database
from owctl.postgres.psql import STRICT_PSQL, SnapshotSession, Table, last_lines, quoted_name

if TYPE_CHECKING:
    from owctl.compose.model import Stack
    from owctl.engine.connection import Engine
    from owctl.postgres.psql import Server

_OPTIONS = "-c statement_timeout=0 -c lock_timeout=300000 -c DateStyle=ISO"
_COLUMNS = """
SELECT n.nspname, c.relname, a.attname
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""


def find_postgres(engine: "Engine", stack: "Stack") -> "Server":
    """Return the application's database on its running server; raises OwctlError."""
    hint = "owctl export TABLE --from webui.db"
    return find_database(engine, stack, "to export from", cannot="Cannot export", hint=hint)


class PostgresOrigin:
    """The database of a running server; a context manager that holds the snapshot."""

    def __init__(self, server: "Server") -> None:
        self.name = f"the database in {server.container.name}"
        self.tables: dict[str, tuple[Column, ...]] = {}
        self._server = server
        self._session = SnapshotSession(self._server)
        try:
            self._found = {_label(table): table for table in self._session.tables()}
            columns: dict[tuple[str, str], list[Column]] = {}
            for schema, name, column in self._session.ask(_COLUMNS):
                columns.setdefault((schema, name), []).append(Column(column))
        except BaseException:
            self._session.close()
            raise
        for label, table in self._found.items():
            self.tables[label] = tuple(columns.get((table.schema, table.name), ()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def count_rows(self) -> dict[str, int]:
        """Return how many rows each table has."""
        counted = self._session.count(list(self._found.values()))
        return {_label(table): count for table, count in counted.items()}

    def write(
        self,
        table: str,
        columns: tuple[Column, ...],
        form: Format,
        write: Write,
        on_rows: OnRows = lambda _: None,
    ) -> Written:
        """Hand a table to ``write``, as the snapshot has it; raises OwctlError."""
        lines, header = PsqlLines(form), int(form == "csv")
        argv = [
            *STRICT_PSQL,
            *("-c", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
            *("-c", f"SET TRANSACTION SNAPSHOT '{self._session.snapshot_id}'"),
            *("-c", _copy(self._found[table], columns, form)),
        ]
        # By this name the session's psql ends it when owctl is gone.
        name = self._session.application_name
        server = self._server.with_variables(PGAPPNAME=name, PGOPTIONS=_OPTIONS)
        with closing(server.output(argv, self._failed)) as pieces:
            for data in pieces:
                write(lines.feed(data))
                on_rows(max(0, lines.lines - header))
        return Written(rows=lines.lines - header)

    def _failed(self, code: int, complaints: bytes) -> OwctlError:
        container = self._server.container
        return OwctlError(
            f"psql failed in the container {container.name} (exit code {code}).",
            hint=f"owctl logs {container.service}",
            details=last_lines(complaints),
        )


def _copy(table: Table, columns: tuple[Column, ...], form: Format) -> str:
    names = ", ".join(quoted_name(column.name) for column in columns)
    query = f"SELECT {names} FROM ONLY {table.sql_name}"
    if form == "csv":
        return f"COPY ({query}) TO STDOUT WITH (FORMAT csv, HEADER)"
    quote, delimiter = JSON_QUOTE.hex(), JSON_DELIMITER.hex()
    return (
        f"COPY (SELECT row_to_json(exported) FROM ({query}) exported) TO STDOUT "
        f"WITH (FORMAT csv, QUOTE E'\\x{quote}', DELIMITER E'\\x{delimiter}')"
    )


def _label(table: Table) -> str:
    return table.name if table.schema == "public" else table.key
