"""Who holds a port of the host: one of the engine's containers, or a process on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import APIClient

_LISTENING = "0A"
_PROC = Path("/proc")


def describe_holder(
    api: "APIClient", port: int, protocol: str = "tcp", *, is_local: bool
) -> str | None:
    """Return words for what holds ``port`` of the engine's host, None when it cannot be told."""
    holder = container_holding(api, port, protocol)
    if holder is not None:
        return holder
    if not is_local:
        return None  # another machine's processes cannot be seen
    return process_holding(port, protocol)


def container_holding(api: "APIClient", port: int, protocol: str = "tcp") -> str | None:
    """Return "container NAME (project P)" for the running container that publishes ``port``.

    Raises nothing: it explains another failure, and an engine that fails twice changes nothing.
    """
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        containers = api.containers(filters={"publish": f"{port}/{protocol}"})
    except (DockerException, RequestException):
        return None
    for entry in containers:
        for published in entry.get("Ports") or []:
            if published.get("PublicPort") == port and published.get("Type") == protocol:
                name = str((entry.get("Names") or ["?"])[0]).lstrip("/")
                project = (entry.get("Labels") or {}).get("com.docker.compose.project")
                return f"container {name}" + (f" (project {project})" if project else "")
    return None


def process_holding(port: int, protocol: str = "tcp") -> str | None:
    """Return "process NAME (pid N)" for the listener on ``port``, None if /proc does not tell."""
    inodes = _listening_inodes(port, protocol)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in _PROC.iterdir():
        if process.name.isdigit() and _holds(process, wanted):
            return f"process {_process_name(process)} (pid {process.name})"
    return "another process"


def _listening_inodes(port: int, protocol: str) -> set[str]:
    inodes = set()
    for table in (_PROC / "net" / protocol, _PROC / "net" / f"{protocol}6"):
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:  # no such table: no IPv6, or not Linux
            continue
        for line in lines:
            fields = line.split()
            is_listening = protocol == "udp" or fields[3] == _LISTENING
            if is_listening and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return inodes


def _holds(process: Path, wanted: set[str]) -> bool:
    try:
        links = list((process / "fd").iterdir())
    except OSError:  # another user's process, or one that has just ended
        return False
    return any(_target(link) in wanted for link in links)


def _target(link: Path) -> str | None:
    # A descriptor that was closed since the listing says nothing about the others.
    try:
        return str(link.readlink())
    except OSError:
        return None


def _process_name(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "?"
