"""Fetching a backup from another place: part by part, verified as a whole, published by rename."""

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from owctl.backup import catalogue
from owctl.backup import manifest as manifests
from owctl.backup.manifest import MANIFEST_NAME, Manifest
from owctl.backup.member_file import cannot_write, write_small
from owctl.backup.publish import resumable_folder
from owctl.backup.remote.parts import (
    PARTS_NAME,
    Part,
    Parts,
    parse_parts,
    transfer,
)
from owctl.backup.remote.place import check_id, persistently, read_document
from owctl.backup.remote.store import MissingRemotely, Store
from owctl.backup.verify import verify_backup
from owctl.errors import BackupInvalid, OwctlError
from owctl.figures import readable
from owctl.progress import Receiver, ignore
from owctl.project.private_file import make_folder
from owctl.volumes.space import check_reserve, free_bytes

# Removed by nobody but a later pull: `owctl backup` clears away only what ends with .partial.
PULLING_SUFFIX = ".pulling"
_READ_BYTES = 1024 * 1024
_FETCHINGS = 2
_AGAIN = "push it again from where it was made"


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did. ``path`` is the backup's folder; nothing was fetched if it was here."""

    path: Path
    manifest: Manifest
    fetched_parts: int
    fetched_bytes: int
    was_here: bool = False


def pull_backup(store: Store, backup_id: str, parent: Path, receive: Receiver = ignore) -> Pulled:
    """Fetch a backup into ``parent``, and return when it is verified and durable.

    What an interrupted pull fetched is used. Raises BackupInvalid for what is not whole or damaged
    there, Locked while another owctl fetches the same one, OwctlError for too little space.
    """
    check_id(backup_id)
    manifest_data, manifest, parts = _read_documents(store, backup_id)
    target = parent / backup_id
    if target.exists():
        if manifests.read(target) != manifest:
            raise OwctlError(
                f"{target} is another backup of the same name.",
                hint="--output with another folder",
            )
        return Pulled(target, manifest, 0, 0, was_here=True)
    with resumable_folder(parent, backup_id, PULLING_SUFFIX) as arriving:
        _check_space(manifest, arriving.folder, parent)
        fetcher = _Fetcher(store, backup_id, arriving.folder, receive)
        for member in manifest.members:
            fetcher.fetch(parts.by_member[member.name])
        verify_backup(arriving.folder, manifest)
        for member in manifest.members:
            size = member.size_bytes
            receive(transfer(member.name, "done", size, size))
        (arriving.folder / MANIFEST_NAME).unlink(missing_ok=True)
        write_small(arriving.folder, MANIFEST_NAME, manifest_data)
        catalogue.write_record(arriving.folder, catalogue.now("ok"))
        path = arriving.publish()
    return Pulled(path, manifest, fetcher.fetched_parts, fetcher.fetched_bytes)


def _read_documents(store: Store, backup_id: str) -> tuple[bytes, Manifest, Parts]:
    """Read what the backup says of itself, and see that all parts are there by size."""
    data = read_document(store, backup_id, MANIFEST_NAME)
    if data is None:
        raise BackupInvalid(
            f"{backup_id} is not whole there: it has no {MANIFEST_NAME}.", hint=_AGAIN
        )
    manifest = manifests.parse(data)
    listed = read_document(store, backup_id, PARTS_NAME)
    if listed is None:
        raise BackupInvalid(f"{backup_id} has no {PARTS_NAME} there.", hint=_AGAIN)
    parts = parse_parts(listed, data, manifest)
    present = persistently(store, partial(store.files, backup_id))
    wrong = [part.name for part in parts if present.get(part.name) != part.size_bytes]
    if wrong:
        raise BackupInvalid(
            f"{backup_id} is damaged there: {len(wrong)} of {len(list(parts))} parts are missing or "
            "have another size.",
            hint=_AGAIN,
            details=wrong[:5],
        )
    return data, manifest, parts


def _check_space(manifest: Manifest, folder: Path, parent: Path) -> None:
    """Raise OwctlError if what is still missing does not fit."""
    here = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    needed, free = manifest.size_bytes - here, free_bytes(parent)
    if needed > free:
        raise OwctlError(
            f"{readable(needed)} are to be fetched, and {readable(free)} are free in {parent}.",
            hint="make room there, or name a folder on another disk with --output",
        )


class _Fetcher:
    """Brings members into ``folder``, using what is there."""

    def __init__(self, store: Store, backup_id: str, folder: Path, receive: Receiver) -> None:
        self.store = store
        self.id = backup_id
        self.folder = folder
        self.receive = receive
        self.fetched_parts = 0
        self.fetched_bytes = 0
        self._size = 0
        self._moved = 0

    def fetch(self, parts: tuple[Part, ...]) -> None:
        """Have a member here, whatever there is of it; raises BackupInvalid, OwctlError."""
        path = self.folder / parts[0].member
        self._size, self._moved = sum(part.size_bytes for part in parts), 0
        try:
            make_folder(path.parent, 0o700)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                for part in parts[self._sound_parts(file, parts) :]:
                    self._fetch_part(file, part)
                file.truncate(self._size)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(path, error) from error
        self._tell(parts[0], "checking", self._size)

    def _sound_parts(self, file: BinaryIO, parts: tuple[Part, ...]) -> int:
        """Return how many parts, from the beginning, an earlier pull left whole."""
        for count, part in enumerate(parts):
            digest, left = hashlib.sha256(), part.size_bytes
            file.seek(part.offset)
            while left and (data := file.read(min(_READ_BYTES, left))):
                digest.update(data)
                left -= len(data)
            if left or digest.hexdigest() != part.sha256:
                return count
            self._tell(part, "checking", part.offset + part.size_bytes)
        return len(parts)

    def _fetch_part(self, file: BinaryIO, part: Part) -> None:
        for _ in range(_FETCHINGS):
            try:
                sound = persistently(
                    self.store,
                    partial(self._read_part, file, part),
                    partial(self._tell, part, "trying again", part.offset),
                )
            except MissingRemotely:
                break
            if sound:
                self.fetched_parts += 1
                return
        raise BackupInvalid(
            f"{part.name} is damaged there: its SHA-256 is not the one that was pushed.",
            hint=f"owctl backup push REMOTE {self.id} --read-back, from where it was made, mends it",
        )

    def _read_part(self, file: BinaryIO, part: Part) -> bool:
        file.seek(part.offset)
        file.truncate()
        check_reserve(self.folder)
        digest, size = hashlib.sha256(), 0
        for data in self.store.read(f"{self.id}/{part.name}", part.size_bytes):
            file.write(data)
            digest.update(data)
            size += len(data)
            self.fetched_bytes += len(data)
            self._moved += len(data)
            self._tell(part, "fetching", part.offset + size)
        return (size, digest.hexdigest()) == (part.size_bytes, part.sha256)

    def _tell(self, part: Part, stage: str, done: int) -> None:
        self.receive(transfer(part.member, stage, done, self._size, self._moved))
