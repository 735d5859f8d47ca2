"""All or nothing: a backup grows in a partial folder and gets its name when it is whole.

It loses its name before anything in it is removed. A partial folder belongs to the process that holds
the lock on the file in it, one that is being removed to the process that holds the lock on itself. The
kernel drops the lock when that process ends, however it ends, so what nobody holds is a leftover.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from owctl.backup.member_file import cannot_write
from owctl.errors import Locked, OwctlError
from owctl.project.private_file import give, make_folder, sync_folder

PARTIAL_SUFFIX = ".partial"
REMOVING_SUFFIX = ".removing"
LOCK_NAME = ".lock"


def new_id(now: datetime) -> str:
    """Return a backup's name: the UTC time, so that names sort by age, and six random digits."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


@contextmanager
def partial_folder(parent: Path, backup_id: str) -> Iterator["PartialBackup"]:
    """Yield a folder to fill; unless it was published, it is gone when the block is left.

    ``parent`` is made if it is missing. Leftovers of killed runs in it are removed. Raises
    OwctlError where nothing can be written.
    """
    backup = _create(parent, backup_id)
    try:
        yield backup
    finally:
        backup.close()


@contextmanager
def resumable_folder(parent: Path, backup_id: str, suffix: str) -> Iterator["PartialBackup"]:
    """Yield a folder to fill that stays when the block is left early, for another try.

    Raises Locked while another process fills it, OwctlError where nothing can be written.
    """
    folder = parent / (backup_id + suffix)
    try:
        _make_parent(parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        _take(lock, folder)
        yield PartialBackup(parent, backup_id, lock, suffix)
    finally:
        os.close(lock)


class PartialBackup:
    """A backup's folder before it is one; ``folder`` is where its files go."""

    def __init__(
        self, parent: Path, backup_id: str, lock: int, suffix: str = PARTIAL_SUFFIX
    ) -> None:
        self.id = backup_id
        self.parent = parent
        self.folder = parent / (backup_id + suffix)
        self._lock = lock
        self._published = False

    def publish(self) -> Path:
        """Give the folder its name, durably; the backup exists when this returns its path."""
        target = self.parent / self.id
        try:
            for found, _, names in os.walk(self.folder, topdown=False):
                folder = Path(found)
                # The folder last: before, nobody but root can put anything into it.
                for path in (*map(folder.joinpath, names), folder):
                    give(path, self.parent)
                sync_folder(folder)
            self.folder.rename(target)
            self._published = True
            (target / LOCK_NAME).unlink()
            sync_folder(target)
            sync_folder(self.parent)
        except OSError as error:
            if self._published:
                # It has its name but may not be durable: rather none than one that may vanish.
                self._published = False
                self.folder = target
            raise cannot_write(target, error) from error
        return target

    def close(self) -> None:
        """Remove the folder unless it was published, and let go of the lock."""
        try:
            if not self._published:
                _remove(self.folder)
        finally:
            os.close(self._lock)


def remove_leftovers(parent: Path) -> list[Path]:
    """Remove what killed runs left, half made or half removed; returns it.

    The caller holds the lock of ``parent``, so that none is just being made.
    """
    removed = find_leftovers(parent)
    for folder in removed:
        _remove(folder)
    return removed


def find_leftovers(parent: Path) -> list[Path]:
    """Return the folders that killed runs left in ``parent``: no process holds them."""
    found = [*parent.glob("*" + PARTIAL_SUFFIX), *parent.glob("*" + REMOVING_SUFFIX)]
    return sorted(
        folder
        for folder in found
        if folder.is_dir() and not folder.is_symlink() and not _held(folder)
    )


def remove_backup(folder: Path) -> bool:
    """Remove a backup: it loses its name first, so that half of it never looks like one.

    Returns whether it was removed: not if another process uses it, or somebody else removed it. Raises
    OwctlError; what is left then is a leftover, which the next backup or prune removes.
    """
    going = folder.with_name(folder.name + REMOVING_SUFFIX)
    try:
        with locked_parent(folder.parent), ExitStack() as opened:
            # Not to follow a link is what matters: it may have been put there after the last look.
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(folder, flags)
            opened.callback(os.close, lock)
            if not _taken(lock):
                return False
            folder.rename(going)
            sync_folder(folder.parent)
            # The lock stays, the parent is free again: removing many files takes its time.
            opened.pop_all()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OwctlError(
            f"Cannot remove the backup {folder}: {error.strerror or error}.",
            hint="run this as the user who made it",
        ) from error
    try:
        _remove(going)
    finally:
        os.close(lock)
    return True


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep a backup from being removed while it is read; raises OwctlError if it just was.

    Where the disk knows no locks, it is read without.
    """
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OwctlError(
            f"The backup {folder} cannot be read: {error.strerror or error}.",
            hint="owctl backup list",
        ) from error
    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _create(parent: Path, backup_id: str) -> PartialBackup:
    folder = parent / (backup_id + PARTIAL_SUFFIX)
    try:
        _make_parent(parent)
        with locked_parent(parent):
            remove_leftovers(parent)
            folder.mkdir(mode=0o700)
            lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return PartialBackup(parent, backup_id, lock)


def _make_parent(parent: Path) -> None:
    """Make the folder of backups: they hold secrets, so only one that was there keeps its mode."""
    make_folder(parent.parent)
    make_folder(parent, 0o700)


def _take(lock: int, folder: Path) -> None:
    """Take the lock of a folder that is still there; raises Locked."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), (folder / LOCK_NAME).stat()):
            return
    except (BlockingIOError, FileNotFoundError):
        # Held, or published by who held it a moment ago.
        pass
    raise Locked(f"Another owctl is filling {folder}.", hint="wait until it is done")


@contextmanager
def locked_parent(parent: Path) -> Iterator[None]:
    """Hold the lock of a folder of backups, under which names in it come and go."""
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _held(folder: Path) -> bool:
    for path, kind in ((folder, os.O_DIRECTORY), (folder / LOCK_NAME, 0)):
        try:
            # To read is enough for a lock, and works on a disk that nobody may write to.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | kind)
        except FileNotFoundError:
            continue
        except OSError:
            # Whose it is cannot be told, so it is not ours.
            return True
        try:
            if not _taken(descriptor):
                return True
        finally:
            os.close(descriptor)
    return False


def _taken(descriptor: int) -> bool:
    """Take the lock of an open file; False if another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OwctlError(
            f"Cannot remove what is left of the backup {folder}: {error.strerror or error}.",
            hint=f"rm -rf {folder}",
        ) from error
