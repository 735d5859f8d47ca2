"""The backups of a folder: found, looked at, and whether each was verified."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from owctl.backup import manifest as manifests
from owctl.backup.manifest import LONGEST_STEP, MANIFEST_NAME, Kind, Manifest
from owctl.backup.member_file import cannot_write
from owctl.errors import BackupInvalid, OwctlError, UsageError
from owctl.project.private_file import put_file

# -- The record of the last look at a backup, beside its manifest.

RECORD_NAME = "verification.json"
SCHEMA = 1
Status = Literal["ok", "failed"]


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of reading a backup back.

    ``checked_at`` is ISO 8601 in UTC; ``drill`` says that it was restored into a database of its own,
    too; ``problem`` is what was wrong.
    """

    status: Status
    checked_at: str
    drill: bool = False
    problem: str | None = None


def now(status: Status, *, drill: bool = False, problem: str | None = None) -> Verification:
    """Return a record of a look that ends now."""
    return Verification(status, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", drill, problem)


def write_record(folder: Path, verification: Verification) -> None:
    """Put the record beside the manifest that was verified, durably; raises OwctlError."""
    document = {"schema": SCHEMA, **asdict(verification), "manifest_sha256": _manifest_hash(folder)}
    path = folder / RECORD_NAME
    data = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    try:
        put_file(path, data)
    except OSError as error:
        raise cannot_write(path, error) from error


def read_record(folder: Path) -> Verification | None:
    """Return the record, None where there is none that belongs to this very manifest."""
    try:
        document = json.loads((folder / RECORD_NAME).read_bytes())
        if document["manifest_sha256"] != _manifest_hash(folder):
            return None
        status: Status = "ok" if document["status"] == "ok" else "failed"
        return Verification(
            status, str(document["checked_at"]), bool(document["drill"]), document["problem"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _manifest_hash(folder: Path) -> str | None:
    try:
        return hashlib.sha256((folder / MANIFEST_NAME).read_bytes()).hexdigest()
    except OSError:
        return None


# -- Which backups there are, and which one a user means.

FOLDER_NAME = "backups"
LATEST = "latest"
# Two machines' clocks, or one before and after it was set, may be apart so far.
FUTURE_TOLERANCE = timedelta(minutes=10)
_PART_KINDS: dict[str, set[Kind]] = {
    "db": {"database"},
    "files": {"volume", "sqlite"},
    "config": {"configuration"},
}
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup's folder.

    ``problem`` is what can be seen to be wrong without reading it all: the manifest, which is None
    then, or a file that is missing or of another size. ``is_future``: it is dated after now, so a clock
    was wrong then or is wrong now, and how old it is cannot be told.
    """

    path: Path
    manifest: Manifest | None
    verification: Verification | None = None
    problem: str | None = None
    is_future: bool = False

    @property
    def id(self) -> str:
        """The folder's name; a backup that was copied under another name goes by that."""
        return self.path.name

    @property
    def is_verified(self) -> bool:
        """Whether the last look at it found it sound, and nothing speaks against that now."""
        return (
            self.problem is None
            and self.verification is not None
            and self.verification.status == "ok"
        )

    @property
    def broken_because(self) -> str | None:
        """What is wrong with it, None if nothing is known to be."""
        if self.problem is not None:
            return self.problem
        if self.verification is not None and self.verification.status == "failed":
            return self.verification.problem or "it was damaged when it was last read"
        return None

    @property
    def parts(self) -> tuple[str, ...]:
        """What it holds, such as ``db`` and ``files``."""
        if self.manifest is None:
            return ()
        named = self.manifest.stack.get("parts")
        if isinstance(named, list) and named:
            return tuple(str(part) for part in named)
        kinds = {member.kind for member in self.manifest.members}
        return tuple(part for part, some in _PART_KINDS.items() if kinds & some)

    @property
    def lacks(self) -> tuple[dict[str, str], ...]:
        """What it should hold and does not: ``kind``, ``name`` and ``why``."""
        return tuple(self.manifest.stack.get("lacks", ())) if self.manifest is not None else ()

    def read_manifest(self) -> Manifest:
        """Return the manifest; raises BackupInvalid."""
        return self.manifest or manifests.read(self.path)


def list_backups(parent: Path, now: datetime | None = None) -> list[Backup]:
    """Return the backups in a folder in the order of their making; none if there is no such folder.

    The newest is the last. Those dated in the future are the first, so that none of them is the newest
    while there is another. What owctl named counts even without a manifest that can be read; ``.partial`` folders and other
    things do not. Raises OwctlError where the folder cannot be read.
    """
    try:
        folders = [path for path in parent.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OwctlError(
            f"The backups in {parent} cannot be read: {error.strerror}.",
            hint="run this as the user who made them",
        ) from error
    found = [
        look_at(path, now)
        for path in folders
        if _ID.fullmatch(path.name)
        or (not path.name.startswith(".") and path.suffix == "" and _has_manifest(path))
    ]
    return sorted(found, key=_age_key)


def next_order(parent: Path, project: str, now: datetime) -> datetime:
    """Return the place in time of a backup that is made now: after all that were made before.

    A clock that was put back by more than ``LONGEST_STEP`` is not made up for. Raises OwctlError.
    """
    before = [
        order
        for each in list_backups(parent, now)
        if each.manifest is not None and each.manifest.project == project
        if (order := each.manifest.order) is not None and order - now < LONGEST_STEP
    ]
    return max([now, *(order + timedelta(microseconds=1) for order in before)])


def is_future(manifest: Manifest, now: datetime | None = None) -> bool:
    """Return whether a backup is dated so far after now that a clock must have been wrong."""
    moment = manifest.moment
    return moment is not None and moment > (now or datetime.now(UTC)) + FUTURE_TOLERANCE


def has_own_name(backup: Backup) -> bool:
    """Whether the folder is named as owctl named it, and no link to one elsewhere."""
    return (
        backup.manifest is not None
        and backup.manifest.id == backup.id
        and _ID.fullmatch(backup.id) is not None
        and not backup.path.is_symlink()
    )


def look_at(path: Path, now: datetime | None = None) -> Backup:
    """Return what stands in a backup's folder; reads the small files only, raises nothing."""
    try:
        manifest = manifests.read(path)
    except BackupInvalid as error:
        return Backup(path, None, problem=error.message)
    return Backup(
        path,
        manifest,
        read_record(path),
        _visible_problem(path, manifest),
        is_future(manifest, now),
    )


def find_backup(
    parent: Path, reference: str, working_dir: Path, project: str | None = None
) -> Backup:
    """Return the backup that a user names: an id, its beginning, ``latest``, or a path.

    A path has a slash in it, or is a folder with a manifest, seen from ``working_dir``. ``latest`` is
    the newest one that is not known to be broken; of ``project``, if that is given; one dated in the
    future only if there is no other. Raises UsageError if none or several fit.
    """
    path = (working_dir / reference).resolve()
    if "/" in reference or (path / MANIFEST_NAME).is_file():
        if not path.is_dir():
            raise UsageError(f"There is no folder {path}.", hint="owctl backup list")
        return look_at(path)
    backups = list_backups(parent)
    if reference == LATEST:
        sound = [
            each
            for each in backups
            if each.broken_because is None and project in (None, each.read_manifest().project)
        ]
        if not sound:
            raise UsageError(f"There is no backup in {parent}.", hint="owctl backup")
        return sound[-1]
    exact = [each for each in backups if each.id == reference]
    fitting = exact or [each for each in backups if each.id.startswith(reference)]
    if not fitting:
        raise UsageError(f"There is no backup {reference} in {parent}.", hint="owctl backup list")
    if len(fitting) > 1:
        raise UsageError(
            f"{reference} is the beginning of {len(fitting)} backups: "
            f"{', '.join(each.id for each in fitting[:3])}{' …' if len(fitting) > 3 else ''}.",
            hint="more of the id; owctl backup list shows them",
        )
    return fitting[0]


def _has_manifest(path: Path) -> bool:
    try:
        return (path / MANIFEST_NAME).exists()
    except OSError:
        return False  # such as lost+found, which not everybody may enter


def _visible_problem(path: Path, manifest: Manifest) -> str | None:
    for member in manifest.members:
        try:
            size = (path / member.name).stat().st_size
        except FileNotFoundError:
            return f"{member.name} is missing."
        except OSError as error:
            return f"{member.name} cannot be read: {error.strerror}."
        if size != member.size_bytes:
            return f"{member.name} has {size} bytes, the manifest says {member.size_bytes}."
    return None


def _age_key(backup: Backup) -> tuple[bool, datetime, int, str]:
    order = backup.manifest.order if backup.manifest is not None else None
    # Before ``ordered_at``, two of one second differ by when their manifests were written.
    return not backup.is_future, order or _named_time(backup.id), _written_at(backup), backup.id


def _named_time(name: str) -> datetime:
    """Return the time in a backup's name, so that broken ones stand among the others."""
    try:
        return datetime.strptime(name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _written_at(backup: Backup) -> int:
    try:
        return (backup.path / MANIFEST_NAME).stat().st_mtime_ns
    except OSError:
        return 0
