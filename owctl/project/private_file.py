"""Writing files whole or not at all, never over somebody else's."""

import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import Self

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
        _make_folder(path.parent)
        temporary = _write_temporary(path, data, mode, _owner_of(path.parent))
        try:
            _publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
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
        owner = (before.st_uid, before.st_gid)
        temporary = _write_temporary(target, data, PRIVATE_MODE, owner)
        try:
            if target.read_bytes() != expected:
                raise FileAppeared(
                    f"{path} was changed by somebody else meanwhile; it was left as it is.",
                    hint="the same command again",
                )
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(target.parent)
    except OSError as error:
        raise cannot("write", path, error) from error


class PrivateFile:
    """A file that is written piece by piece beside its name, PRIVATE_MODE, and gets the name whole.

    A context manager: what was not published by its end is removed. Errors are OwctlError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = path.with_name(f".owctl-{secrets.token_hex(6)}.partial")
        try:
            _make_folder(path.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.fdopen(os.open(self._temporary, flags, PRIVATE_MODE), "wb")
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
            self._file.flush()
            owner = _owner_of(self.path.parent)
            if owner is not None:
                os.fchown(self._file.fileno(), *owner)
            os.fsync(self._file.fileno())
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
            _sync_folder(self.path.parent)
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


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    owner = _owner_of(folder.parent)
    if owner is not None:
        os.chown(folder, *owner)


def _owner_of(folder: Path) -> tuple[int, int] | None:
    """Return who new files in a folder shall belong to; None: to whoever makes them."""
    if os.geteuid() != 0:
        return None
    found = folder.stat()
    return (found.st_uid, found.st_gid)


def _write_temporary(path: Path, data: bytes, mode: int, owner: tuple[int, int] | None) -> Path:
    temporary = path.with_name(f".{path.name.lstrip('.')}.owctl-{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # Private until it is whole; a mode for more readers comes last.
    descriptor = os.open(temporary, flags, PRIVATE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            mine = os.fstat(file.fileno())
            if owner is not None and owner != (mine.st_uid, mine.st_gid):
                os.fchown(file.fileno(), *owner)
            if mode != PRIVATE_MODE:
                os.fchmod(file.fileno(), mode & ~_umask())
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot; the file itself is safe.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current
