"""A backup's members captured one after the other: what is asked for, and everything it consists of."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from owctl import __version__
from owctl.backup.catalogue import next_order
from owctl.backup.create.interlude import (
    Interlude,
    check_something_exists,
    require_dump,
    wake_database,
    writers,
)
from owctl.backup.create.origin import describe_services, store_configuration
from owctl.backup.create.redis import write_out
from owctl.backup.create.volumes import (
    NamedFiles,
    Place,
    archive_volume,
    can_be_copied,
    copy_sqlite,
    reachable,
)
from owctl.backup.encryption import Encryption, Identity, stored_name
from owctl.backup.freshness import newest_verified
from owctl.backup.inventory import Inventory, VolumeSource, take_inventory, volume_bytes
from owctl.backup.manifest import PARTS, Manifest, Member, Part, holds_data
from owctl.backup.member_file import MemberContent, MemberFile
from owctl.backup.publish import PartialBackup
from owctl.backup.verify import BackgroundVerifier, NoVerifier, dump_head
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import list_usage
from owctl.engine.execution import run
from owctl.errors import BackupInvalid, OwctlError
from owctl.figures import readable
from owctl.postgres.dump import DatabaseSnapshot
from owctl.postgres.place import find_server, wait_for_answer
from owctl.postgres.psql import Server, last_lines
from owctl.progress import Event, Receiver, warning
from owctl.volumes.losses import printable, told
from owctl.volumes.space import check_estimate

# -- The database in a backup: what pg_dump writes becomes a member, which pg_restore is shown.


MEMBER_NAME = "postgres.dump.zst"
_WORTH_TELLING_BYTES = 64 * 1024 * 1024


def store_dump(
    database: DatabaseSnapshot,
    folder: Path,
    on_bytes: Callable[[int], None],
    encryption: Encryption | None = None,
) -> Member:
    """Write the dump into ``folder``, and count the rows of every table meanwhile."""
    with (
        MemberFile(folder, MEMBER_NAME, on_bytes=on_bytes, encryption=encryption) as file,
        closing(database.dump()) as pieces,
    ):
        for data in pieces:
            file.write(data)
        stored = file.finish()
    service = database.server.container.service
    return stored.member("database", **database.about, service=service, rows=database.rows())


def check_with_pg_restore(
    server: Server, folder: Path, member: Member, identities: Sequence[Identity] = ()
) -> None:
    """Have the container's pg_restore list the dump in ``folder``; raises BackupInvalid."""
    with MemberContent(folder, member, identities=identities) as content:
        head = dump_head(content)
    argv = ["pg_restore", "-l"]
    listing = run(server.engine, server.container.id, argv, stdin=head, timeout_seconds=60)
    if listing.exit_code:
        raise BackupInvalid(
            f"{MEMBER_NAME}: pg_restore cannot read it.", details=last_lines(listing.stderr)
        )


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What to back up, and how.

    ``parent`` is the folder of the backups, None for the project's own. ``quiesce`` stops what
    writes for the while; without ``verify`` nothing is read back.
    """

    parent: Path | None = None
    label: str | None = None
    parts: frozenset[Part] = frozenset(PARTS)
    quiesce: bool = False
    verify: bool = True
    encryption: Encryption | None = None


@dataclass(frozen=True, slots=True)
class CreatedBackup:
    """A backup that exists.

    ``downtime_seconds`` is how long services stood still for it, None if none did. ``failures``
    say what could not be started or stopped again afterwards; the backup itself is whole.
    """

    path: Path
    manifest: Manifest
    verified: bool = True
    downtime_seconds: float | None = None
    failures: tuple[OwctlError, ...] = ()


Verifier = BackgroundVerifier | NoVerifier


class Capture:
    """One backup in the making; ``interlude`` tells afterwards what stood still for it."""

    def __init__(
        self,
        engine: Engine,
        stack: Stack,
        request: BackupRequest,
        partial: PartialBackup,
        receive: Receiver,
    ) -> None:
        self.engine = engine
        self.stack = stack
        self.request = request
        self.partial = partial
        self.folder = partial.folder
        self.receive = receive
        self.encryption = request.encryption
        self.identities = (self.encryption.read_back,) if self.encryption is not None else ()
        self.parts = request.parts
        self.members: list[Member] = []
        self.warnings: list[str] = []
        self.lacks: list[dict[str, str]] = []
        self.started = time.monotonic()
        self.created_at = datetime.now(UTC)
        self.interlude = Interlude(engine, stack, receive)

    def run(self) -> Manifest:
        """Write and verify every member; return the manifest."""
        with self.interlude:
            inventory = self._inventory()
            with ExitStack() as opened:
                database = self._prepare(inventory, opened)
                verifier = self._verifier()
                opened.enter_context(verifier)
                if database is not None:
                    self._database(database, verifier)
                self._volumes(inventory, database, verifier)
                # What comes now is done beside the services that are back at work.
                self.interlude.resume()
                self._configuration(verifier)
                verifier.finish()
            self.interlude.settle()
        self._compare_with_before()
        return self._manifest(inventory)

    def _inventory(self) -> Inventory:
        """Look at what there is, and start what is needed of it."""
        inventory = take_inventory(self.engine, self.stack)
        self.parts = inventory.captured(self.parts)
        if self.parts != self.request.parts and inventory.elsewhere is not None:
            host, backend = inventory.elsewhere.host, inventory.elsewhere.backend
            self._lack(
                "external",
                host,
                f"The application's database is not in the backup: it is on {host}, outside of this "
                f"stack (DATABASE_URL of {backend}). Back it up there.",
            )
        if self.parts != {"config"}:
            check_something_exists(self.engine, self.stack, inventory)
        if "db" not in self.parts:
            return inventory
        if (other := require_dump(self.stack, inventory)) is not None:
            self._warn(other)
        if wake_database(self.engine, inventory, self.interlude):
            inventory = take_inventory(self.engine, self.stack)
            # One whose port cannot be reached from here counts as ready as soon as it runs.
            wait_for_answer(find_server(self.engine, self.stack))
        return inventory

    def _prepare(self, inventory: Inventory, opened: ExitStack) -> DatabaseSnapshot | None:
        """Check that there is room, stop what is to stand still, and take the snapshot."""
        # Both ask in containers, which takes its time.
        with ThreadPoolExecutor(1, "owctl-backup-sizes") as beside:
            files_bytes = beside.submit(self._files_bytes, inventory)
            database = self._open_database(opened)
            check_estimate(
                self.partial.parent,
                database_bytes=database.size_bytes if database else 0,
                files_bytes=files_bytes.result(),
            )
        if not self.request.quiesce:
            return database
        # The snapshot that counts is taken when nobody writes any more.
        opened.close()
        self.interlude.quiesce(writers(self.stack, inventory, self.parts))
        return self._open_database(opened)

    def _open_database(self, opened: ExitStack) -> DatabaseSnapshot | None:
        if "db" not in self.parts:
            return None
        return opened.enter_context(DatabaseSnapshot(find_server(self.engine, self.stack)))

    def _verifier(self) -> Verifier:
        if not self.request.verify:
            return NoVerifier()
        return BackgroundVerifier(self.folder, self.receive, self.identities)

    def _files_bytes(self, inventory: Inventory) -> int:
        sources = inventory.volumes_of(self.parts)
        return sum(self.engine.map(lambda source: volume_bytes(self.engine, source), sources))

    def _database(self, database: DatabaseSnapshot, verifier: Verifier) -> None:
        if not database.has_application_tables:
            self._warn(
                f"PostgreSQL's database {database.about['database']} has no tables of Open WebUI "
                f"({len(database.tables)} tables in all): the application keeps its data elsewhere."
            )
        for name, tables in database.others():
            self._lack(
                "database",
                name,
                f"The database {name} of {database.server.container.service} ({tables} tables), "
                "which the application does not use, is not in the backup.",
            )
        progress = self._progress(MEMBER_NAME)
        member = store_dump(database, self.folder, progress, self.encryption)
        self._done(
            member,
            verifier,
            lambda: check_with_pg_restore(database.server, self.folder, member, self.identities),
        )

    def _volumes(
        self, inventory: Inventory, database: DatabaseSnapshot | None, verifier: Verifier
    ) -> None:
        with_files = "files" in self.parts
        paths = database.file_paths() if database is not None and with_files else ()
        named_files = NamedFiles(inventory, paths)
        for source in inventory.volumes_of(self.parts):
            if source.postgres and self._is_at_work(source.name):
                self._lack_cluster(source)
                continue
            if source.redis is not None:
                write_out(self.engine, source.redis)
            self._volume(inventory, source, named_files, verifier)
        if (missing := named_files.warning()) is not None:
            self._warn(missing)
        for service, path in inventory.bind_mounts if with_files else ():
            self._warn(f"{path}, which {service} writes to, is not in the backup: no volume.")
        for service, path in inventory.overlays if with_files else ():
            self._warn(f"{path}, which {service} mounts below a volume, is not in the backup.")

    def _compare_with_before(self) -> None:
        """Say that the data is gone, where an earlier backup has some and this one has none."""
        if "db" not in self.request.parts or any(map(holds_data, self.members)):
            return
        before = newest_verified(self.partial.parent, self.stack.project, {"db"}, with_data=True)
        if before is not None:
            self._warn(
                f"There are no accounts and no chats, and the backup {before.backup.id} has some. "
                f"owctl restore {before.backup.id} brings them back."
            )

    def _configuration(self, verifier: Verifier) -> None:
        if "config" in self.parts:
            for member in store_configuration(self.stack, self.folder, self._warn, self.encryption):
                self._done(member, verifier)

    def _volume(
        self,
        inventory: Inventory,
        source: VolumeSource,
        named_files: NamedFiles,
        verifier: Verifier,
    ) -> None:
        name = f"volumes/{source.key}.tar.zst"
        with reachable(self.engine, inventory, source, self.stack.project) as place:
            archived = archive_volume(
                self.engine,
                source,
                place,
                self.folder,
                named_files,
                self._progress(name),
                self.encryption,
            )
            if (source.postgres or archived.servers) and self._is_at_work(source.name):
                (self.folder / archived.member.name).unlink()
                self.receive(Event(archived.member.name, "done", "left out", "member"))
                self._lack_cluster(source)
                return
            self._done(archived.member, verifier)
            self._sparse(source, archived.member)
            if archived.losses:
                self._warn(told(source.key, archived.losses))
            for path in archived.sqlite_files:
                self._sqlite(place, path, source, verifier)

    def _sparse(self, source: VolumeSource, member: Member) -> None:
        files = member.detail["sparse"]
        zeros = sum(each["zero_bytes"] for each in files)
        if zeros < _WORTH_TELLING_BYTES:
            return
        largest = max(files, key=lambda each: int(each["zero_bytes"]))
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        self._warn(
            f"In the volume {source.key}, {readable(zeros)} of {readable(member.detail['files_bytes'])} "
            f"are zeros, or holes of sparse files ('{printable(largest['path'])}'{more}). The archive "
            f"takes {readable(member.size_bytes)}; owctl restore writes holes, another tar all of it."
        )

    def _sqlite(self, place: Place, path: str, source: VolumeSource, verifier: Verifier) -> None:
        where = f"The SQLite database {printable(path)} in the volume {source.key}"
        if not can_be_copied(path, self.encryption):
            self._warn(
                f"{where} has a name that no file of a backup can have: no consistent copy was made. "
                f"What volumes/{source.key} holds of it may be damaged; owctl backup --quiesce stops "
                "what writes to it meanwhile."
            )
            return
        copy = copy_sqlite(self.engine, place, path, self.folder, source, self.encryption)
        if copy is None:
            self._warn(
                f"{where} changed all the while: no consistent copy was had. What volumes/{source.key} "
                "holds of it may be damaged; owctl backup --quiesce stops what writes to it meanwhile."
            )
            return
        self._done(copy.member, verifier)
        if copy.problems:
            self._warn(f"{where} is damaged (PRAGMA integrity_check): {'; '.join(copy.problems)}")
        elif copy.member.detail["rows"].get("user"):
            users = copy.member.detail["rows"]["user"]
            self._warn(
                f"{where} holds Open WebUI's data ({users} users): the application runs on SQLite. "
                f"A consistent, checked copy is in {copy.member.name}."
            )

    def _is_at_work(self, volume: str) -> bool:
        """Return whether any container of the engine is at work on a volume now."""
        return any(volume in each.volumes and each.needs_stop for each in list_usage(self.engine))

    def _lack_cluster(self, source: VolumeSource) -> None:
        whose = f"another PostgreSQL, {source.postgres}" if source.postgres else "a PostgreSQL"
        self._lack(
            "volume",
            source.key,
            f"The volume {source.name} is not in the backup: it holds the data of {whose}, which "
            "runs on it. owctl backup --quiesce stops that meanwhile, and copies it.",
        )

    def _lack(self, kind: str, name: str, why: str) -> None:
        """Write down that a backup of everything would have something that this one has not."""
        self.lacks.append({"kind": kind, "name": name, "why": why})
        self._warn(why)

    def _progress(self, member_name: str) -> Callable[[int], None]:
        name = stored_name(member_name, self.encryption)

        def tell(done: int) -> None:
            self.receive(Event(name, "working", "writing", "member", done=done, moved=done))

        tell(0)
        return tell

    def _done(
        self, member: Member, verifier: Verifier, also: Callable[[], None] | None = None
    ) -> None:
        self.members.append(member)
        name, size = member.name, member.content_size_bytes
        if self.request.verify:
            self.receive(Event(name, "working", "written", "member", moved=size))
        else:
            self.receive(Event(name, "done", "written", "member", done=size, moved=size))
        verifier.submit(member, also)

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        self.receive(warning(text))

    def _manifest(self, inventory: Inventory) -> Manifest:
        order = next_order(self.partial.parent, self.stack.project, self.created_at)
        return Manifest(
            id=self.partial.id,
            project=self.stack.project,
            created_at=f"{self.created_at:%Y-%m-%dT%H:%M:%SZ}",
            duration_ms=round((time.monotonic() - self.started) * 1000),
            members=tuple(self.members),
            label=self.request.label,
            owctl_version=__version__,
            engine={"version": self.engine.engine_version, "api_version": self.engine.api_version},
            services=describe_services(self.engine, self.stack, inventory),
            stack={
                "working_dir": str(self.stack.working_dir),
                "parts": [part for part in PARTS if part in self.parts],
                "quiesced": list(self.interlude.quiesced),
                "lacks": self.lacks,
            },
            warnings=tuple(self.warnings),
            encryption=self.encryption.to_json() if self.encryption is not None else None,
            ordered_at=order.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        )
