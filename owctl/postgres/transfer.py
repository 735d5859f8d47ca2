"""From one server into another: what the first has that the next must have, roles, settings, rules, every database."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from owctl.engine.execution import run
from owctl.errors import OwctlError
from owctl.postgres.dump import dump
from owctl.postgres.load import load_dump
from owctl.postgres.not_made import NotMade
from owctl.postgres.properties import UNKNOWN_OPTIONS
from owctl.postgres.psql import MAINTENANCE_DATABASE, Server, StatementRefused, last_lines
from owctl.volumes.space import disk_of

# -- What a server has that the next one must have, too: databases, roles, extensions, locales.


# What pg_dump and pg_dumpall cannot take along, or only to a place that is not the volume.
_OBSTACLES = """
SELECT 'the tablespace ' || spcname || ', whose files are outside of the volume'
FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')
UNION ALL SELECT 'the database ' || datname || ', which lets nobody in, so that it cannot be dumped'
FROM pg_database WHERE NOT datallowconn AND datname <> 'template0'
UNION ALL SELECT 'the prepared transaction ' || gid || ', which would be lost'
FROM pg_prepared_xacts
UNION ALL SELECT 'the replication slot ' || slot_name || ', whose replica would lose its place'
FROM pg_replication_slots WHERE NOT temporary
UNION ALL SELECT 'the subscription ' || subname || ', which would begin anew'
FROM pg_subscription
UNION ALL SELECT 'that ' || current_user || ' is no superuser, and so does not see everything'
FROM pg_roles WHERE rolname = current_user AND NOT rolsuper;
"""
# What is in template1 would have to be there before any database is made.
_TEMPLATE_OBJECTS = """
SELECT 'the extension ' || extname FROM pg_extension WHERE extname <> 'plpgsql'
UNION ALL SELECT 'the relation ' || c.relname FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL SELECT 'the function ' || p.proname FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema';
"""
_DATABASES = """
SELECT datname, pg_database_size(oid), pg_encoding_to_char(encoding), datcollate, datctype
FROM pg_database WHERE datallowconn AND datname NOT IN ('template0', 'template1') ORDER BY 2, 1;
"""
_ROLES = r"SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1;"
_EXTENSIONS = "SELECT extname, extversion FROM pg_extension ORDER BY 1;"
_ABOUT = """
SELECT current_setting('server_version'), current_setting('server_version_num'),
  current_setting('data_checksums'), current_setting('data_directory'),
  current_setting('shared_preload_libraries');
"""
_AVAILABLE = "SELECT name FROM pg_available_extensions;"
_TRY_LOCALE = """
CREATE DATABASE owctl_locale TEMPLATE template0 ENCODING :'encoding'
LC_COLLATE :'collation' LC_CTYPE :'type';
DROP DATABASE owctl_locale;
"""
_MINIMUM_VERSION = 120000


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """A database that is taken along; ``extensions`` are (name, version)."""

    name: str
    size_bytes: int
    encoding: str
    collation: str
    character_type: str
    extensions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What a server has. ``free_bytes`` is the room on its disk, None where that is not told."""

    version: str
    databases: tuple[DatabaseFacts, ...]
    roles: tuple[str, ...]
    has_checksums: bool
    preloaded_libraries: str
    free_bytes: int | None

    @property
    def size_bytes(self) -> int:
        """The size of all databases together."""
        return sum(each.size_bytes for each in self.databases)


def look_at(server: Server) -> ClusterFacts:
    """Return what the old server has; raises OwctlError for what cannot be taken along."""
    ((version, number, checksums, folder, libraries),) = server.ask(_ABOUT)
    if int(number) < _MINIMUM_VERSION:
        raise OwctlError(
            f"The data is of PostgreSQL {version}; owctl upgrades from 12 on.",
            hint="docs/upgrade-postgres.md, which says how to do it by hand",
        )
    refuse_obstacles(server)
    disk = disk_of(server.engine, server.container, folder)
    return ClusterFacts(
        version=version,
        databases=tuple(_database(server, row) for row in server.ask(_DATABASES)),
        roles=tuple(row[0] for row in server.ask(_ROLES)),
        has_checksums=checksums == "on",
        preloaded_libraries=libraries,
        free_bytes=None if disk is None else disk.free_bytes,
    )


