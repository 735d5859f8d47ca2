"""The database of a restore: a new one beside the live one, swapped by names in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from owctl.errors import OwctlError
from owctl.postgres.psql import Server

State = Literal["absent", "staged", "swapped"]
# A client that connects again between the end of its session and the lock makes one try fail.
_ATTEMPTS = 10
_NAMES = "SELECT datname FROM pg_database"
_END_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname IN (:'first', :'second') AND pid <> pg_backend_pid();
"""
_RENAME = """
BEGIN;
ALTER DATABASE :"first" RENAME TO :"aside";
ALTER DATABASE :"second" RENAME TO :"first";
COMMIT;
"""
_LIVE = """
SELECT pg_encoding_to_char(encoding), datcollate, datctype, pg_get_userbyid(datdba)
FROM pg_database WHERE datname = :'live';
"""
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

    def create(self, encoding: str | None, collation: str | None) -> list[str]:
        """Make the new database, empty; returns warnings about what it could not be given.

        None is as the live one has it. What was granted and set on that holds for the new one, too.
        A new one that is there already is thrown away.
        """
        self.drop_staged()
        rows = self._ask(_LIVE, live=self.names.live)
        if not rows:
            raise OwctlError(
                f"The server has no database {self.names.live}, in place of which the backup's "
                "would be put.",
                hint="owctl doctor",
            )
        warnings = self._create_like(rows[0], encoding or rows[0][0], collation or rows[0][1])
        both = {"live": self.names.live, "staged": self.names.staged}
        self._ask(_GRANTS, **both)
        self._ask(_SETTINGS, **both)
        if lost := [row[0] for row in self._ask(_LOST_SETTINGS, **both)]:
            warnings.append(
                f"A setting of the database is not valid and was not taken over: {', '.join(lost)}. "
                "Set it anew after the restore: ALTER DATABASE … SET."
            )
        return warnings

    def _create_like(self, live: list[str], encoding: str, collation: str) -> list[str]:
        own_encoding, own_collation, own_type, owner = live
        same = (encoding, collation) == (own_encoding, own_collation)
        try:
            self._create(encoding, collation, own_type if same else collation, owner)
        except OwctlError as error:
            if same or not any("locale" in line for line in error.details):
                raise
            self._create(encoding, own_collation, own_type, owner)
            return [
                f"This server does not know the backup's locale {collation}; the database gets "
                f"{own_collation}: texts may be sorted in another order."
            ]
        return []

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

    def _create(self, encoding: str, collation: str, character_type: str, owner: str) -> None:
        self._ask(
            'CREATE DATABASE :"name" TEMPLATE template0 OWNER :"owner" ENCODING :\'encoding\' '
            "LC_COLLATE :'collation' LC_CTYPE :'type';",
            name=self.names.staged,
            owner=owner,
            encoding=encoding,
            collation=collation,
            type=character_type,
        )

    def _rename(self, successor: str, aside: str) -> None:
        """Live becomes ``aside`` and ``successor`` becomes live: both or none."""
        names = {"first": self.names.live, "second": successor, "aside": aside}
        self._insist(_END_SESSIONS + _RENAME, names)

    def _drop(self, name: str) -> None:
        if name not in self._existing():
            return
        statements = _END_SESSIONS + 'DROP DATABASE IF EXISTS :"first";'
        self._insist(statements, {"first": name, "second": name})

    def _insist(self, statements: str, names: Mapping[str, str]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._ask(statements, **names)
            except OwctlError as error:
                in_use = any("being accessed by other users" in line for line in error.details)
                if not in_use or attempt == _ATTEMPTS:
                    raise
            else:
                return

    def _existing(self) -> set[str]:
        return {row[0] for row in self._ask(f"{_NAMES};")}

    def _ask(self, statements: str, **values: str) -> list[list[str]]:
        return self.server.ask(statements, database=self._maintenance, **values)
