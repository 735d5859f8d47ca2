"""One flipped bit, a cut, a missing file, in every file of a backup: noticed, and nothing touched."""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from owctl.backup.catalogue import RECORD_NAME
from torture.backups import names
from torture.report import Tally
from torture.subject import Subject, Trouble

_INVALID = 7


def damaged_backups(subject: Subject, runs: int, random: Random) -> Tally:
    """Damage one file after the other, verify and restore: both must refuse with exit code 7."""
    tally = Tally(
        "restore", "a flipped bit, a cut, a missing file, in every member and the manifest"
    )
    subject.change("saved")
    before = names(subject)
    subject.succeed("backup")
    (name,) = names(subject) - before
    folder = subject.backups / name
    live = subject.change("live")
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != RECORD_NAME]
    damages = [(member, damage) for member in sorted(files) for damage in (_flip, _cut, _remove)]
    random.shuffle(damages)
    while tally.runs < runs:
        for member, damage in damages[: runs - tally.runs]:
            _refused(subject, folder, member, damage, random)
            tally.count("refused, nothing touched")
    if subject.signature() != live:
        raise Trouble("a backup that was refused changed the stack")
    subject.succeed("backup", "verify", name)
    return tally


def _refused(
    subject: Subject,
    folder: Path,
    member: Path,
    damage: Callable[[Path, Random], None],
    random: Random,
) -> None:
    copy = subject.folder / "damaged"
    shutil.copytree(folder, copy)
    try:
        damage(copy / member.relative_to(folder), random)
        words = ("restore", str(copy), "--yes", "--no-safety-backup")
        for result in (subject.owctl("backup", "verify", str(copy)), subject.owctl(*words)):
            if result.exit_code != _INVALID or "Try:" not in result.stderr:
                raise Trouble(f"{damage.__name__} in {member.name} was not refused\n{result}")
        if subject.restore_phase() is not None:
            raise Trouble(f"{damage.__name__} in {member.name}: a restore was begun")
    finally:
        shutil.rmtree(copy)


def _flip(path: Path, random: Random) -> None:
    data = bytearray(path.read_bytes())
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def _cut(path: Path, random: Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: random.randrange(len(data))])


def _remove(path: Path, _: Random) -> None:
    path.unlink()
