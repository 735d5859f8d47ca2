"""What a server has that the next one must have, too: databases, roles, extensions, locales."""

from collections.abc import Sequence
from dataclasses import dataclass

from owctl.backup.psql import Server
from owctl.backup.restore.room import disk_of
from owctl.errors import OwctlError

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
        except OwctlError as error:
            if not any("locale" in line for line in error.details):
                raise
            lacking.append(f"the locale {collation} of the database {database.name}")
    return lacking
