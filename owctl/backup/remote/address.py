"""Where backups go: ``s3://bucket/prefix``, ``sftp://user@host:port/path``, ``file:///path`` or a path."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from owctl.errors import UsageError

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
