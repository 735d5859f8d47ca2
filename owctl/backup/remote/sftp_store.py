"""Backups in a folder of another machine, over SFTP."""

import contextlib
import errno
import posixpath
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from owctl.backup.remote.address import Address
from owctl.backup.remote.folder_store import TEMPORARY_SUFFIX
from owctl.backup.remote.sftp_connection import SftpConnection
from owctl.backup.remote.store import ConnectionLost, Content, MissingRemotely
from owctl.errors import OwctlError

_WRITE_BYTES = 256 * 1024
_READ_BYTES = 32 * 1024
_WINDOW_BYTES = 8 * 1024 * 1024
_EXTENDED = 200


class SftpStore:
    """A Store in a folder that an SSH server shows; made, for its owner alone, when it is missing."""

    def __init__(self, address: Address, host_key: str | None) -> None:
        self._address = address
        self._host_key = host_key
        self._root = address.path or "."
        self._connection = SftpConnection(address, host_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def reconnect(self) -> None:
        """Open another session."""
        self._connection.close()
        self._connection = SftpConnection(self._address, self._host_key)

    def folders(self) -> list[str]:
        """Return the names of the folders at the top; none if there is no such place."""
        return sorted(name for name, entry in self._entries(self._root) if _is_folder(entry))

    def files(self, folder: str) -> dict[str, int]:
        """Return sizes by name, relative to ``folder``, for all files below it."""
        found: dict[str, int] = {}
        waiting = [""]
        while waiting:
            below = waiting.pop()
            for name, entry in self._entries(posixpath.join(self._root, folder, below)):
                path = posixpath.join(below, name)
                if _is_folder(entry):
                    waiting.append(path)
                else:
                    found[path] = entry.st_size
        return found

    def send(self, name: str, content: Content) -> None:
        """Write beside, have it flushed to the disk, rename."""
        path = posixpath.join(self._root, name)
        head, tail = posixpath.split(path)
        temporary = f"{head}/.{tail}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
        with self._translated(path, "write"):
            self._make_folders(head)
            try:
                with self._sftp.open(temporary, "wx") as file:
                    self._sftp.chmod(temporary, 0o600)
                    # Without waiting for the answer to each request; closing waits for all.
                    file.set_pipelined(True)
                    content.seek(0)
                    while data := content.read(_WRITE_BYTES):
                        file.write(data)
                    self._sync(file)
                if self._sftp.stat(temporary).st_size != content.size_bytes:
                    raise OSError(errno.EIO, "less was stored than was sent")
                self._rename(temporary, path)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._sftp.remove(temporary)
                raise

    def read(self, name: str, size_bytes: int) -> Iterator[bytes]:
        """Yield what is stored, ``size_bytes`` of it at the most."""
        path = posixpath.join(self._root, name)
        with self._translated(path, "read"), self._sftp.open(path, "rb") as file:
            _hush_prefetch(file)
            # In windows: what is asked for at once is kept in memory until it is read.
            for start in range(0, size_bytes, _WINDOW_BYTES):
                end = min(start + _WINDOW_BYTES, size_bytes)
                pieces = [(at, min(_READ_BYTES, end - at)) for at in range(start, end, _READ_BYTES)]
                for data in file.readv(pieces):
                    if not data:
                        return
                    yield data

    def server_sha256(self, _: str) -> str | None:
        """Return None: SFTP as it is spoken everywhere has no such request."""
        return None

    def remove(self, name: str) -> None:
        """Remove a file; it need not be there."""
        path = posixpath.join(self._root, name)
        with contextlib.suppress(MissingRemotely), self._translated(path, "remove"):
            self._sftp.remove(path)

    @property
    def _sftp(self) -> Any:  # noqa: ANN401  # paramiko has no types
        return self._connection.sftp

    def _entries(self, folder: str) -> list[tuple[str, Any]]:
        try:
            with self._translated(folder, "read"):
                return [(entry.filename, entry) for entry in self._sftp.listdir_attr(folder)]
        except MissingRemotely:
            return []

    def _make_folders(self, folder: str) -> None:
        try:
            self._sftp.stat(folder)
        except FileNotFoundError:
            if posixpath.dirname(folder):
                self._make_folders(posixpath.dirname(folder))
            try:
                self._sftp.mkdir(folder, 0o700)
            except OSError:
                # Another push may have been quicker; if not, this says what is wrong.
                self._sftp.stat(folder)

    def _sync(self, file: Any) -> None:  # noqa: ANN401
        """Ask for the data to be on disk; OpenSSH can, and other servers say that they cannot."""
        file.flush()
        with contextlib.suppress(OSError, AttributeError):
            self._sftp._request(_EXTENDED, "fsync@openssh.com", file.handle)

    def _rename(self, source: str, target: str) -> None:
        try:
            self._sftp.posix_rename(source, target)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
            # A server without that extension renames only where nothing is.
            with contextlib.suppress(FileNotFoundError):
                self._sftp.remove(target)
            self._sftp.rename(source, target)

    @contextmanager
    def _translated(self, path: str, what: str) -> Iterator[None]:
        import paramiko

        host = self._connection.host
        try:
            yield
        except FileNotFoundError as error:
            raise MissingRemotely(
                f"{path} is not on {host}.", hint="owctl backup pull REMOTE"
            ) from error
        except PermissionError as error:
            raise OwctlError(
                f"{host} does not allow {self._connection.user} to {what} {path}.",
                hint=f"{self._connection.login} ls -ld {self._root}",
            ) from error
        except (TimeoutError, ConnectionError, EOFError, paramiko.SSHException) as error:
            raise self._lost(error) from error
        except OSError as error:
            if "closed" in str(error).lower():
                raise self._lost(error) from error
            raise OwctlError(
                f"{host} cannot {what} {path}: {error}. The server says no more; its disk may be "
                "full, or a quota reached.",
                hint=f"{self._connection.login} df -h {self._root}",
            ) from error

    def _lost(self, error: Exception) -> ConnectionLost:
        return ConnectionLost(
            f"The connection to {self._connection.host} broke: {str(error) or 'no answer in time'}.",
            hint="check the network; the same command goes on where it stopped",
        )


def _is_folder(entry: Any) -> bool:  # noqa: ANN401
    return stat.S_ISDIR(entry.st_mode or 0)


def _hush_prefetch(file: Any) -> None:  # noqa: ANN401
    """Keep the thread that asks ahead from printing a traceback when the connection breaks.

    The read itself meets the same, and says so.
    """
    import paramiko

    ask_ahead = getattr(file, "_prefetch_thread", None)
    if ask_ahead is None:
        return

    def quietly(*arguments: object) -> None:
        with contextlib.suppress(EOFError, OSError, paramiko.SSHException):
            ask_ahead(*arguments)

    file._prefetch_thread = quietly
