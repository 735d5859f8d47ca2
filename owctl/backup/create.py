"""Making a backup: database snapshot first, then files, then configuration; all or nothing."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from owctl import __version__
from owctl.backup import manifest as manifests
from owctl.backup import verification
from owctl.backup.catalogue import FOLDER_NAME
from owctl.backup.events import BackupWarning, MemberProgress, Receiver, ignore
from owctl.backup.inventory import Inventory, VolumeSource, take_inventory
from owctl.backup.manifest import MANIFEST_NAME, Manifest, Member
from owctl.backup.member_file import write_small
from owctl.backup.members.configuration import store_configuration
from owctl.backup.members.database import MEMBER_NAME, Database, find_database
from owctl.backup.members.redis import write_out
from owctl.backup.members.sqlite import copy_database
from owctl.backup.members.volumes import archive_volume, reachable, remove_helpers
from owctl.backup.named_files import NamedFiles
from owctl.backup.origin import describe_services
from owctl.backup.publish import PartialBackup, new_id, partial_folder
from owctl.backup.space import check_estimate, volume_bytes
from owctl.backup.verifier import BackgroundVerifier
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.errors import BackupInvalid

Part = Literal["db", "files", "config"]
PARTS: tuple[Part, ...] = ("db", "files", "config")


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What to back up. ``parent`` is the folder of the backups, None for the project's own."""

    parent: Path | None = None
    label: str | None = None
    parts: frozenset[Part] = frozenset(PARTS)


@dataclass(frozen=True, slots=True)
class CreatedBackup:
    """A backup that exists, and was verified."""

    path: Path
    manifest: Manifest


def create_backup(
    engine: Engine, stack: Stack, request: BackupRequest, receive: Receiver = ignore
) -> CreatedBackup:
    """Make a backup of the running stack and return it once it is verified and durable.

    The caller holds the project's lock. Raises OwctlError; then nothing is left of it. Raises
    BackupInvalid if what was written does not read back as what was captured.
    """
    remove_helpers(engine, stack.project)
    parent = request.parent or stack.working_dir / FOLDER_NAME
    with partial_folder(parent, new_id(datetime.now(UTC))) as partial:
        run = _Run(engine, stack, request, partial, receive)
        manifest = run.capture()
        _store_manifest(partial.folder, manifest)
        verification.write_record(partial.folder, verification.now("ok"))
        return CreatedBackup(partial.publish(), manifest)


class _Run:
    """One backup in the making."""

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
        self.members: list[Member] = []
        self.warnings: list[str] = []
        self.started = time.monotonic()
        self.created_at = datetime.now(UTC)

    def capture(self) -> Manifest:
        """Write and verify every member."""
        inventory = take_inventory(self.engine, self.stack)
        with ExitStack() as opened:
            database = None
            if "db" in self.request.parts:
                container = find_database(inventory)
                database = opened.enter_context(Database(self.engine, container))
            self._preflight(inventory, database)
            verifier = opened.enter_context(BackgroundVerifier(self.folder, self.receive))
            if database is not None:
                self._database(database, verifier)
            if "files" in self.request.parts:
                self._files(inventory, database, verifier)
            if "config" in self.request.parts:
                for member in store_configuration(self.stack, self.folder):
                    self._done(member, verifier)
            verifier.finish()
            if database is not None:
                database.check_with_pg_restore(self.folder, self.members[0])
        return self._manifest(inventory)

    def _preflight(self, inventory: Inventory, database: Database | None) -> None:
        files = 0
        if "files" in self.request.parts:
            files = sum(volume_bytes(self.engine, source) for source in inventory.volumes)
        check_estimate(
            self.partial.parent,
            database_bytes=database.size_bytes if database else 0,
            files_bytes=files,
        )

    def _database(self, database: Database, verifier: BackgroundVerifier) -> None:
        if not database.has_application_tables:
            self._warn(
                f"PostgreSQL's database {database.about['database']} has no tables of Open WebUI "
                f"({len(database.tables)} tables in all): the application keeps its data elsewhere."
            )
        member = database.dump(self.folder, self._progress(MEMBER_NAME))
        self._done(member, verifier)

    def _files(
        self, inventory: Inventory, database: Database | None, verifier: BackgroundVerifier
    ) -> None:
        named_files = NamedFiles(inventory, database.file_paths() if database else ())
        for source in inventory.volumes:
            if source.redis is not None:
                write_out(self.engine, source.redis)
            self._volume(inventory, source, named_files, verifier)
        if (missing := named_files.warning()) is not None:
            self._warn(missing)
        for service, path in inventory.bind_mounts:
            self._warn(f"{path}, which {service} writes to, is not in the backup: no volume.")

    def _volume(
        self,
        inventory: Inventory,
        source: VolumeSource,
        named_files: NamedFiles,
        verifier: BackgroundVerifier,
    ) -> None:
        name = f"volumes/{source.key}.tar.zst"
        with reachable(self.engine, inventory, source, self.stack.project) as place:
            archived = archive_volume(
                self.engine, source, place, self.folder, named_files, self._progress(name)
            )
            self._done(archived.member, verifier)
            for path in archived.sqlite_files:
                self._sqlite(place, path, source.key, verifier)

    def _sqlite(
        self, place: tuple[str, str], path: str, key: str, verifier: BackgroundVerifier
    ) -> None:
        copy = copy_database(self.engine, place, path, self.folder, key)
        where = f"The SQLite database {path} in the volume {key}"
        if copy is None:
            self._warn(
                f"{where} changed all the while: no consistent copy was had. What volumes/{key} "
                "holds of it may be damaged; stop what writes to it and back up again."
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

    def _progress(self, name: str) -> Callable[[int], None]:
        self.receive(MemberProgress(name, "writing", 0))
        return lambda done: self.receive(MemberProgress(name, "writing", done))

    def _done(self, member: Member, verifier: BackgroundVerifier) -> None:
        self.members.append(member)
        self.receive(MemberProgress(member.name, "written", member.content_size_bytes))
        verifier.submit(member)

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        self.receive(BackupWarning(text))

    def _manifest(self, inventory: Inventory) -> Manifest:
        return Manifest(
            id=self.partial.id,
            project=self.stack.project,
            created_at=f"{self.created_at:%Y-%m-%dT%H:%M:%SZ}",
            duration_ms=round((time.monotonic() - self.started) * 1000),
            members=tuple(self.members),
            label=self.request.label,
            owctl_version=__version__,
            engine={"version": self.engine.engine_version, "api_version": self.engine.api_version},
            services=describe_services(self.engine, inventory),
            stack={
                "working_dir": str(self.stack.working_dir),
                "parts": [part for part in PARTS if part in self.request.parts],
            },
            warnings=tuple(self.warnings),
        )


def _store_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, the last file, and read it back."""
    write_small(folder, MANIFEST_NAME, manifests.dump(manifest))
    if manifests.read(folder) != manifest:
        raise BackupInvalid(
            f"{MANIFEST_NAME} does not read back as what was written.",
            hint="owctl backup, with --output naming a folder on another disk",
        )
