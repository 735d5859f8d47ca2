"""One backup on its way to another place: which parts are missing, and sending them until sound."""

import hashlib
import tempfile
from functools import partial
from pathlib import Path

from owctl.backup.catalogue import Backup
from owctl.backup.manifest import MANIFEST_NAME
from owctl.backup.remote.contents import read_document
from owctl.backup.remote.events import Receiver, Stage, TransferProgress
from owctl.backup.remote.parts import PARTS_NAME, Part, Parts
from owctl.backup.remote.persistence import persistently
from owctl.backup.remote.store import Content, MissingRemotely, Store
from owctl.errors import OwctlError

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
            self.receive(TransferProgress(name, "done", self.sizes[name], self.sizes[name]))
        return found

    def send(self, part: Part) -> None:
        """Send a part until it reads back as what it is; raises OwctlError if it never does."""
        for _ in range(_SENDINGS):
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

    def finish(self, manifest_data: bytes) -> None:
        """Remove what does not belong, then write the two documents; the manifest makes it whole."""
        wanted = {part.name for part in self.parts}
        for name in persistently(self.store, partial(self.store.files, self.backup.id)):
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
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(data)

            def send() -> None:
                with Content(path, 0, len(data), hashlib.sha256(data).hexdigest()) as content:
                    self.store.send(remote_name, content)

            persistently(self.store, send)
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

    def _tell(self, part: Part, stage: Stage, done_bytes: int | None = None) -> None:
        done = self.done[part.member] if done_bytes is None else done_bytes
        size, moved = self.sizes[part.member], self.moved[part.member]
        self.receive(TransferProgress(part.member, stage, min(done, size), size, moved))
