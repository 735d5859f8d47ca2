"""Backups on another machine over SFTP, and the connection to it."""

import base64
import contextlib
import errno
import getpass
import hashlib
import posixpath
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from owctl.backup.remote.store import (
    TEMPORARY_SUFFIX,
    Address,
    ConnectionLost,
    Content,
    MissingRemotely,
    missing_package,
    silence,
)
from owctl.errors import OwctlError

# -- An SSH connection that trusts nobody unasked: keys and agents of the user, hosts of known_hosts.


CONNECT_SECONDS = 15
SILENCE_SECONDS = 60
_SYSTEM_HOSTS = Path("/etc/ssh/ssh_known_hosts")


class SftpConnection:
    """An open SFTP session, ``sftp``; ``close`` ends it.

    ``~/.ssh/config`` is read for HostName, User, Port, IdentityFile and UserKnownHostsFile. Raises
    ConnectionLost for a host that does not answer, OwctlError for one that is unknown, is not who it
    was, or refuses the user.
    """

    def __init__(self, address: Address, host_key: str | None) -> None:
        paramiko = _paramiko()
        config = _configuration(address)
        self.host = config.get("hostname", address.host)
        self.port = address.port or int(config.get("port", 22))
        self.user = address.user or config.get("user") or getpass.getuser()
        self._client = paramiko.SSHClient()
        try:
            self._load_hosts(config)
            self._client.set_missing_host_key_policy(_policy(self, host_key))
            self._connect(config)
            self.sftp = self._client.open_sftp()
            self.sftp.get_channel().settimeout(SILENCE_SECONDS)
        except BaseException:
            self._client.close()
            raise

    def close(self) -> None:
        """End the session; raises nothing."""
        with contextlib.suppress(Exception):
            self._client.close()

    @property
    def login(self) -> str:
        """The command with which the user can look for themselves."""
        return f"ssh -p {self.port} {self.user}@{self.host}"

    def _load_hosts(self, config: dict[str, Any]) -> None:
        own = config.get("userknownhostsfile", "~/.ssh/known_hosts").split()
        for path in (_SYSTEM_HOSTS, *(Path(name).expanduser() for name in own)):
            if path.is_file():
                self._client.load_system_host_keys(str(path))

    def _connect(self, config: dict[str, Any]) -> None:
        paramiko = _paramiko()
        files = [str(Path(name).expanduser()) for name in config.get("identityfile", ())]
        try:
            self._client.connect(
                self.host,
                port=self.port,
                username=self.user,
                key_filename=[name for name in files if Path(name).is_file()] or None,
                timeout=CONNECT_SECONDS,
                banner_timeout=CONNECT_SECONDS,
                auth_timeout=CONNECT_SECONDS * 2,
            )
        except paramiko.BadHostKeyException as error:
            name = self.host if self.port == 22 else f"'[{self.host}]:{self.port}'"
            raise OwctlError(
                f"{self.host} shows another host key than the one in known_hosts: "
                f"{fingerprint(error.key)}. Somebody may sit between you and it.",
                hint=f"ask who runs it; if the new key is right: ssh-keygen -R {name}",
            ) from error
        except paramiko.PasswordRequiredException as error:
            raise OwctlError(
                "The SSH key is protected by a passphrase, and no agent has it.",
                hint="ssh-add",
            ) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            if _is_refusal(error):
                raise OwctlError(
                    f"{self.host} does not let {self.user} in with any of the keys at hand.",
                    hint=self.login,
                ) from error
            raise ConnectionLost(
                f"{self.host} cannot be reached at port {self.port}: {error}.",
                hint=self.login,
            ) from error


def _is_refusal(error: Exception) -> bool:
    # Without any key paramiko does not even ask, and has no class for that.
    return isinstance(error, _paramiko().AuthenticationException) or (
        "No authentication methods" in str(error)
    )


def fingerprint(key: Any) -> str:  # noqa: ANN401  # paramiko has no types
    """Return a key's fingerprint as ssh shows it: ``SHA256:…``."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _policy(connection: SftpConnection, accepted: str | None) -> Any:  # noqa: ANN401
    class Refuse(_paramiko().MissingHostKeyPolicy):  # type: ignore[misc]
        """Lets in the host whose fingerprint the user gave, and no other."""

        def missing_host_key(self, _client: Any, _host: str, key: Any) -> None:  # noqa: ANN401
            found = fingerprint(key)
            if found != accepted:
                raise OwctlError(
                    f"The host key of {connection.host} is unknown: {found} ({key.get_name()}).",
                    hint=f"compare it with the server's; then {connection.login} once, "
                    f"or --accept-host-key {found}",
                )

    return Refuse()


def _configuration(address: Address) -> dict[str, Any]:
    path = Path("~/.ssh/config").expanduser()
    if not path.is_file():
        return {}
    found: dict[str, Any] = dict(_paramiko().SSHConfig.from_path(str(path)).lookup(address.host))
    for key in ("proxyjump", "proxycommand"):
        if found.get(key, "none") != "none":
            raise OwctlError(
                f"{path} has a {key} for {address.host}, which owctl does not support.",
                hint="a tunnel of your own: ssh -L 2222:HOST:22 …, and sftp://localhost:2222/…",
            )
    return found


def _paramiko() -> Any:  # noqa: ANN401  # it has no types
    try:
        import paramiko
    except ImportError:
        raise missing_package("paramiko") from None
    silence("paramiko")
    return paramiko


# -- Backups in a folder of another machine, over SFTP.


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

    def remove_folder(self, folder: str) -> None:
        """Remove a folder at the top with all that is in it; it need not be there."""
        self._remove_folder(posixpath.join(self._root, folder))

    def _remove_folder(self, path: str) -> None:
        for name, entry in self._entries(path):
            inner = posixpath.join(path, name)
            if _is_folder(entry):
                self._remove_folder(inner)
                continue
            with contextlib.suppress(MissingRemotely), self._translated(inner, "remove"):
                self._sftp.remove(inner)
        with contextlib.suppress(MissingRemotely), self._translated(path, "remove"):
            self._sftp.rmdir(path)

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
