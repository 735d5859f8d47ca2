"""What must hold of the backups, whatever happened: none lost, none false."""

import hashlib
import shutil
from pathlib import Path

from owctl.backup.catalogue import list_backups
from owctl.backup.verify import verify_backup
from owctl.errors import OwctlError
from torture.subject import Result, Subject, Trouble

CREATED = "Backup created"
_KEPT = 3
_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'owctl%'"
_WAIT = (
    "SELECT pg_sleep(0.05) FROM generate_series(1, 100) WHERE EXISTS (SELECT FROM "
    "pg_stat_activity WHERE application_name LIKE 'owctl%');"
)


def fingerprint(folder: Path) -> str:
    """Return one hash over all names and bytes of a backup."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def names(subject: Subject) -> set[str]:
    """Return the names of what is a backup by its name."""
    if not subject.backups.is_dir():
        return set()
    return {p.name for p in subject.backups.iterdir() if not p.name.endswith(".partial")}


def make_precious(subject: Subject) -> dict[str, str]:
    """Make the backup that must outlive all that follows; returns its fingerprint by name."""
    before = names(subject)
    subject.succeed("backup", "--label", "precious")
    (name,) = names(subject) - before
    return {name: fingerprint(subject.backups / name)}


def check_new(subject: Subject, before: set[str], result: Result) -> int:
    """Check what a run left: what looks like a backup is one, and "created" was not said of nothing.

    Returns how many backups are new. Raises Trouble.
    """
    new = names(subject) - before
    if (CREATED in result.stdout or result.exit_code == 0) and not new:
        raise Trouble(f"there is no backup\n{result}")
    for backup in list_backups(subject.backups):
        if backup.id in new:
            try:
                verify_backup(backup.path, backup.read_manifest())
            except OwctlError as error:
                raise Trouble(f"{backup.id} is not whole: {error.message}\n{result}") from error
    return len(new)


def check_earlier(subject: Subject, precious: dict[str, str]) -> None:
    """Raise Trouble unless the earlier backups are as they were."""
    for name, expected in precious.items():
        if fingerprint(subject.backups / name) != expected:
            raise Trouble(f"the earlier backup {name} is not what it was")


def check_whole(subject: Subject) -> None:
    """Make a whole backup; it clears leftovers away, and every service runs again."""
    before = names(subject)
    result = subject.succeed("backup")
    if check_new(subject, before, result) != 1:
        raise Trouble(f"not one new backup\n{result}")
    if left := [path.name for path in subject.backups.glob("*.partial")]:
        raise Trouble(f"leftovers: {', '.join(left)}")
    if subject.sql(_WAIT + _SESSIONS).splitlines()[-1] != "0":
        raise Trouble("sessions of a killed owctl go on in the database")
    subject.healthy()


def forget_most(subject: Subject, precious: dict[str, str]) -> None:
    """Remove all but the precious and the newest backups: this disk is not the subject."""
    for name in sorted(names(subject) - precious.keys())[:-_KEPT]:
        shutil.rmtree(subject.backups / name)
