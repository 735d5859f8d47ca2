"""The database of a restore: a new one beside the live one, swapped by names in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from owctl.errors import OwctlError
from owctl.postgres.properties import (
    UNKNOWN_OPTIONS,
    UNKNOWN_TABLESPACE,
    DatabaseProperties,
    give_properties,
    like_libc,
    options_of,
    without_tablespace,
)
from owctl.postgres.psql import MAINTENANCE_DATABASE, Server, StatementRefused

State = Literal["absent", "staged", "swapped"]
# A client that connects again between the end of its session and the lock makes one try fail.
_ATTEMPTS = 10
_NAMES = "SELECT datname FROM pg_database"
_END_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname IN (:'first', :'second') AND pid <> pg_backend_pid();
"""
_IS_VALID = "SELECT 1 FROM pg_database WHERE datname = :'name' AND datconnlimit <> -2;"
# One with a subscription cannot be dropped. Its place at the publisher stays, which is another server's.
_END_SUBSCRIPTIONS = r"""
SELECT format('ALTER SUBSCRIPTION %I DISABLE', subname),
  format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', subname),
  format('DROP SUBSCRIPTION %I', subname)
FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
WHERE datname = current_database() \gexec
"""
_RENAME = """
BEGIN;
ALTER DATABASE :"first" RENAME TO :"aside";
ALTER DATABASE :"second" RENAME TO :"first";
COMMIT;
"""
_LIVE = """
SELECT pg_encoding_to_char(encoding), datcollate, pg_get_userbyid(datdba)
FROM pg_database WHERE datname = :'live';
"""
_IN_USE = "55006"
# FROM CURRENT takes over what ALTER … SET gave the live one, lists included. What cannot be set (any
# more) is left out here, and found missing afterwards.
_SETTINGS = r"""
\set ON_ERROR_STOP 0
SELECT format('SELECT set_config(%L, %L, false)', n, v), format('ALTER %s SET %s FROM CURRENT',
  CASE WHEN setrole = 0 THEN format('DATABASE %I', :'staged')
  ELSE format('ROLE %I IN DATABASE %I', pg_get_userbyid(setrole), :'staged') END, n),
  format('RESET %s', n)
FROM (SELECT setrole, split_part(s, '=', 1) n, substr(s, strpos(s, '=') + 1) v
  FROM pg_db_role_setting r JOIN pg_database d ON d.oid = r.setdatabase, unnest(setconfig) s
  WHERE d.datname = :'live') found \gexec
"""
_LOST_SETTINGS = """
WITH found AS (
  SELECT d.datname, r.setrole, s FROM pg_db_role_setting r
  JOIN pg_database d ON d.oid = r.setdatabase, unnest(setconfig) s)
SELECT s FROM found a WHERE datname = :'live' AND NOT EXISTS (
  SELECT FROM found b WHERE b.datname = :'staged' AND (b.setrole, b.s) = (a.setrole, a.s))
ORDER BY 1;
"""
_GRANTS = r"""
SELECT format('GRANT %s ON DATABASE %I TO %s', a.privilege_type, :'staged',
  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = :'live'
UNION ALL SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', :'staged')
FROM pg_database WHERE datname = :'live' AND datacl IS NOT NULL
ORDER BY 1 DESC \gexec
"""


@dataclass(frozen=True, slots=True)
class DatabaseNames:
    """The three databases of a restore: the application's, the new one, and the one that was."""

    service: str
    live: str
    staged: str
    kept: str


def database_names(server: Server, restore_id: str) -> DatabaseNames:
    """Return the names of the databases of a restore, by the server that it is for."""
    live = server.environment["PGDATABASE"]
    service = server.container.service
    return DatabaseNames(service, live, f"ow_restore_{restore_id}", f"ow_before_{restore_id}")


