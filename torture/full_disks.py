"""Disks that are full, or become full: under the backups, under the database, under a volume."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

from torture.backups import check_earlier, check_new, make_precious, names
from torture.report import Tally
from torture.restore_kills import RestoreKills
from torture.subject import LABEL, Result, Subject, Trouble

MEGABYTE = 1_000_000
DISK_BYTES = {"postgres_data": 400 * MEGABYTE, "rust_backend_data": 60 * MEGABYTE}
# What a full disk has left: enough for a note that the disk is full.
_LEFT_BYTES = 300_000
_POLL_SECONDS = 0.005


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """Mount a file system of that size at ``folder`` for the while; needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size_bytes},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "owctl-torture", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def full_disk_in_backup(subject: Subject, runs: int, random: Random) -> Tally:
    """Back up onto disks that are too small, by a random amount."""
    tally = Tally("backup", "a disk that becomes full")
    precious = make_precious(subject)
    (name,) = precious
    needed = sum(p.stat().st_size for p in (subject.backups / name).rglob("*") if p.is_file())
    parent = subject.folder / "small"
    while tally.runs < runs:
        size_bytes = int(needed * random.uniform(0.05, 1.6)) + 65536
        with small_disk(parent, size_bytes):
            result = subject.owctl("backup", "--output", str(parent))
            left = [path.name for path in parent.iterdir()]
            if result.exit_code == 0:
                if len(left) != 1 or left[0] not in result.stdout:
                    raise Trouble(f"{left} is left\n{result}")
                subject.succeed("backup", "verify", str(parent / left[0]))
                tally.count("it fitted")
            else:
                if left or "Try:" not in result.stderr or "space" not in result.stderr:
                    raise Trouble(f"{left} is left\n{result}")
                tally.count("given up")
    check_earlier(subject, precious)
    before = names(subject)
    check_new(subject, before, subject.succeed("backup"))
    subject.healthy()
    return tally


class RestoreOnSmallDisks:
    """A stack whose database and files lie on small disks of their own. A context manager."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._stack = contextlib.ExitStack()
        self.disks: dict[str, Path] = {}

    def __enter__(self) -> "RestoreOnSmallDisks":
        project = self.subject.project
        for key, size_bytes in DISK_BYTES.items():
            folder = self.subject.folder / "disks" / key
            self.disks[key] = self._stack.enter_context(small_disk(folder, size_bytes))
            # Not the disk itself: what fills it up is not to be in the volume.
            (folder / "volume").mkdir()
            options = ("--opt", "type=none", "--opt", "o=bind", "--opt", f"device={folder}/volume")
            labels = ("--label", f"{LABEL}project={project}", "--label", f"{LABEL}volume={key}")
            self.subject.docker("volume", "create", *options, *labels, f"{project}_{key}")
        return self

    def __exit__(self, *_: object) -> None:
        self.subject.remove()
        self._stack.close()

    def run(self, runs: int, random: Random) -> Tally:
        """Fill one of the disks up before or in the middle of that many restores."""
        scene = RestoreKills(self.subject, random, outage=True)
        scene.tally = Tally("restore", "a disk that is full, or becomes full")
        while scene.tally.runs < runs:
            key = random.choice(sorted(self.disks))
            early = random.random() < 0.3
            delay = random.uniform(0, scene.duration / 3)
            result = self._restore(scene, self.disks[key] / "filler", None if early else delay)
            if result.exit_code == 0:
                outcome = "it was quicker"
            elif "Try:" not in result.stderr:
                raise Trouble(f"no way out is named\n{result}")
            else:
                outcome = f"{key} full {'before' if early else 'in the middle'}"
            scene.tally.count(outcome)
            scene.settle("restore")
        return scene.tally

    def _restore(self, scene: RestoreKills, filler: Path, delay: float | None) -> Result:
        """Restore while the disk is filled up: ``delay`` seconds after it began, None: before."""
        done = threading.Event()

        def fill_up() -> None:
            while self.subject.restore_phase() is None:
                if done.wait(_POLL_SECONDS):
                    return
            if not done.wait(delay):
                _fill(filler)

        thread = threading.Thread(target=fill_up)
        try:
            if delay is None:
                _fill(filler)
            else:
                thread.start()
            return self.subject.owctl(*scene.words)
        finally:
            done.set()
            if delay is not None:
                thread.join()
            filler.unlink(missing_ok=True)


def _fill(filler: Path) -> None:
    status = os.statvfs(filler.parent)
    size_bytes = status.f_bavail * status.f_frsize - _LEFT_BYTES
    if size_bytes > 0:
        with filler.open("wb") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, size_bytes)
