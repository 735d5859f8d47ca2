"""A place for backups, whichever kind it is: opened, tried again where a connection broke, and what it has."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from owctl.backup import manifest as manifests
from owctl.backup.catalogue import LATEST, is_future
from owctl.backup.manifest import MANIFEST_NAME, Manifest
from owctl.backup.remote.store import Address, ConnectionLost, Store
from owctl.errors import BackupInvalid, OwctlError, UsageError

PAUSES_SECONDS = (0.5, 2.0, 5.0)
Result = TypeVar("Result")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LARGEST_DOCUMENT_BYTES = 64 * 1024 * 1024


def open_store(address: Address, *, host_key: str | None = None) -> Store:
    """Return the place at an address; raises OwctlError where it cannot be reached.

    ``host_key`` is the fingerprint (``SHA256:…``) of an SSH server that known_hosts does not know.
    """
    if address.scheme == "s3":
        from owctl.backup.remote.s3_store import S3Store

        return S3Store(address)
    if address.scheme == "sftp":
        from owctl.backup.remote.sftp_store import SftpStore

        return SftpStore(address, host_key)
    from owctl.backup.remote.folder_store import FolderStore

    return FolderStore(Path(address.path))


def persistently(
    store: Store, action: Callable[[], Result], on_retry: Callable[[], None] = lambda: None
) -> Result:
    """Return what ``action`` returns, tried anew after ConnectionLost; raises the last one."""
    for seconds in PAUSES_SECONDS:
        try:
            return action()
        except ConnectionLost:
            on_retry()
            threading.Event().wait(seconds)
            try:
                store.reconnect()
            except ConnectionLost:
                continue
    return action()


# -- Which backups there are; one counts only with its manifest, which is sent last.


@dataclass(frozen=True, slots=True)
class RemoteBackup:
    """A backup's folder there; ``problem`` says why it has no manifest.

    ``is_future``: it is dated after now, so a clock was wrong then, or is now.
    """

    id: str
    manifest: Manifest | None
    problem: str | None = None
    is_future: bool = False

    @property
    def age_key(self) -> tuple[bool, datetime, str]:
        """What sorts them by their making; those dated in the future are the first."""
        order = self.manifest.order if self.manifest is not None else None
        return not self.is_future, order or datetime.min.replace(tzinfo=UTC), self.id


def list_remote(store: Store) -> list[RemoteBackup]:
    """Return the backups of a remote place, the newest last; raises OwctlError.

    Those dated in the future are the first: none of them is the newest while there is another.
    """
    names = [name for name in persistently(store, store.folders) if _ID.fullmatch(name)]
    found = [each for name in names if (each := _look_at(store, name)) is not None]
    return sorted(found, key=lambda each: each.age_key)


def find_remote(store: Store, reference: str, project: str | None = None) -> str:
    """Return the id that a user means: an id, its beginning, or ``latest``; raises UsageError.

    ``latest`` is the newest whole one; of ``project``, if that is given; one dated in the future
    only if there is no other.
    """
    if reference == LATEST:
        return _latest(store, project)
    names = [name for name in persistently(store, store.folders) if _ID.fullmatch(name)]
    fitting = [name for name in names if name == reference] or [
        name for name in names if name.startswith(reference)
    ]
    if len(fitting) != 1:
        raise UsageError(
            f"{reference} is the beginning of {len(fitting)} backups there."
            if fitting
            else f"There is no backup {reference} there.",
            hint="owctl backup pull REMOTE, which lists them",
        )
    return fitting[0]


def _latest(store: Store, project: str | None) -> str:
    whole = [(each.id, each.manifest) for each in list_remote(store) if each.manifest is not None]
    fitting = [name for name, manifest in whole if project in (None, manifest.project)]
    if not fitting and whole:
        raise UsageError(
            f"There is no whole backup of the project {project} there, but of others.",
            hint="owctl backup pull REMOTE, which lists them; then one by its ID",
        )
    if not fitting:
        raise UsageError("There is no whole backup there.", hint="owctl backup push REMOTE")
    return fitting[-1]


def read_document(store: Store, backup_id: str, name: str) -> bytes | None:
    """Return a small file of a backup, None where there is none; raises OwctlError."""

    def read() -> bytes | None:
        size = store.files(backup_id).get(name)
        if size is None:
            return None
        if size > _LARGEST_DOCUMENT_BYTES:
            raise BackupInvalid(f"{name} is larger than any such file can be.")
        return b"".join(store.read(f"{backup_id}/{name}", size))

    return persistently(store, read)


def is_id(name: str) -> bool:
    """Return whether a backup can have that name elsewhere."""
    return _ID.fullmatch(name) is not None


def check_id(backup_id: str) -> None:
    """Raise OwctlError for a name under which no backup can be stored elsewhere."""
    if not _ID.fullmatch(backup_id):
        raise OwctlError(
            f"{backup_id!r} cannot be the name of a backup elsewhere.",
            hint="letters, digits, dots, dashes and underscores only: rename the folder",
        )


def _look_at(store: Store, name: str) -> RemoteBackup | None:
    """Return what stands in a folder, None for one that has nothing to do with backups."""
    try:
        data = read_document(store, name, MANIFEST_NAME)
        if data is not None:
            manifest = manifests.parse(data)
            return RemoteBackup(name, manifest, is_future=is_future(manifest))
    except BackupInvalid as error:
        return RemoteBackup(name, None, error.message)
    names = persistently(store, partial(store.files, name))
    if any("/part-" in each for each in names):
        return RemoteBackup(name, None, "not whole: push it again")
    return None
