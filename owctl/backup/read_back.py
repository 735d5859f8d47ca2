"""Looking at a whole backup again: every member is read, and what was found is written down."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from owctl.backup import verification
from owctl.backup.encryption import Identity
from owctl.backup.events import MemberProgress, Receiver, ignore
from owctl.backup.manifest import MANIFEST_NAME, Manifest
from owctl.backup.publish import LOCK_NAME
from owctl.backup.verification import RECORD_NAME, Verification, read_record, write_record
from owctl.backup.verify import verify_member
from owctl.errors import BackupInvalid, OwctlError


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What a look at a backup found.

    ``problems`` has one text for each damaged member, which it names. ``extra_files`` lie in the
    folder and are no part of the backup, by their path in it.
    """

    problems: tuple[str, ...]
    extra_files: tuple[str, ...]
    content_bytes: int
    seconds: float

    @property
    def is_sound(self) -> bool:
        """Whether everything was as the manifest says."""
        return not self.problems


def read_back(
    folder: Path,
    manifest: Manifest,
    receive: Receiver = ignore,
    *,
    identities: Sequence[Identity] = (),
) -> ReadBack:
    """Read every member of a backup, also after one that is damaged.

    Of an encrypted one only the SHA-256 is compared where no ``identities`` are given. Raises
    Interrupted, and ConfigurationError for identities that do not fit.
    """
    began = time.monotonic()
    problems = []
    for member in manifest.members:
        receive(MemberProgress(member.name, "verifying", 0))

        def report(done_bytes: int, name: str = member.name) -> None:
            receive(MemberProgress(name, "verifying", done_bytes))

        try:
            verify_member(folder, member, identities=identities, on_bytes=report)
        except BackupInvalid as error:
            problems.append(" ".join([error.message, *error.details]))
            receive(MemberProgress(member.name, "damaged", 0))
        else:
            receive(MemberProgress(member.name, "verified", member.content_size_bytes))
    return ReadBack(
        tuple(problems),
        _extra_files(folder, manifest),
        sum(member.content_size_bytes for member in manifest.members),
        time.monotonic() - began,
    )


def write_down(
    folder: Path, problems: tuple[str, ...], *, drill: bool = False
) -> tuple[Verification, str | None]:
    """Record the outcome of a look at a backup beside its manifest.

    A drill goes on counting for later looks that only read: they show that it is the same backup
    still. Returns the record, and why it could not be written (a medium that is read-only) or None.
    """
    earlier = read_record(folder)
    drilled = drill or (earlier is not None and earlier.status == "ok" and earlier.drill)
    found = (
        verification.now("failed", drill=drill, problem=_sentence(problems))
        if problems
        else verification.now("ok", drill=drilled)
    )
    try:
        write_record(folder, found)
    except OwctlError as error:
        return found, error.message
    return found, None


def _sentence(problems: tuple[str, ...]) -> str:
    return "; ".join(each.rstrip(".") for each in problems) + "."


def _extra_files(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    known = {MANIFEST_NAME, RECORD_NAME, LOCK_NAME} | {each.name for each in manifest.members}
    found = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    )
    return tuple(
        name for name in found if name not in known and not name.startswith(f".{RECORD_NAME}.")
    )
