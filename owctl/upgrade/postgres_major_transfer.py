"""From the old server into the new one: roles, settings, access rules, and every database."""

from collections.abc import Callable, Iterator
from typing import Final

from owctl.backup.load import load_dump
from owctl.backup.psql import Server
from owctl.engine.execution import open_exec, run
from owctl.errors import OwctlError
from owctl.upgrade.postgres_major_facts import ClusterFacts, DatabaseFacts

_LOCK_WAIT_MILLISECONDS = 300_000
_GLOBALS_SECONDS = 600.0
_COMPLAINT_BYTES = 8192
# pg_restore begins in a database that the dump does not make anew.
_MAINTENANCE: Final = "template1"
_EXISTING_ROLES = "SELECT format('CREATE ROLE %I;', rolname) FROM pg_roles;"
# What each file says, whatever the command line says over it.
_SETTINGS = """
SELECT name, setting FROM pg_file_settings WHERE applied OR error = 'setting could not be applied'
ORDER BY seqno;
"""
_KNOWN = "SELECT name FROM pg_settings;"
# The image chooses these for itself, or they are about its own files.
_OWN_SETTINGS = frozenset({
    "config_file", "data_directory", "dynamic_shared_memory_type", "external_pid_file", "hba_file",
    "ident_file", "lc_messages", "lc_monetary", "lc_numeric", "lc_time", "port",
    "unix_socket_directories",
})  # fmt: skip
_RULE_FILES = ("pg_hba.conf", "pg_ident.conf")
_READ_FILE = "SELECT encode(convert_to(pg_read_file(:'name'), 'UTF8'), 'base64');"


def move_roles(source: Server, target: Server) -> None:
    """Make the old server's roles in the new one, with passwords, memberships and settings.

    ``source`` is the old server as the new one's programs see it. Raises OwctlError.
    """
    database = source.environment["PGDATABASE"]
    answer = run(
        source.engine,
        source.container.id,
        ["pg_dumpall", "--globals-only", "--no-password", f"--database={database}"],
        environment=source.environment,
        timeout_seconds=_GLOBALS_SECONDS,
    )
    if answer.exit_code:
        raise _failed("pg_dumpall", answer.exit_code, answer.stderr)
    # The superuser is there already; what it is given is in the ALTER ROLE that follows.
    existing = {row[0] for row in target.ask(_EXISTING_ROLES)}
    lines = answer.stdout.decode("utf-8", "surrogateescape").splitlines()
    statements = "\n".join(line for line in lines if line not in existing)
    try:
        target.ask(statements + "\n", database=_MAINTENANCE)
    except OwctlError as error:
        # What psql quotes of a statement may hold what stands for a password.
        error.details = tuple(line for line in error.details if "ERROR:" in line)
        raise


def move_databases(
    source: Server, target: Server, facts: ClusterFacts, report: Callable[[str, int], None]
) -> None:
    """Dump every database with the new pg_dump, straight into the new server.

    ``report`` is told a database's name and how many bytes of its dump were loaded. The first
    error ends it. Raises OwctlError.
    """
    for database in facts.databases:
        _move_database(source, target, database, report)


def _move_database(
    source: Server, target: Server, database: DatabaseFacts, report: Callable[[str, int], None]
) -> None:
    report(database.name, 0)
    load_dump(
        target.engine,
        target.container,
        target.environment,
        _MAINTENANCE,
        _dump(source, database.name),
        form="database",
        on_bytes=lambda done: report(database.name, done),
    )


def _dump(source: Server, database: str) -> Iterator[bytes]:
    argv = ["pg_dump", "-Fc", "-Z0", "--create", "--no-password"]
    argv.append(f"--lock-wait-timeout={_LOCK_WAIT_MILLISECONDS}")
    environment = {**source.environment, "PGDATABASE": database}
    complaints = b""
    with open_exec(source.engine, source.container.id, argv, environment=environment) as stream:
        for name, data in stream:
            if name == "stdout":
                yield data
            else:
                complaints = (complaints + data)[-_COMPLAINT_BYTES:]
        code = stream.exit_code()
    if code:
        raise _failed(f"pg_dump of {database}", code, complaints)


def move_settings(old: Server, target: Server) -> tuple[list[str], list[str]]:
    """Give the new server what was set in the old one's files.

    Returns the settings that were taken over, and warnings about those that could not be. Raises
    OwctlError.
    """
    before = {name: value for name, value in _settings(old) if name not in _OWN_SETTINGS}
    now = dict(_settings(target))
    known = {row[0] for row in target.ask(_KNOWN)}
    different = {name: value for name, value in before.items() if now.get(name) != value}
    taken = {name: value for name, value in different.items() if name in known or "." in name}
    warnings = [
        f"The setting {name} = {different[name]} is unknown to the new PostgreSQL, and was left out."
        for name in sorted(different.keys() - taken.keys())
    ]
    if taken:
        lines = ["", "# From the PostgreSQL before this one; owctl upgrade --postgres-major"]
        lines += [f"{name} = '{_quoted(value)}'" for name, value in taken.items()]
        _write(target, "postgresql.conf", "\n".join(lines) + "\n", append=True)
    rules = [name for name in _RULE_FILES if _rules(old, name) != _rules(target, name)]
    for name in rules:
        _write(target, name, _read(old, name), append=False)
    return [*sorted(taken), *rules], warnings


def _settings(server: Server) -> list[tuple[str, str]]:
    return [(row[0], row[1] if len(row) > 1 else "") for row in server.ask(_SETTINGS)]


def _rules(server: Server, name: str) -> list[list[str]]:
    lines = (line.partition("#")[0].split() for line in _read(server, name).splitlines())
    return [words for words in lines if words]


def _read(server: Server, name: str) -> str:
    import base64

    rows = server.ask(_READ_FILE, name=name)
    return base64.b64decode("".join(row[0] for row in rows)).decode()


def _write(server: Server, name: str, text: str, *, append: bool) -> None:
    """Write to a file of the server, whose owner and mode stay."""
    ((folder,),) = server.ask("SHOW data_directory;")
    answer = run(
        server.engine,
        server.container.id,
        ["sh", "-euc", f'cat {">>" if append else ">"}"$0"', f"{folder}/{name}"],
        user="0:0",
        stdin=text.encode(),
        timeout_seconds=60,
    )
    if answer.exit_code:
        raise _failed(f"writing {name}", answer.exit_code, answer.stderr)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _failed(what: str, code: int, complaints: bytes) -> OwctlError:
    lines = complaints.decode("utf-8", "replace").splitlines()
    return OwctlError(
        f"{what} failed (exit code {code}).",
        hint="what it says below; the database is as it was",
        details=lines[-5:],
    )
