"""Writing files whole or not at all, never over somebody else's."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

from owctl.errors import OwctlError

PRIVATE_MODE = 0o600


class FileAppeared(OwctlError):
    """A file came into being, or changed, while it was about to be written."""


def create_file(path: Path, data: bytes, *, mode: int) -> None:
    """Write a new file: it appears whole, with ``mode`` from its first moment, or not at all.

    Folders that it needs are made. Run by root, all of it belongs to the owner of the folder that
    was there. Raises FileAppeared if the path exists by then, OwctlError where it cannot be written.
    """
    try:
        make_folder(path.parent)
        with _beside(path, data, mode) as temporary:
            _publish(temporary, path)
    except FileExistsError:
        raise FileAppeared(
            f"{path} appeared while owctl was about to write it; it was left as it is.",
            hint="the same command again: it keeps what is there",
        ) from None
    except OSError as error:
        raise cannot("write", path, error) from error


def replace_file(path: Path, data: bytes, *, expected: bytes) -> None:
    """Put ``data`` in place of ``expected``, with the same owner and PRIVATE_MODE.

    A symbolic link stays one; its target is replaced. Raises FileAppeared if the file holds
    something else by then, OwctlError where it cannot be written.
    """
    try:
        target = path.resolve(strict=True)
        before = target.stat()
        with _beside(target, data) as temporary:
            os.chown(temporary, before.st_uid, before.st_gid)
            if target.read_bytes() != expected:
                raise FileAppeared(
                    f"{path} was changed by somebody else meanwhile; it was left as it is.",
                    hint="the same command again",
                )
            temporary.replace(target)
    except OSError as error:
        raise cannot("write", path, error) from error


def put_file(
    path: Path, data: bytes, *, folder_mode: int = 0o777, like: Path | None = None
) -> None:
    """Have a file hold ``data``, whatever it held: the old or the new, whole and durable.

    It gets PRIVATE_MODE and belongs to the owner of its folder, if root writes it; or all that is as
    with ``like``, the times, too. Folders that it needs are made with ``folder_mode``. Raises OSError.
    """
    make_folder(path.parent, folder_mode)
    with _beside(path, data) as temporary:
        if like is not None:
            found = like.stat()
            os.chown(temporary, found.st_uid, found.st_gid)
            shutil.copystat(like, temporary)
        temporary.replace(path)


class PrivateFile:
    """A file that is written piece by piece beside its name, PRIVATE_MODE, and gets the name whole.

    A context manager: what was not published by its end is removed. Errors are OwctlError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            make_folder(path.parent)
            self._temporary, self._file = _open_beside(path)
        except OSError as error:
            raise cannot("write", path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # What could not be written is still in the buffer, and fails once more.
        with contextlib.suppress(OSError):
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Write a piece."""
        try:
            self._file.write(data)
        except OSError as error:
            raise cannot("write", self.path, error) from error

    def finish(self) -> None:
        """Make sure that all of it is on the disk; nothing can be written afterwards."""
        try:
            _settle(self._file, self.path.parent)
            self._file.close()
        except OSError as error:
            raise cannot("write", self.path, error) from error

    def publish(self, *, overwrite: bool) -> None:
        """Give the finished file its name; raises FileAppeared if it is taken."""
        try:
            if overwrite:
                self._temporary.replace(self.path)
            else:
                _publish(self._temporary, self.path)
            sync_folder(self.path.parent)
        except FileExistsError:
            raise FileAppeared(
                f"{self.path} appeared while owctl was about to write it; it was left as it is.",
                hint="the same command with another name, or with --force",
            ) from None
        except OSError as error:
            raise cannot("write", self.path, error) from error


def cannot(action: str, path: Path, error: OSError) -> OwctlError:
    """Return the error for an operating system's refusal to read or write ``path``."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some space, then the same command again; nothing that was there is lost"
    elif error.errno == errno.EROFS:
        hint = "another folder: -C DIR; this file system is read-only"
    elif error.errno in (errno.EACCES, errno.EPERM):
        hint = f"the command as the user who owns {path.parent} and its files, or -C DIR"
    else:
        hint = f"look at {path} and its folder"
    return OwctlError(f"Cannot {action} {path}: {reason}", hint=hint)


def restrict(path: Path) -> None:
    """Take a file from everybody but its owner. Raises OwctlError where that is refused."""
    try:
        path.chmod(PRIVATE_MODE)
    except OSError as error:
        raise cannot("restrict", path, error) from error


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder and those above it that are missing, durably; raises OSError.

    What root makes belongs to the owner of the folder that was there.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent, mode)
    folder.mkdir(mode, exist_ok=True)
    give(folder, folder.parent)
    sync_folder(folder.parent)


def give(made: Path | int, folder: Path) -> None:
    """Give what root made in a folder to the folder's owner; an open file, or a path.

    Not every file system lets even root do that: then it stays whose it is.
    """
    if os.geteuid() == 0:
        owner = folder.stat()
        with contextlib.suppress(OSError):
            os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=isinstance(made, int))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot; the file itself is safe.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _beside(path: Path, data: bytes, mode: int = PRIVATE_MODE) -> Iterator[Path]:
    """Write ``data`` beside ``path``, for the block to give it the name; durable at its end."""
    temporary, file = _open_beside(path)
    try:
        with file:
            file.write(data)
            _settle(file, path.parent, mode)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _open_beside(path: Path) -> tuple[Path, BinaryIO]:
    # Some names are as long as names may be.
    name = path.name.lstrip(".")[:40]
    temporary = path.with_name(f".{name}.owctl-{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # Private until it is whole; a mode for more readers comes last.
    return temporary, os.fdopen(os.open(temporary, flags, PRIVATE_MODE), "wb")


def _settle(file: BinaryIO, folder: Path, mode: int = PRIVATE_MODE) -> None:
    """Give a file that is written its owner and mode, and have it on the disk."""
    file.flush()
    give(file.fileno(), folder)
    if mode != PRIVATE_MODE:
        os.fchmod(file.fileno(), mode & ~_umask())
    os.fsync(file.fileno())


def _publish(temporary: Path, path: Path) -> None:
    """Give the file its name, unless the name is taken (rename would overwrite)."""
    try:
        os.link(temporary, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without hard links: take the name first, then fill it by rename.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE))
        temporary.replace(path)


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current
