"""What goes wrong between here and an engine behind ssh, in words: from what the ssh client says."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from owctl.engine.endpoint import DEFAULT_SOCKET, SshAddress
from owctl.errors import EnginePermissionDenied, EngineUnavailable

_FOUND = re.compile(r"^(unix|tcp|npipe|ssh|fd|http|https)://(\S*)$")
_SEE = "`{command}` must get in without asking anything"
# (what ssh says, why, hint); the first that is found counts.
_TABLE = (
    (
        r"^\[Errno|Control socket connect|mux_client",
        "the ssh connection to {name} was lost ({said})",
        f"{_SEE}; repeat this command",
    ),
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "{name} shows another host key than the one that is known",
        "find out why: it may be another machine; if it was set up anew, "
        "`ssh-keygen -R {known_as}`, then `{command}` once, and compare the fingerprint",
    ),
    (
        r"host key is known for|Host key verification failed",
        "the host key of {name} is not known, and owctl accepts none unseen",
        "`{command}` once by hand, and compare the fingerprint that it shows",
    ),
    (
        r"Permission denied|Too many authentication failures|no mutual signature",
        "{name} does not let this user in ({said})",
        f"{_SEE}: `ssh-add` for a key with a passphrase, the public key in "
        "~/.ssh/authorized_keys there",
    ),
    (
        r"Could not resolve hostname",
        "the host name {host} is unknown",
        "correct {chosen_by}, or name the host in ~/.ssh/config",
    ),
    (
        r"Connection refused",
        "nothing listens for ssh at {name}",
        "correct host and port in {chosen_by}, or start the ssh server there",
    ),
    (
        r"timed out|No route to host|Network is unreachable",
        "{name} does not answer ({said})",
        "see whether the machine is up and its firewall lets ssh through: `{command}`",
    ),
    (
        r"Bad configuration option|bad configuration options|Bad owner or permissions",
        "ssh's own configuration is wrong ({said})",
        "correct ~/.ssh/config until `{command}` works",
    ),
)  # fmt: skip


class Far:
    """The far side of a connection: which machine, and which of its sockets is the engine's."""

    def __init__(self, address: SshAddress, chosen_by: str) -> None:
        self.address = address
        self.chosen_by = chosen_by
        self.socket: PurePosixPath = address.socket or DEFAULT_SOCKET

    def take(self, lines: Sequence[str]) -> None:
        """Learn from what the docker command of the far side said about its engine.

        Where there is no such command, the usual socket is meant. Raises EngineUnavailable for an
        engine that has no socket there.
        """
        if self.address.socket is not None:
            return
        found = next((match for line in lines if (match := _FOUND.match(line.strip()))), None)
        if found is None:
            self.socket = DEFAULT_SOCKET
        elif found[1] == "unix":
            self.socket = PurePosixPath("/" + found[2].lstrip("/"))
        else:
            raise EngineUnavailable(
                f"Cannot reach the Docker engine: docker on {self.address} uses {found[0]}, which is "
                "no socket of that machine",
                hint=f"name the engine itself in {self.chosen_by}, or a socket there: "
                f"ssh://{self.address}/var/run/docker.sock",
            )


def no_client(far: Far, error: OSError) -> EngineUnavailable:
    """Return the error for an ssh client that cannot be run."""
    return EngineUnavailable(
        f"Cannot reach the Docker engine at ssh://{far.address}: ssh cannot be run "
        f"({error.strerror or error})",
        hint="install the OpenSSH client: `sudo apt install openssh-client`",
    )


def connection_failure(far: Far, said: Sequence[str], code: int | None) -> EngineUnavailable:
    """Return the error for a connection that was not made, or ended, and what ssh said of it."""
    text = "\n".join(said)
    last = said[-1] if said else f"it ended with exit code {code} and said nothing"
    names = {
        "name": str(far.address),
        "host": far.address.host,
        "known_as": _known_as(far.address),
        "command": f"{far.address.command} true",
        "chosen_by": far.chosen_by,
        "said": last.rstrip("."),
    }
    for pattern, why, hint in _TABLE:
        if re.search(pattern, text, re.MULTILINE | re.IGNORECASE):
            return EngineUnavailable(
                f"Cannot reach the Docker engine at ssh://{far.address}: {why.format(**names)}",
                hint=hint.format(**names),
            )
    return EngineUnavailable(
        f"Cannot reach the Docker engine at ssh://{far.address}: the ssh connection ended ({last})",
        hint=f"{_SEE.format(**names)}, and run commands there",
        details=list(said[:-1]),
    )


def lost_connection(address: SshAddress, action: str, said: Sequence[str]) -> EngineUnavailable:
    """Return the error for what was under way when the connection ended."""
    why = f" ({said[-1].rstrip('.')})" if said else ""
    return EngineUnavailable(
        f"Cannot {action}: the ssh connection to {address} was lost{why}",
        hint=f"see whether `{address.command} true` gets in, then repeat this command; what runs "
        "there goes on without it",
    )


def forward_failure(far: Far, action: str, state: str) -> EngineUnavailable:
    """Return the error for an engine's socket that cannot be reached from the machine's own sshd.

    ``state`` is what a look at the socket there found: missing, no-socket, forbidden, answers
    (to a program there) or there.
    """
    what = f"Cannot {action} at ssh://{far.address}"
    user = far.address.user or "the user there"
    if state == "answers":
        return EngineUnavailable(
            f"{what}: its ssh server lets nobody through to sockets",
            hint="`AllowTcpForwarding yes` and `AllowStreamLocalForwarding yes` in its sshd_config, "
            "for this user alone with a `Match User` line",
        )
    if state == "forbidden":
        return EnginePermissionDenied(
            f"{what}: {user} may not use the socket {far.socket}",
            hint=f"`sudo usermod -aG docker {far.address.user or 'USER'}` on {far.address.host}, "
            "or a user who may in the address",
        )
    if state in ("missing", "no-socket"):
        why = "there is no socket" if state == "missing" else "no socket, but something else, is at"
        return EngineUnavailable(
            f"{what}: {why} {far.socket} on that machine",
            hint="install or start Docker there; if its socket is elsewhere, say where: "
            f"ssh://{far.address}/run/user/1000/docker.sock",
        )
    return EngineUnavailable(
        f"Cannot {action}: nobody answers at the socket {far.socket} of {far.address}",
        hint=f"see whether the engine runs there: `{far.address.command} docker info`",
    )


def _known_as(address: SshAddress) -> str:
    return f"'[{address.host}]:{address.port}'" if address.port else address.host
