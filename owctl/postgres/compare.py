"""Whether two databases are the same: by all that two servers hold, or by the columns of one at two times."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.errors import OwctlError
from owctl.postgres.place import database_of, find_server
from owctl.postgres.psql import Server, SnapshotSession, Table

# So that a value has one text, whatever the servers' own settings are.
_SESSION = """
SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD';
SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex';
SET lc_monetary = 'C'; SET row_security = off;
"""
# The sum does not depend on the order of the rows, which need not be the same.
_SUMS = """
count(*), coalesce(sum(('x' || left(h, 16))::bit(64)::bigint::numeric), 0)::text || '/' ||
coalesce(sum(('x' || right(h, 16))::bit(64)::bigint::numeric), 0)::text
"""
_LARGE_OBJECTS = f"""
SELECT {_SUMS} FROM (
  SELECT md5(format('%s %s %s', loid, pageno, encode(data, 'hex'))) h FROM pg_largeobject) rows
"""  # noqa: S608
_SEQUENCES = """
SELECT format('%I.%I', schemaname, sequencename), format('%s from %s by %s, %s to %s, cycle %s, at %s',
  data_type, start_value, increment_by, min_value, max_value, cycle,
  coalesce(last_value::text, 'its start'))
FROM pg_sequences ORDER BY 1
"""
_OBJECTS = r"""
WITH own AS (
  SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
extended AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
relation AS (
  SELECT c.*, format('%I.%I', nspname, relname) path FROM pg_class c JOIN own ON own.oid = relnamespace
  WHERE NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_class'::regclass AND objid = c.oid))
SELECT 'schemas', nspname FROM own
UNION ALL SELECT 'extensions', extname FROM pg_extension
UNION ALL SELECT CASE relkind WHEN 'r' THEN 'tables' WHEN 'p' THEN 'tables' WHEN 'v' THEN 'views'
  WHEN 'm' THEN 'views' WHEN 'f' THEN 'tables' WHEN 'S' THEN 'sequences' ELSE 'types' END,
  format('%s of %s', path, pg_get_userbyid(relowner))
  FROM relation WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
UNION ALL SELECT 'columns', format('%s.%I %s%s%s', path, attname, format_type(atttypid, atttypmod),
  CASE WHEN attnotnull THEN ' not null' END, CASE WHEN attgenerated <> '' THEN ' generated' END)
  FROM relation JOIN pg_attribute a ON a.attrelid = relation.oid
  WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'defaults', format('%s.%I', path, attname) FROM relation
  JOIN pg_attrdef d ON d.adrelid = relation.oid
  JOIN pg_attribute a ON a.attrelid = relation.oid AND a.attnum = d.adnum
UNION ALL SELECT 'indexes', format('%s on %s%s', i.path, indrelid::regclass,
  CASE WHEN NOT indisvalid THEN ', not valid' END)
  FROM pg_index JOIN relation i ON i.oid = indexrelid
UNION ALL SELECT 'constraints', format('%s on %s%s', conname,
  CASE WHEN conrelid <> 0 THEN conrelid::regclass::text ELSE contypid::regtype::text END,
  CASE WHEN NOT convalidated THEN ', not valid' END)
  FROM pg_constraint JOIN own ON own.oid = connamespace
  WHERE contype IN ('c', 'f', 'p', 'u', 'x') AND NOT EXISTS (
    SELECT FROM extended WHERE classid = 'pg_class'::regclass AND objid = conrelid)
UNION ALL SELECT 'functions', format('%s of %s', p.oid::regprocedure, pg_get_userbyid(proowner))
  FROM pg_proc p JOIN own ON own.oid = pronamespace
  WHERE NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_proc'::regclass AND objid = p.oid)
UNION ALL SELECT 'triggers', format('%s on %s', tgname, path) FROM pg_trigger
  JOIN relation ON relation.oid = tgrelid WHERE NOT tgisinternal
UNION ALL SELECT 'triggers', evtname FROM pg_event_trigger
UNION ALL SELECT 'types', t.oid::regtype::text FROM pg_type t JOIN own ON own.oid = typnamespace
  WHERE typtype IN ('e', 'd', 'r') AND NOT EXISTS (
    SELECT FROM extended WHERE classid = 'pg_type'::regclass AND objid = t.oid)
UNION ALL SELECT 'rules', format('%s on %s', rulename, path) FROM pg_rewrite
  JOIN relation ON relation.oid = ev_class WHERE rulename <> '_RETURN'
UNION ALL SELECT 'policies', format('%s on %s', polname, path) FROM pg_policy
  JOIN relation ON relation.oid = polrelid
UNION ALL SELECT 'statistics', format('%I.%I', nspname, stxname) FROM pg_statistic_ext
  JOIN own ON own.oid = stxnamespace
UNION ALL SELECT 'publications', pubname FROM pg_publication
ORDER BY 1, 2
"""
_CLUSTER = r"""
SELECT 'databases', format('%s of %s, %s, %s, %s, connections %s', datname, pg_get_userbyid(datdba),
  pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit)
FROM pg_database WHERE datallowconn AND datname NOT IN ('template0', 'template1')
UNION ALL SELECT 'roles', format('%s %s %s %s %s %s %s %s %s, password %s', rolname, rolsuper,
  rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolconnlimit, rolvaliduntil,
  md5(coalesce(rolpassword, ''))) FROM pg_authid WHERE rolname !~ '^pg_'
UNION ALL SELECT 'memberships', format('%s in %s', m.rolname, g.rolname) FROM pg_auth_members
  JOIN pg_roles m ON m.oid = member JOIN pg_roles g ON g.oid = roleid
  WHERE m.rolname !~ '^pg_'
UNION ALL SELECT 'role and database settings', format('%s %s %s', coalesce(r.rolname, 'all'),
  coalesce(d.datname, 'all'), s) FROM pg_db_role_setting
  LEFT JOIN pg_roles r ON r.oid = setrole LEFT JOIN pg_database d ON d.oid = setdatabase,
  unnest(setconfig) s
ORDER BY 1, 2
"""
_LARGE = "large objects"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a server holds.

    ``tables`` maps ``database.schema.table`` to its number of rows and their checksum,
    ``sequences`` their names to what they are at, ``objects`` a kind to the names of that kind.
    """

    tables: Mapping[str, tuple[int, str]]
    sequences: Mapping[str, str]
    objects: Mapping[str, Collection[str]] = field(repr=False)

    @property
    def rows(self) -> int:
        """How many rows all tables have together."""
        return sum(rows for rows, _ in self.tables.values())


def contents_of(server: Server, databases: Collection[str]) -> Contents:
    """Read everything that a server holds; raises OwctlError."""
    tables: dict[str, tuple[int, str]] = {}
    sequences: dict[str, str] = {}
    objects: dict[str, list[str]] = {}
    for name in databases:
        with SnapshotSession(server.with_variables(PGDATABASE=name)) as session:
            session.send(_SESSION)
            list(session.answer())
            for table in session.tables():
                ((count, checksum),) = session.ask(_checksum_query(table))
                tables[f"{name}.{table.key}"] = (int(count), checksum)
            ((count, checksum),) = session.ask(_LARGE_OBJECTS)
            if int(count):
                tables[f"{name}.{_LARGE}"] = (int(count), checksum)
            sequences |= {f"{name}.{row[0]}": row[1] for row in session.ask(_SEQUENCES)}
            for kind, identity in session.ask(_OBJECTS):
                objects.setdefault(kind, []).append(f"{name}: {identity}")
            if not objects.get("databases"):
                for kind, identity in session.ask(_CLUSTER):
                    objects.setdefault(kind, []).append(identity)
    return Contents(tables, sequences, objects)


def differences(old: Contents, new: Contents) -> list[str]:
    """Return what the new server has otherwise than the old one, in words; empty if nothing."""
    found = []
    for table in sorted(old.tables.keys() | new.tables.keys()):
        before, now = old.tables.get(table), new.tables.get(table)
        if before == now:
            continue
        if before is None or now is None or before[0] != now[0]:
            had, has = (each[0] if each else "no" for each in (before, now))
            found.append(f"{table} had {had} rows and has {has}")
        else:
            found.append(f"{table} has the same number of rows, and other content in them")
    for sequence in sorted(old.sequences.keys() | new.sequences.keys()):
        before_at, now_at = old.sequences.get(sequence), new.sequences.get(sequence)
        if before_at != now_at:
            found.append(f"the sequence {sequence} was {before_at} and is {now_at}")
    for kind in sorted(old.objects.keys() | new.objects.keys()):
        had_names, has_names = (set(each.objects.get(kind, ())) for each in (old, new))
        found += [f"{kind}: {name} is missing" for name in sorted(had_names - has_names)]
        found += [f"{kind}: {name} is new" for name in sorted(has_names - had_names)]
    return found


def _checksum_query(table: Table) -> str:
    # The whole row, also where a column is called as the table is.
    rows = f"SELECT md5((t.*)::text) h FROM ONLY {table.sql_name} t"  # noqa: S608  # quoted by the server
    return f"SELECT {_SUMS} FROM ({rows}) rows"  # noqa: S608


# -- The columns of the stack's database: noted before an upgrade, compared before going back.


_COLUMNS = """
SELECT table_schema || '.' || table_name || '.' || column_name || ' ' || data_type
FROM information_schema.columns
WHERE table_schema NOT IN ('information_schema', 'pg_catalog') AND table_schema NOT LIKE 'pg_toast%'
ORDER BY 1;
"""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Moved:
    """How the columns changed: those that came and those that went, by name and type."""

    added: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    def in_words(self) -> str:
        """Return a clause, such as ``2 columns came (public.chat.meta json, …)``."""
        parts = [
            f"{len(found)} {'column' if len(found) == 1 else 'columns'} {verb} ({_some(found)})"
            for found, verb in ((self.added, "came"), (self.removed, "went"))
            if found
        ]
        return " and ".join(parts)


def read_columns(engine: Engine, stack: Stack) -> tuple[str, ...] | None:
    """Return all columns of the stack's database, none if it has no PostgreSQL.

    None where it cannot be asked.
    """
    if database_of(stack) is None:
        return ()
    try:
        return tuple(row[0] for row in find_server(engine, stack).ask(_COLUMNS))
    except OwctlError:
        return None


def compare_columns(before: Sequence[str], now: Sequence[str]) -> Moved:
    """Return what came and what went between two looks at the columns."""
    return Moved(
        added=tuple(sorted(set(now) - set(before))), removed=tuple(sorted(set(before) - set(now)))
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown}, …" if len(names) > _SHOWN else shown
