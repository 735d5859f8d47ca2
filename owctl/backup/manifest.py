"""The manifest: what a backup says it holds. Written last, so that a backup is one only with it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from owctl.errors import BackupInvalid
from owctl.figures import parse_time

Part = Literal["db", "files", "redis", "config"]
PARTS: tuple[Part, ...] = get_args(Part)
MANIFEST_NAME = "manifest.json"
SCHEMA = 1
Kind = Literal["database", "volume", "sqlite", "configuration"]
# As far as a clock that was put back is made up for: one that took a time zone for another, say.
LONGEST_STEP = timedelta(days=1)
_ANOTHER = "owctl backup list, for another one"
# Where Open WebUI has what people made; each with rows in every stack that is used.
_TABLES_OF_PEOPLE = frozenset({"user", "chat"})
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a backup.

    ``name`` is its path in the backup's folder. ``size_bytes`` and ``sha256`` are those of the file
    as stored, ``content_size_bytes`` is the size before compression. ``detail`` depends on the
    kind (docs/backup-format.md).
    """

    name: str
    kind: Kind
    size_bytes: int
    sha256: str
    content_size_bytes: int
    detail: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the member as it stands in the manifest."""
        return {
            "name": self.name,
            "kind": self.kind,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "content_size_bytes": self.content_size_bytes,
            **({"detail": dict(self.detail)} if self.detail else {}),
        }


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a backup says about itself. Times are ISO 8601 in UTC.

    ``ordered_at`` is its place among others: the time to the microsecond, or, where the clock had been
    put back, right behind the one that was made before; None in backups of an earlier owctl.
    ``encryption`` is None, or has ``format`` (``age``) and ``recipients``, public keys.
    """

    id: str
    project: str
    created_at: str
    duration_ms: int
    members: tuple[Member, ...]
    label: str | None = None
    owctl_version: str = ""
    engine: Mapping[str, Any] = field(default_factory=dict)
    services: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stack: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    encryption: Mapping[str, Any] | None = None
    ordered_at: str | None = None

    @property
    def moment(self) -> datetime | None:
        """When it was begun by the clock of its machine; None where that cannot be read."""
        return _moment(self.created_at)

    @property
    def order(self) -> datetime | None:
        """Its place in time among others; None where its time cannot be read."""
        moment, order = self.moment, _moment(self.ordered_at or "")
        # It is a place in the second, or makes up for a clock; it moves no backup to another year.
        if moment is None or order is None:
            return moment
        # ``created_at`` is in whole seconds.
        return (
            order
            if timedelta() <= order - moment <= LONGEST_STEP + timedelta(seconds=1)
            else moment
        )

    @property
    def holds_data(self) -> bool | None:
        """Whether it has accounts or chats (rows at all, of another application).

        None for one that was not to hold a database.
        """
        counted = [m for m in self.members if m.kind in ("database", "sqlite")]
        if not counted and "db" not in self.stack.get("parts", ()):
            return None
        return any(holds_data(member) for member in counted)

    @property
    def size_bytes(self) -> int:
        """The size of all members as stored."""
        return sum(member.size_bytes for member in self.members)

    def to_json(self) -> dict[str, Any]:
        """Return the document that ``manifest.json`` holds."""
        return {
            "schema": SCHEMA,
            "id": self.id,
            "project": self.project,
            "label": self.label,
            "created_at": self.created_at,
            **({"ordered_at": self.ordered_at} if self.ordered_at is not None else {}),
            "duration_ms": self.duration_ms,
            "size_bytes": self.size_bytes,
            "owctl_version": self.owctl_version,
            "engine": dict(self.engine),
            "stack": dict(self.stack),
            "services": {name: dict(entry) for name, entry in self.services.items()},
            "members": [member.to_json() for member in self.members],
            "warnings": list(self.warnings),
            **({"encryption": dict(self.encryption)} if self.encryption is not None else {}),
        }


