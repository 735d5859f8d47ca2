"""Data that the last backup has and the engine has no more: a volume that vanished, an empty database.

What is gone cannot be told by looking at the engine alone: a stack that never had data looks the same.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from owctl.backup.catalogue import FOLDER_NAME, LATEST, find_backup
from owctl.backup.freshness import Newest, backups_of, newest_verified
from owctl.backup.manifest import Member, holds_data
from owctl.doctor.database import state_of_data
from owctl.doctor.finding import Finding, Situation, Status
from owctl.postgres.place import DatabasePlace, database_of

if TYPE_CHECKING:
    from owctl.engine.containers import Container

_SECONDS = 5
# One line where a table of people's has a row, in whatever schema it is.
_ANY_ROW = r"""
SELECT format('SELECT 1 FROM %I.%I LIMIT 1', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relname IN ('user', 'chat') AND n.nspname !~ '^pg_' \gexec
"""


def check_lost_data(
    situation: Situation, project_dir: Path, starting: Collection[str] | None = None
) -> tuple[Finding, ...]:
    """Return what the last verified backup has, and the engine has not.

    ``starting`` names the services that are about to be started, None means all: a volume that is gone
    is a hard finding where one of them would be given an empty one. Raises the engine's errors.
    """
    parent = backups_of(project_dir, situation.stack.project)
    look = _Look(situation, parent, project_dir, starting)
    found = (*look.at_database(), *look.at_files())
    return found or (Finding("lost-data", "ok", "what the last verified backup has is there"),)


@dataclass(frozen=True, slots=True)
class _Look:
    situation: Situation
    parent: Path
    project_dir: Path
    starting: Collection[str] | None

    def at_database(self) -> Iterator[Finding]:
        """Compare the database with the newest backup of one."""
        last = newest_verified(self.parent, self.situation.stack.project, {"db"}, with_data=True)
        place = database_of(self.situation.stack)
        dump = _dump(last)
        if last is None or place is None or dump is None or not self._concerns(place.name):
            return
        running = next((c for c in self.situation.of(place.name) if c.is_running), None)
        if running is not None:
            yield from self._running(last, dump, place, running)
            return
        newest = newest_verified(self.parent, self.situation.stack.project, {"db"})
        if newest != last:
            # It was empty already when it was last backed up, and somebody was told then.
            return
        where, state = state_of_data(self.situation, place.service, since=last.created_at)
        if state in ("absent", "empty"):
            what = "does not exist" if state == "absent" else "is empty"
            yield self._finding("failed", f"the {where} {what}", last, _people(dump))
        elif (name := dump.detail.get("database")) not in (None, place.database_name):
            yield self._finding(
                "warning",
                f"the stack names the database {place.database_name}, and that of the backup is {name}",
                last,
                _people(dump),
            )

    def at_files(self) -> Iterator[Finding]:
        """Look for the volumes that had files in the newest backup of them."""
        last = newest_verified(self.parent, self.situation.stack.project, {"files"})
        members = last.backup.read_manifest().members if last is not None else ()
        for member in members:
            volume = self.situation.stack.volumes.get(str(member.detail.get("volume")))
            size = int(member.detail.get("files_bytes") or 0)
            if member.kind != "volume" or volume is None or not size:
                continue
            users = self._users(str(member.detail["volume"]))
            is_cache = member.detail.get("part", "files") != "files"
            if volume.name in self.situation.volumes or is_cache or not self._concerns(*users):
                continue
            assert last is not None
            gone = f"the volume {volume.name} does not exist"
            yield self._finding("failed", gone, last, "files in it")

    def _running(
        self, last: Newest, dump: Member, place: DatabasePlace, container: "Container"
    ) -> Iterator[Finding]:
        wanted, before = place.database_name, dump.detail.get("database")
        names, has_rows = _ask(self.situation, container, wanted)
        if not names or has_rows:
            return
        if wanted not in names:
            what = f"the server has no database {wanted}, which the stack names"
        else:
            what = f"the database {wanted} has no accounts and no chats"
        of_another = f" in the database {before}" if before not in (None, wanted) else ""
        status: Status = "failed" if of_another else "warning"
        yield self._finding(status, what, last, f"{_people(dump)}{of_another}")

    def _finding(self, status: Status, what: str, last: Newest, held: str) -> Finding:
        found = last.backup
        return Finding(
            "lost-data",
            status,
            f"{what}, and the last verified backup, {found.id}, has {held}",
            f"owctl restore {self._name(last)}, which brings it back",
        )

    def _name(self, last: Newest) -> str:
        own = self.project_dir / FOLDER_NAME
        if last.backup.path.parent != own:
            return str(last.backup.path)
        latest = find_backup(own, LATEST, own, self.situation.stack.project)
        return LATEST if latest.id == last.backup.id else last.backup.id

    def _users(self, volume: str) -> list[str]:
        services = self.situation.stack.services.items()
        return [n for n, each in services if any(m.source == volume for m in each.mounts)]

    def _concerns(self, *services: str) -> bool:
        return self.starting is None or bool(set(services) & set(self.starting))


def _dump(last: Newest | None) -> Member | None:
    """Return the dump of a backup, None for one without any row."""
    members = last.backup.read_manifest().members if last is not None else ()
    return next((each for each in members if each.kind == "database" and holds_data(each)), None)


def _people(dump: Member) -> str:
    rows = dump.detail.get("rows") or {}
    counts = {
        what: sum(n for table, n in rows.items() if table.rpartition(".")[2] == name)
        for name, what in (("user", "accounts"), ("chat", "chats"))
    }
    if any(counts.values()):
        return " and ".join(f"{count} {what}" for what, count in counts.items())
    return f"{sum(rows.values())} rows"


def _ask(
    situation: Situation, container: "Container", database: str
) -> tuple[frozenset[str], bool]:
    """Return the names of a server's databases, none if it cannot be asked, and whether one has rows."""
    from owctl.postgres.place import server_in

    limits = {"PGCONNECT_TIMEOUT": "3", "PGOPTIONS": "-c statement_timeout=1500"}
    server = server_in(situation.engine, container).with_variables(**limits)
    listed = server.run("SELECT datname FROM pg_database", timeout_seconds=_SECONDS)
    names = frozenset(listed.stdout.decode("utf-8", "replace").splitlines())
    if listed.exit_code or database not in names:
        return (frozenset() if listed.exit_code else names), False
    answer = server.with_variables(PGDATABASE=database).run(_ANY_ROW, timeout_seconds=_SECONDS)
    # One that cannot be asked is not called empty.
    return names, bool(answer.exit_code or answer.stdout.strip())
