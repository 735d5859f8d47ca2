"""Tables of the stack's PostgreSQL: one snapshot for all of them, streamed by psql's COPY."""

from typing import TYPE_CHECKING, Self

from owctl.compose.services import choose_probe
from owctl.engine.containers import list_containers
from owctl.engine.execution import open_exec
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
from owctl.postgres.database import TABLES_QUERY, Table, connection_environment, count_query
from owctl.postgres.psql import SnapshotSession

if TYPE_CHECKING:
    from owctl.compose.model import Stack
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container

_COMPLAINT_BYTES = 4096
_OPTIONS = "-c statement_timeout=0 -c lock_timeout=300000 -c DateStyle=ISO"
_COLUMNS = """
SELECT n.nspname, c.relname, a.attname
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""


def find_postgres(engine: "Engine", stack: "Stack") -> "Container":
    """Return the running container of the stack's PostgreSQL; raises OwctlError."""
    names = [name for name, s in stack.services.items() if choose_probe(s).type == "postgres"]
    if not names:
        raise OwctlError(
            "The stack has no PostgreSQL service to export from.",
            hint="owctl export TABLE --from webui.db",
        )
    containers = list_containers(engine, stack.project, services=names[:1])
    for container in containers:
        if container.is_running:
            return container
    state = f"is {containers[0].state}" if containers else "does not exist"
    raise OwctlError(
        f"Cannot export: the container of {names[0]} {state}.", hint=f"owctl start {names[0]}"
    )


class PostgresOrigin:
    """The database of a running container; a context manager that holds the snapshot."""

    def __init__(self, engine: "Engine", container: "Container") -> None:
        self.name = f"the database in {container.name}"
        self.tables: dict[str, tuple[Column, ...]] = {}
        self._engine = engine
        self._container = container
        self._environment = connection_environment(engine, container)
        self._session = SnapshotSession(engine, container, self._environment)
        try:
            self._found = {
                _label(table): table
                for table in (Table(*row) for row in self._session.ask(TABLES_QUERY))
            }
            columns: dict[tuple[str, str], list[Column]] = {}
            for schema, name, column in self._session.ask(_COLUMNS):
                columns.setdefault((schema, name), []).append(Column(column))
        except BaseException:
            self._session.__exit__(None, None, None)
            raise
        for label, table in self._found.items():
            self.tables[label] = tuple(columns.get((table.schema, table.name), ()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.__exit__(None, None, None)

    def count_rows(self) -> dict[str, int]:
        """Return how many rows each table has."""
        labels = list(self._found)
        if not labels:
            return {}
        counted = self._session.ask(count_query(list(self._found.values())))
        return {labels[int(number)]: int(count) for number, count in counted}

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
        complaints = b""
        with open_exec(
            self._engine,
            self._container.id,
            self._psql(_copy(self._found[table], columns, form)),
            environment={
                **self._environment,
                # By this name the session's psql ends it when owctl is gone.
                "PGAPPNAME": self._session.application_name,
                "PGOPTIONS": _OPTIONS,
            },
        ) as stream:
            for name, data in stream:
                if name == "stdout":
                    write(lines.feed(data))
                    on_rows(max(0, lines.lines - header))
                else:
                    complaints = (complaints + data)[-_COMPLAINT_BYTES:]
            code = stream.exit_code()
        if code:
            raise OwctlError(
                f"psql failed in the container {self._container.name} (exit code {code}).",
                hint=f"owctl logs {self._container.service}",
                details=complaints.decode("utf-8", "replace").splitlines()[-5:],
            )
        return Written(rows=lines.lines - header)

    def _psql(self, statement: str) -> list[str]:
        return [
            *("psql", "-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1"),
            *("-c", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
            *("-c", f"SET TRANSACTION SNAPSHOT '{self._session.snapshot_id}'"),
            *("-c", statement),
        ]


def _copy(table: Table, columns: tuple[Column, ...], form: Format) -> str:
    names = ", ".join('"' + column.name.replace('"', '""') + '"' for column in columns)
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