def refuse_obstacles(server: Server) -> None:
    """Raise OwctlError where the server has what a dump does not take along."""
    found = [row[0] for row in server.ask(_OBSTACLES)]
    template = server.ask(_TEMPLATE_OBJECTS, database="template1")
    found += [f"in template1, {row[0]}, which new databases would lack" for row in template]
    if found:
        raise OwctlError(
            "This PostgreSQL has what cannot be taken along to another major version.",
            hint="remove what is named, or upgrade by hand: docs/upgrade-postgres.md",
            details=found,
        )


def check_successor(server: Server, facts: ClusterFacts) -> None:
    """Raise OwctlError where the new server lacks an extension or a locale of the old one."""
    available = {row[0] for row in server.ask(_AVAILABLE)}
    lacking = [
        f"the extension {name}, which the database {database.name} uses"
        for database in facts.databases
        for name, _ in database.extensions
        if name not in available
    ]
    lacking += _lacking_locales(server, facts.databases)
    if lacking:
        raise OwctlError(
            "The new image cannot take this database: it lacks something of the old one.",
            hint="an image that has it, in the compose file or in POSTGRES_IMAGE of .env",
            details=[f"it lacks {each}" for each in lacking],
        )


def _database(server: Server, row: Sequence[str]) -> DatabaseFacts:
    name, size, encoding, collation, character_type = row
    extensions = server.ask(_EXTENSIONS, database=name)
    pairs = tuple((extension, version) for extension, version in extensions)
    return DatabaseFacts(name, int(size), encoding, collation, character_type, pairs)


def _lacking_locales(server: Server, databases: Sequence[DatabaseFacts]) -> list[str]:
    wanted = {(each.encoding, each.collation, each.character_type): each for each in databases}
    lacking = []
    for (encoding, collation, character_type), database in wanted.items():
        try:
            server.ask(_TRY_LOCALE, encoding=encoding, collation=collation, type=character_type)
        except StatementRefused as error:
            if error.sqlstate not in UNKNOWN_OPTIONS:
                raise
            lacking.append(f"the locale {collation} of the database {database.name}")
    return lacking


# -- From the old server into the new one: roles, settings, access rules, and every database.


_GLOBALS_SECONDS = 600.0
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
        target.ask(statements + "\n", database=MAINTENANCE_DATABASE)
    except OwctlError as error:
        # What psql quotes of a statement may hold what stands for a password.
        error.details = tuple(line for line in error.details if "ERROR:" in line)
        raise


def move_databases(
    source: Server, target: Server, facts: ClusterFacts, report: Callable[[str, int], None]
) -> tuple[NotMade, ...]:
    """Dump every database with the new pg_dump, straight into the new server.

    ``report`` is told a database's name and how many bytes of its dump were loaded. Returns what
    the new server would not make; raises OwctlError if rows were not loaded.
    """
    return tuple(
        each
        for database in facts.databases
        for each in _move_database(source, target, database, report)
    )


def _move_database(
    source: Server, target: Server, database: DatabaseFacts, report: Callable[[str, int], None]
) -> tuple[NotMade, ...]:
    report(database.name, 0)
    here = source.with_variables(PGDATABASE=database.name)

    def failed(code: int, complaints: bytes) -> OwctlError:
        return _failed(f"pg_dump of {database.name}", code, complaints)

    loaded = load_dump(
        target.engine,
        target.container,
        target.environment,
        database.name,
        lambda: dump(here, "--create", failed=failed),
        form="database",
        search_path=here.ask("SHOW search_path;")[0][0],
        on_bytes=lambda done: report(database.name, done),
    )
    if loaded.extension_tables:
        raise OwctlError(
            f"The new PostgreSQL did not take the rows of {', '.join(loaded.extension_tables)}.",
            hint="what it says below; the database is as it was",
            details=[f"{each.kind} {each.name}: {each.reason}" for each in loaded.of_extensions],
        )
    return loaded.of_extensions + loaded.not_made


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
    return OwctlError(
        f"{what} failed (exit code {code}).",
        hint="what it says below; the database is as it was",
        details=last_lines(complaints),
    )