def dump(manifest: Manifest) -> bytes:
    """Return the bytes of ``manifest.json``."""
    return (json.dumps(manifest.to_json(), indent=2, ensure_ascii=False) + "\n").encode()


def read(folder: Path) -> Manifest:
    """Read the manifest of the backup in ``folder``; raises BackupInvalid."""
    path = folder / MANIFEST_NAME
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        raise BackupInvalid(
            f"{folder} is not a backup: it has no {MANIFEST_NAME}.",
            hint="owctl backup, which makes a new one",
        ) from None
    except OSError as error:
        raise BackupInvalid(f"Cannot read {path}: {error.strerror}.", hint=_ANOTHER) from error
    except BackupInvalid as error:
        raise BackupInvalid(f"{path}: {error.message}", hint=error.hint or _ANOTHER) from error


def parse(data: bytes) -> Manifest:
    """Read a manifest; raises BackupInvalid if it is damaged or of a newer kind."""
    try:
        document = json.loads(data)
    except ValueError as error:
        raise BackupInvalid(f"the manifest is not JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("schema"), int):
        raise BackupInvalid("the manifest is not one of owctl's.")
    if document["schema"] > SCHEMA:
        raise BackupInvalid(
            f"the backup has schema {document['schema']}, this owctl knows {SCHEMA}.",
            hint="a newer owctl",
        )
    try:
        return Manifest(
            id=_text(document["id"]),
            project=_text(document["project"]),
            created_at=_text(document["created_at"]),
            duration_ms=int(document["duration_ms"]),
            members=tuple(_member(entry) for entry in document["members"]),
            label=document.get("label"),
            owctl_version=str(document.get("owctl_version", "")),
            engine=document.get("engine", {}),
            services=document.get("services", {}),
            stack=document.get("stack", {}),
            warnings=tuple(document.get("warnings", ())),
            encryption=_encryption(document.get("encryption")),
            ordered_at=None if (at := document.get("ordered_at")) is None else _text(at),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BackupInvalid(
            f"the manifest is damaged ({type(error).__name__}: {error})."
        ) from error


def _member(entry: Mapping[str, Any]) -> Member:
    name = _text(entry["name"])
    path = PurePosixPath(name)
    # A manifest may come from elsewhere: it must not name files outside of its folder.
    if path.is_absolute() or ".." in path.parts or path.parts[:1] == (MANIFEST_NAME,) or not name:
        raise ValueError(f"{name!r} is no name of a member")
    if entry["kind"] not in get_args(Kind):
        raise ValueError(f"{name}: unknown kind {entry['kind']!r}")
    if not _SHA256.fullmatch(_text(entry["sha256"])):
        raise ValueError(f"{name}: not a SHA-256")
    return Member(
        name=name,
        kind=entry["kind"],
        size_bytes=int(entry["size_bytes"]),
        sha256=entry["sha256"],
        content_size_bytes=int(entry["content_size_bytes"]),
        detail=entry.get("detail", {}),
    )


def holds_data(member: Member) -> bool:
    """Return whether a member is a database with accounts or chats (rows, without such tables)."""
    if member.kind not in ("database", "sqlite"):
        return False
    rows = member.detail.get("rows")
    if not isinstance(rows, Mapping):
        # What nobody counted is not taken for empty.
        return member.kind == "database"
    of_people = [n for name, n in rows.items() if name.rpartition(".")[2] in _TABLES_OF_PEOPLE]
    if of_people or member.kind == "sqlite":
        return any(of_people)
    return any(rows.values())


def _moment(text: str) -> datetime | None:
    try:
        found = parse_time(text)
        return None if found is None else found.astimezone(UTC)
    except OverflowError:
        return None


def _encryption(entry: object) -> Mapping[str, Any] | None:
    if entry is None:
        return None
    if not isinstance(entry, dict) or entry.get("format") != "age":
        raise ValueError("an encryption that this owctl does not know")
    return {**entry, "recipients": [_text(each) for each in entry["recipients"]]}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value
