"""A backup copied to another place, part by part, with what is there already left out."""

import hashlib
import socket
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from owctl.backup import manifest as manifests
from owctl.backup.catalogue import Backup
from owctl.backup.manifest import MANIFEST_NAME, Member
from owctl.backup.remote.parts import (
    PART_BYTES,
    PARTS_NAME,
    Part,
    Parts,
    plan_parts,
    transfer,
)
from owctl.backup.remote.place import check_id, is_id, persistently, read_document
from owctl.backup.remote.store import Content, MissingRemotely, Store
from owctl.backup.verify import verify_backup
from owctl.errors import BackupInvalid, OwctlError
from owctl.progress import Receiver, ignore

# -- One backup on its way to another place: which parts are missing, and sending them until sound.


_SENDINGS = 3


class Sender:
    """Brings the parts of a backup to a store; the methods raise OwctlError."""

    def __init__(self, backup: Backup, store: Store, parts: Parts, receive: Receiver) -> None:
        self.backup = backup
        self.store = store
        self.parts = parts
        self.receive = receive
        self.sizes = {member.name: member.size_bytes for member in backup.read_manifest().members}
        self.done = dict.fromkeys(self.sizes, 0)
        self.moved = dict.fromkeys(self.sizes, 0)

    def is_whole(self, present: dict[str, int], manifest_data: bytes) -> bool:
        """Return whether the backup stands there by name and size; raises OwctlError for another."""
        if MANIFEST_NAME not in present:
            return False
        if read_document(self.store, self.backup.id, MANIFEST_NAME) != manifest_data:
            raise OwctlError(
                f"There is another backup with the name {self.backup.id}, or its manifest is "
                "damaged.",
                hint="another place; or have a look at that one, and remove it",
            )
        if read_document(self.store, self.backup.id, PARTS_NAME) != self.parts.to_bytes():
            return False
        return all(present.get(part.name) == part.size_bytes for part in self.parts)

    def missing(self, present: dict[str, int]) -> list[Part]:
        """Return the parts that are not there, or not sound."""
        found = []
        for part in self.parts:
            if present.get(part.name) == part.size_bytes and self._is_sound(part):
                self.done[part.member] += part.size_bytes
                self._tell(part, "checking")
            else:
                found.append(part)
        for name in self.sizes.keys() - {part.member for part in found}:
            self.receive(transfer(name, "done", self.sizes[name], self.sizes[name]))
        return found

    def send(self, part: Part) -> None:
        """Send a part until it reads back as what it is; raises OwctlError if it never does."""
        for _ in range(_SENDINGS):
            with suppress(MissingRemotely):
                persistently(
                    self.store,
                    partial(self._send, part),
                    partial(self._tell, part, "trying again"),
                )
            if self._is_sound(part):
                self.done[part.member] += part.size_bytes
                whole = self.done[part.member] == self.sizes[part.member]
                self._tell(part, "done" if whole else "checking")
                return
        raise OwctlError(
            f"{part.name} does not read back as what was sent, {_SENDINGS} times over.",
            hint="another place: this one damages what it is given",
        )

    def clear(self, present: dict[str, int]) -> None:
        """Remove what a push that was killed left half written, also before a new connection.

        One that goes on at the same time meets MissingRemotely, and sends it again.
        """
        for name in present:
            if name.rpartition("/")[2].startswith("."):
                persistently(self.store, partial(self.store.remove, f"{self.backup.id}/{name}"))

    def finish(self, manifest_data: bytes) -> None:
        """Remove what does not belong, then write the two documents; the manifest makes it whole."""
        wanted = {part.name for part in self.parts}
        present = persistently(self.store, partial(self.store.files, self.backup.id))
        self.clear(present)
        for name in present:
            folder, _, file = name.rpartition("/")
            if name not in wanted and file.startswith("part-") and folder in self.sizes:
                # Of a push in parts of another size: `cat part-*` would take it for content.
                persistently(self.store, partial(self.store.remove, f"{self.backup.id}/{name}"))
        for name, data in ((PARTS_NAME, self.parts.to_bytes()), (MANIFEST_NAME, manifest_data)):
            self._send_document(name, data)

    def _send(self, part: Part) -> None:
        reached = self.done[part.member]

        def on_bytes(count: int) -> None:
            nonlocal reached
            reached += count
            self.moved[part.member] += count
            self._tell(part, "sending", reached)

        path = self.backup.path / part.member
        with Content(path, part.offset, part.size_bytes, part.sha256, on_bytes) as content:
            self.store.send(f"{self.backup.id}/{part.name}", content)

    def _send_document(self, name: str, data: bytes) -> None:
        remote_name = f"{self.backup.id}/{name}"
        send_bytes(self.store, remote_name, data)
        if read_document(self.store, self.backup.id, name) != data:
            persistently(self.store, partial(self.store.remove, remote_name))
            raise OwctlError(
                f"{name} does not read back as what was sent.",
                hint="the same command again; what is there and sound is not sent again",
            )

    def _is_sound(self, part: Part) -> bool:
        """Return whether a part has the right content: by the server's own word, or read back."""
        name = f"{self.backup.id}/{part.name}"

        def look() -> bool:
            known = self.store.server_sha256(name)
            if known is not None:
                return known == part.sha256
            digest, size = hashlib.sha256(), 0
            for data in self.store.read(name, part.size_bytes + 1):
                digest.update(data)
                size += len(data)
                self._tell(part, "checking", self.done[part.member] + size)
            return (size, digest.hexdigest()) == (part.size_bytes, part.sha256)

        try:
            return persistently(self.store, look)
        except MissingRemotely:
            return False

    def _tell(self, part: Part, stage: str, done_bytes: int | None = None) -> None:
        done = self.done[part.member] if done_bytes is None else done_bytes
        size, moved = self.sizes[part.member], self.moved[part.member]
        self.receive(transfer(part.member, stage, min(done, size), size, moved))


