"""An ``ssh://`` address of an engine, and where on the far machine its socket is."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from owctl.errors import EngineUnavailable

DEFAULT_SOCKET = PurePosixPath("/var/run/docker.sock")


@dataclass(frozen=True, slots=True)
class SshAddress:
    """``ssh://[user@]host[:port][/socket]``; ``socket`` None is what the docker command there uses."""

    host: str
    user: str | None = None
    port: int | None = None
    socket: PurePosixPath | None = None

    def __str__(self) -> str:
        """Return it as a user would name it to ssh: ``user@host``."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def arguments(self) -> list[str]:
        """The ssh client's options and destination."""
        options = ["-l", self.user] if self.user else []
        options += ["-p", str(self.port)] if self.port else []
        return [*options, "--", self.host]

    @property
    def command(self) -> str:
        """What a user types to reach the machine by hand."""
        port = f"-p {self.port} " if self.port else ""
        return f"ssh {port}{self}"


def parse_ssh_address(text: str, chosen_by: str) -> SshAddress:
    """Return the parts of an ``ssh://`` address; raises EngineUnavailable for one that is wrong."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _wrong(text, chosen_by, str(error)) from error
    if not host:
        raise _wrong(text, chosen_by, "it names no host")
    if parts.password is not None:
        shown = f"ssh://{parts.username}:***@{host}"
        raise _wrong(shown, chosen_by, "it holds a password; ssh takes keys and agents only")
    if parts.query or parts.fragment:
        raise _wrong(text, chosen_by, "it goes on after the path")
    user = unquote(parts.username) if parts.username else None
    if host.startswith("-") or (user or "").startswith("-"):
        # ssh would take it for an option.
        raise _wrong(text, chosen_by, "no name begins with a dash")
    path = unquote(parts.path).rstrip("/")
    return SshAddress(host, user, port, PurePosixPath(path) if path else None)


def _wrong(shown: str, chosen_by: str, why: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"Cannot reach the Docker engine: {shown} is no address for ssh: {why}",
        hint=f"correct {chosen_by}: ssh://user@host, with a port ssh://user@host:2222, with another "
        "socket ssh://user@host/run/user/1000/docker.sock",
    )
