"""An SSH connection that trusts nobody unasked: keys and agents of the user, hosts of known_hosts."""

import base64
import contextlib
import getpass
import hashlib
from pathlib import Path
from typing import Any

from owctl.backup.remote.address import Address
from owctl.backup.remote.store import ConnectionLost, missing_package
from owctl.errors import OwctlError

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
        except paramiko.AuthenticationException as error:
            raise OwctlError(
                f"{self.host} does not let {self.user} in with any of the keys at hand.",
                hint=self.login,
            ) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise ConnectionLost(
                f"{self.host} cannot be reached at port {self.port}: {error}.",
                hint=self.login,
            ) from error


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
    return paramiko