def send_bytes(store: Store, name: str, data: bytes) -> None:
    """Store a small document under a name; raises OwctlError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "document"
        path.write_bytes(data)

        def send() -> None:
            with Content(path, 0, len(data), hashlib.sha256(data).hexdigest()) as content:
                store.send(name, content)

        for _ in range(_SENDINGS - 1):
            with suppress(MissingRemotely):
                persistently(store, send)
                return
        persistently(store, send)


# -- Copying a backup to another place: what is missing there is sent, checked, and named at the end.


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
        note = _Note(backup, store)
        note.clear_abandoned()
        note.write()
        sender.clear(present)
        for part in missing:
            sender.send(part)
        sender.finish(manifest_data)
        note.remove()
    return Pushed(
        id=backup.id,
        parts=len(list(parts)),
        sent_parts=len(missing),
        sent_bytes=sum(part.size_bytes for part in missing),
        size_bytes=backup.read_manifest().size_bytes,
    )


# The notes of pushes under way, at the top of the place, by the backups' ids.
_NOTES = ".pushing"


class _Note:
    """Says there that a push is under way, and from where; a killed one leaves it."""

    def __init__(self, backup: Backup, store: Store) -> None:
        self.backup = backup
        self.store = store
        self.origin = f"{socket.gethostname()}:{backup.path.parent.resolve()}"

    def write(self) -> None:
        """Write the note; raises OwctlError."""
        data = self.origin.encode()
        send_bytes(self.store, f"{_NOTES}/{self.backup.id}", data)

    def remove(self) -> None:
        """Remove the note: what was pushed is whole."""
        persistently(self.store, partial(self.store.remove, f"{_NOTES}/{self.backup.id}"))

    def clear_abandoned(self) -> None:
        """Remove what killed pushes from this folder left of backups that are here no more.

        Nobody can go on with them. One that is here still can be pushed, or is just being pushed.
        """
        for name in persistently(self.store, partial(self.store.files, _NOTES)):
            if (self.backup.path.parent / name).exists() or not is_id(name):
                continue
            if (read_document(self.store, _NOTES, name) or b"").decode() != self.origin:
                continue
            if MANIFEST_NAME not in persistently(self.store, partial(self.store.files, name)):
                persistently(self.store, partial(self.store.remove_folder, name))
            persistently(self.store, partial(self.store.remove, f"{_NOTES}/{name}"))


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
        receive(transfer(member.name, "hashing", done, member.size_bytes))

    return data, plan_parts(backup.path, data, manifest, part_bytes=part_bytes, on_bytes=on_bytes)
