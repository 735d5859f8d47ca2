"""Checks a service's ``ports`` and ``expose`` and brings them into the long form."""

import re
from typing import Any

from owctl.compose.document import Invalid, Node, plain_text
from owctl.compose.fields import Scope, integer, mapping, one_of, scalar_text, text

_SHORT = re.compile(
    r"""(?:(?P<host>\[[^\]]*\]|[^:\[\]]*):(?=[^:]*:))?   # 127.0.0.1: or [::1]: before two more parts
        (?:(?P<published>\d+(?:-\d+)?|):)?
        (?P<target>\d+(?:-\d+)?)
        (?:/(?P<protocol>tcp|udp|sctp))?""",
    re.VERBOSE | re.IGNORECASE,
)
_EXPOSED = re.compile(r"\d+(?:-\d+)?(?:/(?:tcp|udp|sctp))?")
_MAX_PORT = 65535
_EVERYWHERE = "0.0.0.0"  # noqa: S104  # what no address means
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}")


def ports(node: Node, path: str, scope: Scope) -> list[dict[str, Any]]:
    """A list of ports in short or long form; of doubles the last one counts."""
    if not isinstance(node.value, list):
        raise Invalid(node, f"{path} must be a list")
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for index, item in enumerate(node.value):
        for port in scope.convert(_port, item, f"{path}[{index}]", default=[]):
            place = tuple(port.get(k) for k in ("published", "target", "protocol", "mode"))
            found[port.get("host_ip") or _EVERYWHERE, *place] = port
    return list(found.values())


def expose(node: Node, path: str, scope: Scope) -> list[str]:
    """A list of container ports."""
    if not isinstance(node.value, list):
        raise Invalid(node, f"{path} must be a list")
    found: dict[str, None] = {}
    for index, item in enumerate(node.value):
        value = scope.convert(scalar_text, item, f"{path}[{index}]", default="")
        if value and not _EXPOSED.fullmatch(value):
            problem = f'{path}[{index}] is "{value}", but must be a port such as 8080 or 53/udp'
            scope.problems.append(item.problem(problem))
        elif value:
            found[value] = None
    return list(found)


def _port(node: Node, path: str, scope: Scope) -> list[dict[str, Any]]:
    if isinstance(node.value, dict):
        port = _long(node, path, scope)
        return [port] if "target" in port else []
    if isinstance(node.value, (str, int)) and not isinstance(node.value, bool):
        return _short(node, path, plain_text(node.value))
    raise Invalid(node, f"{path} must be a port such as 8080:80, or a mapping with target")


def _short(node: Node, path: str, spec: str) -> list[dict[str, Any]]:
    match = _SHORT.fullmatch(spec)
    if match is None:
        raise Invalid(
            node, f'{path} is "{spec}", but must be like 8080:80 or 127.0.0.1:8080:80/tcp'
        )
    host = (match["host"] or "").strip("[]")
    _check_address(node, path, host)
    protocol = (match["protocol"] or "tcp").lower()
    targets = _range(node, path, match["target"])
    published = _range(node, path, match["published"]) if match["published"] else None
    if published and len(published) != len(targets) and len(targets) != 1:
        raise Invalid(node, f'{path} is "{spec}": the two ranges are not of the same length')
    results: list[dict[str, Any]] = []
    for offset, target in enumerate(targets):
        entry: dict[str, Any] = {"mode": "ingress"}
        if host:
            entry["host_ip"] = host
        entry["target"] = target
        if published and len(published) > len(targets):
            entry["published"] = match["published"]
        elif published:
            entry["published"] = str(published[offset])
        results.append({**entry, "protocol": protocol})
    return results


_LONG = mapping(
    {
        "name": text,
        "mode": one_of("host", "ingress"),
        "host_ip": text,
        "target": integer,
        "published": scalar_text,
        "protocol": one_of("tcp", "udp", "sctp"),
        "app_protocol": text,
    },
    required=("target",),
)


def _long(node: Node, path: str, scope: Scope) -> dict[str, Any]:
    given = {"mode": "ingress", "protocol": "tcp", **_LONG(node, path, scope)}
    _check_address(node, path, given.get("host_ip", ""))
    if "target" in given:
        _range(node, path, str(given["target"]))
    if given.get("published"):
        _range(node, path, given["published"])
    else:
        given.pop("published", None)
    order = ("name", "mode", "host_ip", "target", "published", "protocol", "app_protocol")
    return {key: given[key] for key in order if key in given}


def _range(node: Node, path: str, spec: str) -> range:
    first, _, last = spec.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()):
        raise Invalid(node, f'{path}: "{spec}" is not a port')
    start, end = int(first), int(last or first)
    if not 0 <= start <= end <= _MAX_PORT:
        raise Invalid(node, f"{path}: {spec} is not a port: ports are 1 to {_MAX_PORT}")
    return range(start, end + 1)


def _check_address(node: Node, path: str, host: str) -> None:
    if not host or _IPV4.fullmatch(host):
        return
    from ipaddress import ip_address

    try:
        ip_address(host)
    except ValueError:
        raise Invalid(node, f'{path}: "{host}" is not an IP address') from None
