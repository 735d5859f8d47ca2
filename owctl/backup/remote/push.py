"""Copying a backup to another place: what is missing there is sent, checked, and named at the end."""

from dataclasses import dataclass
from functools import partial

from owctl.backup import manifest as manifests
from owctl.backup.catalogue import Backup
from owctl.backup.manifest import MANIFEST_NAME, Member
from owctl.backup.remote.contents import check_id
from owctl.backup.remote.events import Receiver, TransferProgress, ignore
from owctl.backup.remote.parts import PART_BYTES, Parts, plan_parts
from owctl.backup.remote.persistence import persistently
from owctl.backup.remote.sender import Sender
from owctl.backup.remote.store import Store
from owctl.backup.verify import verify_backup
from owctl.errors import BackupInvalid


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did, or would do: all ``parts``, and how many of them had to be sent."""

    id: str
    parts: int
    sent_parts: int
    sent_bytes: int
    size_bytes: int


def push_backup(
    backup: Backup,
    store: Store,
    receive: Receiver = ignore,
    *,
    read_back: bool = False,
    dry_run: bool = False,
    part_bytes: int = PART_BYTES,
) -> Pushed:
    """Copy a backup, and return when it is whole there.

    Parts that are there and sound are not sent again. A backup that is whole there is left alone
    unless ``read_back`` asks for all of it to be checked. Raises BackupInvalid, before anything is
    sent, for a backup that is broken here; other OwctlErrors where the place cannot be used. May be
    killed at any moment, and run twice at once: the same parts are written, each in one step.
    """
    check_id(backup.id)
    manifest_data, parts = _examine(backup, receive, part_bytes)
    sender = Sender(backup, store, parts, receive)
    present = persistently(store, partial(store.files, backup.id))
    whole = sender.is_whole(present, manifest_data)
    missing = [] if whole and not read_back else sender.missing(present)
    if not dry_run and (missing or not whole):
        if missing and MANIFEST_NAME in present:
            # What is not whole must not look as if it were.
            persistently(store, partial(store.remove, f"{backup.id}/{MANIFEST_NAME}"))
        for part in missing:
            sender.send(part)
        sender.finish(manifest_data)
    return Pushed(
        id=backup.id,
        parts=len(list(parts)),
        sent_parts=len(missing),
        sent_bytes=sum(part.size_bytes for part in missing),
        size_bytes=backup.read_manifest().size_bytes,
    )


def _examine(backup: Backup, receive: Receiver, part_bytes: int) -> tuple[bytes, Parts]:
    """Divide a backup that is sound; raises BackupInvalid for one that is not."""
    record = backup.verification
    if record is not None and record.status == "failed":
        raise BackupInvalid(
            f"{backup.id} was found broken at {record.checked_at}: {record.problem}",
            hint="another backup; owctl backup list shows them",
        )
    manifest = backup.read_manifest()
    if record is None:
        # Nobody has looked into it yet; otherwise the hashes, below, say that it is the same still.
        verify_backup(backup.path, manifest)
    try:
        data = (backup.path / MANIFEST_NAME).read_bytes()
    except OSError as error:
        raise BackupInvalid(f"{backup.id} has no manifest that can be read.") from error
    if manifests.parse(data) != manifest:
        raise BackupInvalid(f"{backup.id} changes while it is read.", hint="owctl backup verify")

    def on_bytes(member: Member, done: int) -> None:
        receive(TransferProgress(member.name, "hashing", done, member.size_bytes))

    return data, plan_parts(backup.path, data, manifest, part_bytes=part_bytes, on_bytes=on_bytes)
