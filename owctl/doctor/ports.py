"""Host ports: whether those that the stack publishes are free, and which everybody can reach."""

import errno
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from owctl.compose.model import Port, Service, Stack
from owctl.compose.services import choose_probe
from owctl.doctor.finding import Finding, Situation
from owctl.engine.containers import HostPort, published_ports
from owctl.engine.ports import process_holding

_WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104  # compared, not bound
_TRIED_PORTS = 100
# The variables of the shipped files and of upstream's.
_VARIABLES = {
    "postgres": "POSTGRES_PORT",
    "redis": "REDIS_PORT",
    "rust-backend": "RUST_PORT",
    "socketio-bridge": "SOCKETIO_PORT",
    "frontend": "OPEN_WEBUI_PORT",
}


@dataclass(frozen=True, slots=True)
class _Wanted:
    service: Service
    host_ip: str
    number: int
    protocol: str

    def meets(self, host_ip: str, number: int, protocol: str) -> bool:
        """Whether both cannot be had at once."""
        if (number, protocol) != (self.number, self.protocol):
            return False
        return host_ip == self.host_ip or host_ip in _WILDCARDS or self.host_ip in _WILDCARDS

    def __str__(self) -> str:
        where = "" if self.host_ip in _WILDCARDS else f" of {self.host_ip}"
        udp = "/udp" if self.protocol == "udp" else ""
        return f"port {self.number}{udp}{where}"


def check_ports(situation: Situation, names: Iterable[str]) -> tuple[Finding, ...]:
    """Judge the fixed host ports of the named services.

    A port that a container of the very service holds is fine. Raises the engine's errors.
    """
    wanted = [item for name in names for item in _fixed(situation.stack.services[name])]
    published = published_ports(situation.engine) if wanted else []
    findings = []
    for index, item in enumerate(wanted):
        holder = _twin(item, wanted[:index]) or _holder(situation, item, published)
        if holder:
            sibling = _sibling(situation, item, published)
            findings.append(_taken(situation, item, holder, sibling))
    if findings:
        return tuple(findings)
    numbers = ", ".join(str(item.number) for item in wanted)
    free = "free, or held by this stack"
    if not situation.is_local:
        free = f"held by no other container on {situation.engine.endpoint.machine}"
    return (Finding("ports", "ok", f"{numbers}: {free}" if wanted else "none"),)


def check_exposure(stack: Stack, machine: str | None = None) -> tuple[Finding, ...]:
    """Warn of databases that other machines can reach; ``machine`` is the engine's, if another."""
    open_ports = [
        f"{item.service.name} ({item.number})"
        for service in stack.services.values()
        if choose_probe(service).type in ("postgres", "redis")
        for item in _fixed(service)
        if item.host_ip in _WILDCARDS
    ]
    if not open_ports:
        return (Finding("exposure", "ok", "no database is published to other machines"),)
    return (
        Finding(
            "exposure",
            "warning",
            f"published on all addresses of {machine or 'this machine'}: {', '.join(open_ports)}",
            "write 127.0.0.1: before the port in the compose file, as in 127.0.0.1:5432:5432",
        ),
    )


def _fixed(service: Service) -> Iterator[_Wanted]:
    for port in service.ports:
        if _is_fixed(port):
            yield _Wanted(service, port.host_ip or "", int(port.published or 0), port.protocol)


def _is_fixed(port: Port) -> bool:
    # From a range the engine takes what is free.
    return bool(port.published) and str(port.published).isdigit()


def _twin(item: _Wanted, earlier: Iterable[_Wanted]) -> str | None:
    for other in earlier:
        if other.meets(item.host_ip, item.number, item.protocol):
            return f"{other.service.name}, which publishes it too"
    return None


def _holder(situation: Situation, item: _Wanted, published: Iterable[HostPort]) -> str | None:
    own = {container.id for container in situation.of(item.service.name)}
    is_ours = False
    for port in published:
        if item.meets(port.host_ip, port.number, port.protocol):
            if port.container_id not in own:
                project = f" (project {port.project})" if port.project else ""
                return f"container {port.container}{project}"
            is_ours = True
    if is_ours or not situation.is_local:
        return None
    problem = _listen_problem(item.host_ip, item.number, item.protocol)
    if problem == errno.EADDRNOTAVAIL:
        return "nobody, but this machine does not have that address"
    if problem == errno.EADDRINUSE:
        return process_holding(item.number, item.protocol) or "another process"
    if problem:
        # Not ours to try, such as a port below 1024; what listens can still be seen.
        return process_holding(item.number, item.protocol)
    return None


def _listen_problem(host_ip: str, number: int, protocol: str) -> int:
    """Return why the engine could not listen there, 0 if it could."""
    family = socket.AF_INET6 if ":" in host_ip else socket.AF_INET
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(family, kind) as probe:
            if kind is socket.SOCK_STREAM:
                # As the engine does: connections that are fading out are in nobody's way.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host_ip, number))
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0


def _sibling(situation: Situation, item: _Wanted, published: Iterable[HostPort]) -> str | None:
    """Return the project of this very folder that holds the port: its other stack."""
    folder, own = str(situation.stack.working_dir), situation.stack.project
    return next(
        (
            port.project
            for port in published
            if item.meets(port.host_ip, port.number, port.protocol)
            and port.working_dir == folder
            and port.project != own
        ),
        None,
    )


def _taken(situation: Situation, item: _Wanted, holder: str, sibling: str | None) -> Finding:
    detail = f"{item}, which {item.service.name} publishes, is held by {holder}"
    if sibling:
        detail += ", of this very folder"
    variable = _variable(situation.stack, item.service.name)
    where = f"{variable} in .env" if variable else "the port in the compose file"
    free = _free_port(situation, item) if situation.is_local else None
    example = f", such as {free}" if free else ""
    stop = "stop what holds it"
    if sibling:
        stop = "owctl dev stop" if sibling.endswith("-dev") else f"owctl -p {sibling} stop"
    return Finding("ports", "failed", detail, f"{stop}, or set {where} to a free one{example}")


def _variable(stack: Stack, service: str) -> str | None:
    """Return the variable that sets a service's port; a development stack may have its own."""
    name = _VARIABLES.get(service)
    texts = [path.read_text("utf-8") for path in stack.config_files if path.is_file()]
    own = f"DEV_{name}"
    return own if any(f"${{{own}" in text for text in texts) else name


def _free_port(situation: Situation, item: _Wanted) -> int | None:
    taken = {each.number for s in situation.stack.services.values() for each in _fixed(s)}
    tried = range(item.number + 1, min(item.number + _TRIED_PORTS, 65536))
    return next(
        (
            number
            for number in tried
            if number not in taken and not _listen_problem(item.host_ip, number, item.protocol)
        ),
        None,
    )
