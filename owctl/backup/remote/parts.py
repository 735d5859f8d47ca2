"""A backup in parts: of what size and SHA-256 each is, ``parts.json``, and how far their transfer is."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from owctl.backup.manifest import Manifest, Member
from owctl.errors import BackupInvalid
from owctl.progress import Event

PARTS_NAME = "parts.json"
PART_BYTES = 64 * 1024 * 1024
SCHEMA = 1
_READ_BYTES = 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a member; ``number`` counts from 1."""

    member: str
    number: int
    offset: int
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The part's name in the backup's folder; names sort by number."""
        return f"{self.member}/part-{self.number:05d}"


@dataclass(frozen=True, slots=True)
class Parts:
    """All parts of a backup, by member in the manifest's order."""

    manifest_sha256: str
    by_member: dict[str, tuple[Part, ...]]

    def __iter__(self) -> Iterator[Part]:
        for parts in self.by_member.values():
            yield from parts

    def to_bytes(self) -> bytes:
        """Return what ``parts.json`` holds."""
        members = [
            {
                "name": name,
                "parts": [
                    {"name": part.name, "size_bytes": part.size_bytes, "sha256": part.sha256}
                    for part in parts
                ],
            }
            for name, parts in self.by_member.items()
        ]
        document = {"schema": SCHEMA, "manifest_sha256": self.manifest_sha256, "members": members}
        return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def plan_parts(
    folder: Path,
    manifest_data: bytes,
    manifest: Manifest,
    *,
    part_bytes: int = PART_BYTES,
    on_bytes: Callable[[Member, int], None] = lambda *_: None,
) -> Parts:
    """Divide the members of a backup, reading each once.

    ``on_bytes`` is told the bytes read of a member so far. Raises BackupInvalid for a member that is
    not what the manifest says.
    """
    by_member = {}
    for member in manifest.members:
        try:
            with (folder / member.name).open("rb") as file:
                parts, sha256 = _divide(file, member, part_bytes, on_bytes)
        except OSError as error:
            raise BackupInvalid(
                f"{member.name} cannot be read: {error.strerror or error}.",
                hint="another backup; owctl backup list shows them",
            ) from error
        if sha256 != member.sha256:
            raise BackupInvalid(
                f"{member.name}: its SHA-256 is not the manifest's.",
                hint="another backup; owctl backup list shows them",
            )
        by_member[member.name] = parts
    return Parts(hashlib.sha256(manifest_data).hexdigest(), by_member)


def parse_parts(data: bytes, manifest_data: bytes, manifest: Manifest) -> Parts:
    """Read ``parts.json`` as it goes with a manifest; raises BackupInvalid."""
    try:
        document = json.loads(data)
        if document["schema"] > SCHEMA:
            raise BackupInvalid(f"{PARTS_NAME} is of a newer owctl.", hint="a newer owctl")
        found = Parts(
            str(document["manifest_sha256"]),
            {str(entry["name"]): _parts(entry) for entry in document["members"]},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BackupInvalid(
            f"{PARTS_NAME} is damaged ({type(error).__name__}: {error})."
        ) from error
    if found.manifest_sha256 != hashlib.sha256(manifest_data).hexdigest():
        raise BackupInvalid(f"{PARTS_NAME} and the manifest do not belong together.")
    sizes = {member.name: member.size_bytes for member in manifest.members}
    if {name: sum(p.size_bytes for p in parts) for name, parts in found.by_member.items()} != sizes:
        raise BackupInvalid(f"{PARTS_NAME} does not make up what the manifest names.")
    return found


def _divide(
    file: BinaryIO, member: Member, part_bytes: int, on_bytes: Callable[[Member, int], None]
) -> tuple[tuple[Part, ...], str]:
    parts: list[Part] = []
    whole, offset = hashlib.sha256(), 0
    while True:
        digest, size = hashlib.sha256(), 0
        while size < part_bytes and (data := file.read(min(_READ_BYTES, part_bytes - size))):
            digest.update(data)
            whole.update(data)
            size += len(data)
            on_bytes(member, offset + size)
        # An empty member has one part, too, so that every member is there by name.
        if size or not parts:
            parts.append(Part(member.name, len(parts) + 1, offset, size, digest.hexdigest()))
        offset += size
        if size < part_bytes:
            return tuple(parts), whole.hexdigest()


def _parts(entry: dict[str, Any]) -> tuple[Part, ...]:
    parts: list[Part] = []
    offset = 0
    for number, each in enumerate(entry["parts"], 1):
        size, sha256 = int(each["size_bytes"]), str(each["sha256"])
        if size < 0 or not _SHA256.fullmatch(sha256):
            raise ValueError(f"{entry['name']}: part {number}")
        # The name is not taken from there: it is known, and must not lead elsewhere.
        parts.append(Part(str(entry["name"]), number, offset, size, sha256))
        offset += size
    if not parts:
        raise ValueError(f"{entry['name']} has no part")
    return tuple(parts)


def transfer(member: str, stage: str, done: int, total: int, moved: int = 0) -> Event:
    """Tell how far a member is, in bytes as stored; ``stage`` is what is done, or "done".

    ``moved`` bytes went over the line in this run; what was there already did not.
    """
    if stage == "done":
        return Event(member, "done", "", "transfer", "", total, total, moved)
    return Event(member, "working", stage, "transfer", "", done, total, moved)