class DatabaseSwap:
    """The databases of one restore on a running server. Every method can be called again."""

    def __init__(self, server: Server, names: DatabaseNames) -> None:
        self.server = server
        self.names = names
        # A session in a database keeps it from being renamed, so ours is in another one.
        self._maintenance = "template1" if names.live == "postgres" else "postgres"

    def state(self) -> State:
        """Return whether the new database is there, and under which name."""
        existing = self._existing()
        if self.names.kept in existing:
            return "swapped"
        return "staged" if self.names.staged in existing else "absent"

    def create(
        self,
        encoding: str | None,
        collation: str | None,
        properties: DatabaseProperties | None = None,
    ) -> list[str]:
        """Make the new database, empty; returns warnings about what it could not be given.

        It is made as ``properties`` say; without them, None is as the live one has it. What was
        granted and set on that holds for the new one, too. A new one that is there already is thrown
        away.
        """
        self.drop_staged()
        rows = self._ask(_LIVE, live=self.names.live)
        if not rows:
            raise OwctlError(
                f"The server has no database {self.names.live}, in place of which the backup's "
                "would be put.",
                hint="owctl doctor",
            )
        own_encoding, own_collation, owner = rows[0]
        live = options_of(self._elsewhere, self.names.live)
        wanted = (encoding or own_encoding, collation or own_collation)
        if properties is not None:
            options = properties.options
        elif wanted == (own_encoding, own_collation):
            options = live
        else:
            options = like_libc(*wanted, live)
        warnings = self._create_like(options, live, owner)
        both = {"live": self.names.live, "staged": self.names.staged}
        self._ask(_GRANTS, **both)
        self._ask(_SETTINGS, **both)
        if lost := [row[0] for row in self._ask(_LOST_SETTINGS, **both)]:
            warnings.append(
                f"A setting of the database is not valid and was not taken over: {', '.join(lost)}. "
                "Set it anew after the restore: ALTER DATABASE … SET."
            )
        return warnings

    def give(self, properties: DatabaseProperties, *, with_owner: bool) -> list[str]:
        """Give the new one the settings, rights and comment of a backup's; returns warnings."""
        return give_properties(
            self._elsewhere, self.names.staged, properties, with_owner=with_owner
        )

    def _create_like(self, wanted: str, live: str, owner: str) -> list[str]:
        """Make it with the options that are wanted, or else with those of the live one."""
        warnings = []
        for options in dict.fromkeys((wanted, without_tablespace(wanted))):
            try:
                self._create(options, owner)
            except StatementRefused as error:
                if options == live or error.sqlstate not in UNKNOWN_OPTIONS:
                    raise
                if error.sqlstate == UNKNOWN_TABLESPACE:
                    warnings.append(
                        "The tablespace in which the backup's database was is not here; the database "
                        "is in the server's own."
                    )
            else:
                return warnings
        self._create(live, owner)
        return [
            *warnings,
            f"This server does not know the backup's locale ({without_tablespace(wanted)}); the "
            f"database gets the live one's ({live}): texts may be sorted in another order.",
        ]

    def swap(self) -> None:
        """Put the new database in place of the live one, which is kept."""
        state = self.state()
        if state == "swapped":
            return
        if state == "absent":
            raise OwctlError(
                f"The database {self.names.staged}, which was to be put in place, is gone.",
                hint="owctl restore undo",
            )
        self._rename(self.names.staged, self.names.kept)

    def swap_back(self) -> None:
        """Put the kept database back in place; what was restored has the staged name again."""
        if self.names.kept not in self._existing():
            return
        self._rename(self.names.kept, self.names.staged)

    def drop_staged(self) -> None:
        """Drop what was restored, where it is not in place."""
        self._drop(self.names.staged)

    def drop_kept(self) -> None:
        """Drop the database that was there before."""
        self._drop(self.names.kept)

    def size_bytes(self, name: str) -> int | None:
        """Return how much room a database takes, None if there is none of that name."""
        query = "SELECT pg_database_size(oid) FROM pg_database WHERE datname = :'name';"
        rows = self._ask(query, name=name)
        return int(rows[0][0]) if rows else None

    def _create(self, options: str, owner: str) -> None:
        statement = f'CREATE DATABASE :"name" TEMPLATE template0 OWNER :"owner" {options};'
        self._ask(statement, name=self.names.staged, owner=owner)

    def _rename(self, successor: str, aside: str) -> None:
        """Live becomes ``aside`` and ``successor`` becomes live: both or none."""
        names = {"first": self.names.live, "second": successor, "aside": aside}
        self._insist(_END_SESSIONS + _RENAME, names)

    def _drop(self, name: str) -> None:
        if name not in self._existing():
            return
        # One that was being dropped lets nobody in.
        if self.server.ask(_IS_VALID, database=MAINTENANCE_DATABASE, name=name):
            self.server.ask(_END_SUBSCRIPTIONS, database=name)
        statements = _END_SESSIONS + 'DROP DATABASE IF EXISTS :"first";'
        self._insist(statements, {"first": name, "second": name})

    def _insist(self, statements: str, names: Mapping[str, str]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._ask(statements, **names)
            except StatementRefused as error:
                if error.sqlstate != _IN_USE or attempt == _ATTEMPTS:
                    raise
            else:
                return

    @property
    def _elsewhere(self) -> Server:
        return self.server.with_variables(PGDATABASE=self._maintenance)

    def _existing(self) -> set[str]:
        return {row[0] for row in self._ask(f"{_NAMES};")}

    def _ask(self, statements: str, **values: str) -> list[list[str]]:
        return self.server.ask(statements, database=self._maintenance, **values)
