"""Another place for backups: its address, and what each kind of place can do."""

import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self
from urllib.parse import SplitResult, unquote, urlsplit

from owctl.errors import OwctlError, UsageError

# -- The address: ``s3://bucket/prefix``, ``sftp://user@host:port/path``, ``file:///path`` or a path.


Scheme = Literal["s3", "sftp", "file"]
_FORMS = "s3://bucket/prefix, sftp://user@host:port/path, or a folder"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed REMOTE.

    ``host`` is the bucket for s3, empty for file. ``path`` has no slash at its end: absolute for file
    and sftp (or relative to the home folder there, from ``/~/``), a prefix of keys for s3.
    """

    scheme: Scheme
    path: str
    host: str = ""
    port: int | None = None
    user: str | None = None

    def __str__(self) -> str:
        if self.scheme == "file":
            return self.path
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        home = "/~" if self.scheme == "sftp" and not self.path.startswith("/") else ""
        path = f"/{self.path}" if self.path and not self.path.startswith("/") else self.path
        return f"{self.scheme}://{user}{self.host}{port}{home}{path}"


def parse_address(text: str, working_dir: Path) -> Address:
    """Read a REMOTE; a plain path counts from ``working_dir``. Raises UsageError."""
    if "://" not in text:
        return Address("file", str((working_dir / Path(text).expanduser()).resolve()))
    parts = urlsplit(text)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise UsageError(f"{text} names another machine.", hint="file:///path, or sftp://")
        return Address("file", unquote(parts.path).rstrip("/") or "/")
    if parts.scheme not in ("s3", "sftp"):
        raise UsageError(f"There is no way to {parts.scheme}://.", hint=_FORMS)
    return _parse_remote(text, parts)


def _parse_remote(text: str, parts: SplitResult) -> Address:
    # Whatever is on a command line is in the list of processes, and in the shell's history.
    if parts.password is not None or (parts.scheme == "s3" and "@" in parts.netloc):
        raise UsageError(
            f"The address of {parts.hostname} has credentials in it, where others can read them.",
            hint="an SSH key or agent for sftp, AWS_* variables or ~/.aws for s3",
        )
    try:
        port = parts.port
    except ValueError:
        port = 0
    if not parts.hostname or parts.query or parts.fragment or port == 0:
        raise UsageError(f"{text} is no address of backups.", hint=_FORMS)
    path = unquote(parts.path).rstrip("/")
    if parts.scheme == "s3":
        return Address("s3", path.strip("/"), parts.netloc)
    if path == "/~" or path.startswith("/~/"):
        path = path[3:]
    elif not path:
        raise UsageError(f"{text} names no folder.", hint="sftp://host/~/backups")
    return Address("sftp", path, parts.hostname, port, parts.username)


# -- What a place for backups can do, whichever it is; small enough to be written three times.


PIECE_BYTES = 4 * 1024 * 1024
TEMPORARY_SUFFIX = ".tmp"


class ConnectionLost(OwctlError):
    """The other side did not answer, or stopped to; another try may succeed."""


class MissingRemotely(OwctlError):
    """The file that was asked for is not there."""


class Content(io.RawIOBase):
    """A stretch of a local file that is to be sent; read from its beginning any number of times.

    ``on_bytes`` is told how many bytes were read more than ever before.
    """

    def __init__(
        self,
        path: Path,
        offset: int,
        size_bytes: int,
        sha256: str,
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self.size_bytes = size_bytes
        self.sha256 = sha256
        self._file = path.open("rb")
        self._offset = offset
        self._position = 0
        self._furthest = 0
        self._on_bytes = on_bytes

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position within the stretch."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position within the stretch."""
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size_bytes}
        self._position = max(0, min(bases[whence] + offset, self.size_bytes))
        return self._position

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        """Fill a buffer with what comes next."""
        size = min(len(buffer), self.size_bytes - self._position)
        if size <= 0:
            return 0
        self._file.seek(self._offset + self._position)
        count = self._file.readinto(memoryview(buffer)[:size])
        self._position += count
        if self._position > self._furthest:
            self._on_bytes(self._position - self._furthest)
            self._furthest = self._position
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class Store(Protocol):
    """A folder on another machine; names are relative to it, with slashes.

    Each method raises ConnectionLost where another try may help after ``reconnect``, MissingRemotely
    for a name that is not there, another OwctlError where nothing helps but the user.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def folders(self) -> list[str]:
        """Return the names of the folders at the top; none if the place does not exist yet."""

    def files(self, folder: str) -> dict[str, int]:
        """Return sizes by name, relative to ``folder``, for all files below it."""

    def send(self, name: str, content: Content) -> None:
        """Store content under a name, whole or not at all, in place of what was there."""

    def read(self, name: str, size_bytes: int) -> Iterator[bytes]:
        """Yield what is stored, ``size_bytes`` of it at the most."""

    def server_sha256(self, name: str) -> str | None:
        """Return the SHA-256 that the server itself computed of a file, None where it has none."""

    def remove(self, name: str) -> None:
        """Remove a file; it need not be there."""

    def remove_folder(self, folder: str) -> None:
        """Remove a folder at the top with all that is in it; it need not be there."""

    def reconnect(self) -> None:
        """Be ready for another try after ConnectionLost."""


def silence(*names: str) -> None:
    """Keep libraries from printing: what goes wrong is told by the errors that they raise."""
    for name in names:
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def missing_package(package: str) -> OwctlError:
    """Return the error for a package of the extra that is not installed."""
    return OwctlError(
        f"This needs the Python package {package}, which is not installed.",
        hint=f"pip install 'owctl[remote]' (after pipx: pipx inject owctl {package})",
    )
