"""Which engine to talk to: ``--context``, DOCKER_HOST and docker contexts become one address."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from owctl.errors import EngineUnavailable

if TYPE_CHECKING:
    from owctl.engine.ssh_tunnel import SshTunnel


# -- An ``ssh://`` address of an engine, and where on the far machine its socket is.


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


# -- Which engine to talk to: ``--context``, DOCKER_HOST and docker contexts become one address.
# The order is the docker command's: ``--context``, DOCKER_HOST, DOCKER_CONTEXT, ``currentContext``
# of its config.json, the default socket.


DEFAULT_HOST = "unix:///var/run/docker.sock"
_PROXY_VARIABLES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "ftpProxy": "FTP_PROXY",
    "noProxy": "NO_PROXY",
    "allProxy": "ALL_PROXY",
}


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The certificates of a TLS connection; a file that does not exist is None."""

    authority: Path | None
    certificate: Path | None
    key: Path | None
    verify: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An engine's address. ``chosen_by`` says what named it; ``runtime_dir`` is XDG_RUNTIME_DIR.

    ``tunnel`` leads to an engine behind ssh, once it was asked for.
    """

    host: str
    chosen_by: str
    tls: TlsFiles | None = None
    runtime_dir: Path | None = None
    tunnel: "SshTunnel | None" = None

    @property
    def socket_path(self) -> Path | None:
        """The file of a unix socket, None for any other transport."""
        scheme, _, rest = self.host.partition("://")
        if scheme != "unix":
            return None
        return Path(rest if rest.startswith("/") else f"/{rest}")

    @property
    def is_local(self) -> bool:
        """Whether the engine is on this machine, as far as its address tells."""
        return self.socket_path is not None

    @property
    def machine(self) -> str | None:
        """The name of the engine's machine, None for this one."""
        if self.is_local:
            return None
        name = urlsplit(self.host).hostname or ""
        # A port of this machine that something forwards is still another machine's engine.
        return name or self.host

    def local_socket(self) -> Path | None:
        """Return the socket file to connect to: the engine's own, or this end of a tunnel to it.

        None for TCP. Raises EngineUnavailable where the tunnel cannot be made.
        """
        return self.socket_path if self.tunnel is None else self.tunnel.engine_socket()


def resolve_endpoint(context: str | None, environ: Mapping[str, str]) -> Endpoint:
    """Return the endpoint that ``context`` and ``environ`` ask for.

    Raises EngineUnavailable when a context is named that does not exist or cannot be read.
    """
    folder = docker_config_dir(environ)
    name, chosen_by = _context_name(context, environ, folder)
    runtime_dir = Path(environ["XDG_RUNTIME_DIR"]) if environ.get("XDG_RUNTIME_DIR") else None
    if name != "default":
        return _from_context(name, chosen_by, folder, runtime_dir)
    host = environ.get("DOCKER_HOST", "")
    return Endpoint(
        host=_normalised(host) if host else DEFAULT_HOST,
        chosen_by="DOCKER_HOST" if host else "the default",
        tls=_tls_from_environment(environ, folder) if host else None,
        runtime_dir=runtime_dir,
    )


def docker_config_dir(environ: Mapping[str, str]) -> Path:
    """Return the docker command's configuration folder ($DOCKER_CONFIG, else ~/.docker)."""
    if environ.get("DOCKER_CONFIG"):
        return Path(environ["DOCKER_CONFIG"])
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".docker"


def is_loopback(name: str) -> bool:
    """Return whether a host name or address is this machine's loopback."""
    return name in {"localhost", "::1"} or name.startswith("127.")


def proxy_environment(host: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the proxy variables that the docker command's configuration gives to containers.

    Each in both spellings, as docker and compose set them. Empty without such a configuration.
    """
    configuration = docker_config_dir(environ) / "config.json"
    if not configuration.is_file():
        return {}
    proxies = _read_json(configuration).get("proxies") or {}
    chosen = proxies.get(host) or proxies.get("default") or {}
    variables: dict[str, str] = {}
    for key, name in _PROXY_VARIABLES.items():
        if chosen.get(key):
            variables |= {name: str(chosen[key]), name.lower(): str(chosen[key])}
    return variables


def _context_name(context: str | None, environ: Mapping[str, str], folder: Path) -> tuple[str, str]:
    if context:
        return context, "--context"
    if environ.get("DOCKER_HOST"):
        return "default", "DOCKER_HOST"
    if environ.get("DOCKER_CONTEXT"):
        return environ["DOCKER_CONTEXT"], "DOCKER_CONTEXT"
    configuration = folder / "config.json"
    current = _read_json(configuration).get("currentContext") if configuration.is_file() else None
    return (str(current), str(configuration)) if current else ("default", "the default")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineUnavailable(
            f"Cannot find the Docker engine: {path} cannot be read ({error})",
            hint=f"repair {path}, or set DOCKER_HOST to say which engine is meant",
        ) from error
    return document if isinstance(document, dict) else {}


def _from_context(name: str, chosen_by: str, folder: Path, runtime_dir: Path | None) -> Endpoint:
    identity = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / identity / "meta.json"
    if not meta.is_file():
        known = ", ".join(["default", *_known_contexts(folder)])
        raise EngineUnavailable(
            f"Cannot find the Docker engine: there is no docker context '{name}' "
            f"(named by {chosen_by})",
            hint=f"use one of these contexts: {known} (`docker context ls` shows them)",
        )
    endpoint = (_read_json(meta).get("Endpoints") or {}).get("docker") or {}
    host = endpoint.get("Host") or DEFAULT_HOST
    tls_dir = folder / "contexts" / "tls" / identity / "docker"
    skip_verify = bool(endpoint.get("SkipTLSVerify"))
    tls = _tls_files(tls_dir, verify=not skip_verify)
    uses_tls = skip_verify or any((tls.authority, tls.certificate, tls.key))
    return Endpoint(
        host=_normalised(str(host)),
        chosen_by=f"the docker context '{name}'",
        tls=tls if uses_tls and not str(host).startswith(("unix://", "ssh://")) else None,
        runtime_dir=runtime_dir,
    )


def _known_contexts(folder: Path) -> list[str]:
    names = [
        str(_read_json(meta).get("Name", ""))
        for meta in (folder / "contexts" / "meta").glob("*/meta.json")
    ]
    return sorted(name for name in names if name)


def _tls_from_environment(environ: Mapping[str, str], folder: Path) -> TlsFiles | None:
    verify = bool(environ.get("DOCKER_TLS_VERIFY"))
    if not verify and not environ.get("DOCKER_TLS"):
        return None
    if environ["DOCKER_HOST"].startswith(("unix://", "ssh://")):
        return None
    source = environ.get("DOCKER_CERT_PATH")
    tls = _tls_files(Path(source) if source else folder, verify=verify)
    if source and tls.authority is None and tls.certificate is None:
        raise EngineUnavailable(
            f"Cannot use TLS: DOCKER_CERT_PATH={source} holds neither ca.pem nor cert.pem",
            hint="set DOCKER_CERT_PATH to the folder with ca.pem, cert.pem and key.pem",
        )
    return tls


def _tls_files(folder: Path, *, verify: bool) -> TlsFiles:
    def existing(name: str) -> Path | None:
        path = folder / name
        return path if path.is_file() else None

    return TlsFiles(existing("ca.pem"), existing("cert.pem"), existing("key.pem"), verify)


def _normalised(host: str) -> str:
    # The docker command takes a bare host:port as TCP.
    return host if "://" in host else f"tcp://{host}"
