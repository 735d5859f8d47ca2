"""A service's keys: which are known, what each may hold, its normal form, and which exclude each other."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from owctl.compose.build_rules import (
    LOGGING,
    build,
    deploy,
    develop,
    devices,
    extra_hosts,
    gpus,
    ulimits,
)
from owctl.compose.document import Invalid, Node, Plain, kind_of
from owctl.compose.fields import (
    Converter,
    Reference,
    Scope,
    boolean,
    command,
    duration,
    expect,
    integer,
    key_values,
    labels,
    mapping,
    one_of,
    processors,
    size,
    text,
    texts,
    unique_scalars,
    unique_texts,
)
from owctl.compose.mount_rules import volumes
from owctl.compose.port_rules import expose, ports
from owctl.compose.top_level_rules import grants
from owctl.environment.dotenv import display_path, read_environment_file

# -- Settings that say the same thing in two places must not contradict each other.


# The service's key, and where the same is said under ``deploy``.
_TWICE = (
    ("cpus", ("resources", "limits", "cpus")),
    ("mem_limit", ("resources", "limits", "memory")),
    ("pids_limit", ("resources", "limits", "pids")),
    ("mem_reservation", ("resources", "reservations", "memory")),
)


def check_consistency(node: Node, path: str, given: dict[str, Any], scope: Scope) -> None:
    """Refuse what compose refuses: contradictions, and several containers of one name.

    A ``scale`` is added to ``deploy`` where that does not say how many, as compose does.
    """
    deploy = given.get("deploy", {})
    for key, place in _TWICE:
        section = deploy.get(place[0], {}).get(place[1])
        # A section that leaves it out says 0 there.
        if _amount(given.get(key)) and section is not None:
            _compare(node, path, key, place, given[key], section.get(place[2]), scope)
    if "scale" in given and "deploy" in given:
        replicas = deploy.get("replicas", given["scale"])
        _compare(node, path, "scale", ("replicas",), given["scale"], replicas, scope)
        order = ("mode", "replicas")
        rest = {name: value for name, value in deploy.items() if name not in order}
        first = {name: deploy[name] for name in order[:1] if name in deploy}
        given["deploy"] = {**first, "replicas": replicas, **rest}
    count = deploy.get("replicas", given.get("scale"))
    if "container_name" in given and (count or 1) > 1:
        place_of_name = node.get("container_name") or node
        message = f"{path}.container_name allows one container, but {count} are wanted"
        scope.unmet.append(place_of_name.problem(message))


def _compare(
    node: Node,
    path: str,
    key: str,
    place: tuple[str, ...],
    one: object,
    other: object,
    scope: Scope,
) -> None:
    if one != other:
        where = ".".join(("deploy", *place))
        wrong = node.get(key) or node
        scope.unmet.append(
            wrong.problem(
                f"{path} has different values in {key} and {where}; set both alike, or only {where}"
            )
        )


def _amount(value: object) -> bool:
    return value not in (None, 0, "0")


# -- Checks one service and returns it as ``docker compose config`` would print it.


_CONTAINER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_RESTART = re.compile(r"no|always|unless-stopped|on-failure(:\d+)?")
_PULL_POLICY = re.compile(r"always|never|missing|if_not_present|build|daily|weekly|every_.+")
_CONDITIONS = ("service_started", "service_healthy", "service_completed_successfully")


def _matching(pattern: re.Pattern[str], wanted: str) -> Converter:
    def convert(node: Node, path: str, scope: Scope) -> str:
        value = text(node, path, scope)
        if not pattern.fullmatch(value):
            raise Invalid(node, f'{path} is "{value}", but must be {wanted}')
        return value

    return convert


def _pull_policy(node: Node, path: str, scope: Scope) -> str:
    wanted = "always, missing, never, build, daily, weekly or every_<duration>"
    value: str = _matching(_PULL_POLICY, wanted)(node, path, scope)
    return "missing" if value == "if_not_present" else value


def _namespace(*choices: str) -> Converter:
    """Return a converter for the namespace that a service shares; not one of another container."""

    def convert(node: Node, path: str, scope: Scope) -> str:
        value = text(node, path, scope)
        if value.startswith(("service:", "container:")):
            message = f"{path} {value} is not supported by owctl; run this file with docker compose"
            scope.unmet.append(node.problem(message))
        elif value and value not in choices:
            raise Invalid(node, f'{path} is "{value}", but must be one of: {", ".join(choices)}')
        return value

    return convert


def _swap_limit(node: Node, path: str, scope: Scope) -> str:
    return "-1" if node.value == -1 else size(node, path, scope)


def _network_mode(node: Node, path: str, scope: Scope) -> str:
    value = text(node, path, scope)
    if value.startswith(("service:", "container:")):
        message = (
            f"{path} {value} is not supported by owctl; join the same network under networks, "
            "or run this file with docker compose"
        )
        scope.unmet.append(node.problem(message))
        return value
    choice: str = one_of("bridge", "host", "none")(node, path, scope)
    return choice


_ATTACHMENT = mapping(
    {
        "priority": integer,
        "aliases": unique_texts,
        "ipv4_address": text,
        "ipv6_address": text,
        "mac_address": text,
    },
    section="network attachment",
)


def _networks(node: Node, path: str, scope: Scope) -> dict[str, Any]:
    expect(node, path, dict, "a list of names, or a mapping")
    result: dict[str, Any] = {}
    for key, child in sorted(node.entries()):
        scope.references.append(Reference("networks", key, child, path))
        if child.value is None:
            result[key] = None
            continue
        given = scope.convert(_ATTACHMENT, child, f"{path}.{key}", default={})
        result[key] = {name: value for name, value in given.items() if value}
    return result


_DEPENDENCY = mapping({"condition": one_of(*_CONDITIONS), "restart": boolean, "required": boolean})


def _depends_on(node: Node, path: str, scope: Scope) -> dict[str, Any]:
    expect(node, path, dict, "a list of services, or a mapping")
    result: dict[str, Any] = {}
    for key, child in sorted(node.entries()):
        given = scope.convert(_DEPENDENCY, child, f"{path}.{key}", default={})
        result[key] = {"condition": given.get("condition", _CONDITIONS[0])}
        if given.get("restart"):
            result[key]["restart"] = True
        result[key]["required"] = given.get("required", True)
    return result


def _test(node: Node, path: str, scope: Scope) -> list[str]:
    if isinstance(node.value, str):
        return ["CMD-SHELL", node.value]
    if not isinstance(node.value, list):
        raise Invalid(node, f"{path} must be text or a list, not {kind_of(node.value)}")
    words = texts(node, path, scope)
    if words and words[0] not in ("NONE", "CMD", "CMD-SHELL"):
        raise Invalid(node, f'{path} must begin with CMD, CMD-SHELL or NONE, not "{words[0]}"')
    return words


def _retries(node: Node, path: str, scope: Scope) -> int:
    count = integer(node, path, scope)
    if count < 0:
        raise Invalid(node, f"{path} must not be negative")
    return count


_HEALTHCHECK = mapping(
    {
        "test": _test,
        "timeout": duration,
        "interval": duration,
        "retries": _retries,
        "start_period": duration,
        "start_interval": duration,
        "disable": boolean,
    }
)


def _healthcheck(node: Node, path: str, scope: Scope) -> dict[str, Any]:
    result: dict[str, Any] = _HEALTHCHECK(node, path, scope)
    if not result.get("disable"):
        result.pop("disable", None)
    return result


def _servers(node: Node, path: str, scope: Scope) -> list[str]:
    return [address for address in unique_texts(node, path, scope) if address]


_ENVIRONMENT_FILE = mapping(
    {"path": text, "required": boolean}, required=("path",), section="env_file"
)


def _environment_files(node: Node, path: str, scope: Scope) -> dict[str, str]:
    """Return what the files set; later ones win."""
    expect(node, path, list, "a path, or a list of paths")
    assert isinstance(node.value, list)
    values: dict[str, str] = {}
    done: set[Path] = set()
    for item in node.value:
        given = scope.convert(_ENVIRONMENT_FILE, item, path, default={})
        if "path" not in given:
            continue
        if not given["path"]:
            scope.problems.append(item.problem(f"{path} has an empty path"))
            continue
        named = scope.project_dir / Path(given["path"]).expanduser()
        file = named.resolve()
        if file in done:
            continue
        done.add(file)
        if file.exists():
            scope.files[Path(os.path.normpath(named))] = None
            read = read_environment_file(file, {**values, **scope.variables})
            scope.problems.extend(read.problems)
            for name in read.unset:
                scope.warn(f"The {name} variable is not set. Defaulting to a blank string.")
            values |= read.values
        elif given.get("required", True):
            message = (
                f"{path}: {display_path(file)} does not exist; create it, or say required: false"
            )
            scope.unmet.append(item.problem(message))
    return values


# The order is that of compose's own output, which its hash depends on.
_SERVICE_FIELDS: Mapping[str, Converter] = {
    "profiles": unique_texts,
    "build": build,
    "develop": develop,
    "cap_add": unique_texts,
    "cap_drop": unique_texts,
    "cgroup_parent": text,
    "cgroup": one_of("host", "private"),
    "cpu_period": integer,
    "cpu_quota": integer,
    "cpus": processors,
    "cpuset": text,
    "cpu_shares": integer,
    "command": command,
    "configs": grants("configs"),
    "container_name": _matching(_CONTAINER_NAME, "two or more of a-z A-Z 0-9 _ . -"),
    "depends_on": _depends_on,
    "deploy": deploy,
    "devices": devices,
    "dns": _servers,
    "dns_opt": unique_texts,
    "dns_search": unique_texts,
    "entrypoint": command,
    "environment": key_values,
    "env_file": _environment_files,
    "expose": expose,
    "extra_hosts": extra_hosts,
    "group_add": unique_scalars,
    "gpus": gpus,
    "hostname": text,
    "healthcheck": _healthcheck,
    "image": text,
    "init": boolean,
    "ipc": _namespace("host", "private", "shareable", "none"),
    "labels": labels,
    "logging": LOGGING,
    "mem_limit": size,
    "mem_reservation": size,
    "memswap_limit": _swap_limit,
    "mem_swappiness": size,
    "network_mode": _network_mode,
    "networks": _networks,
    "oom_kill_disable": boolean,
    "oom_score_adj": integer,
    "pid": _namespace("host"),
    "pids_limit": integer,
    "platform": text,
    "ports": ports,
    "privileged": boolean,
    "pull_policy": _pull_policy,
    "read_only": boolean,
    "restart": _matching(_RESTART, "no, always, unless-stopped or on-failure[:times]"),
    "runtime": text,
    "scale": integer,
    "secrets": grants("secrets"),
    "security_opt": unique_texts,
    "shm_size": size,
    "stdin_open": boolean,
    "stop_grace_period": duration,
    "stop_signal": text,
    "storage_opt": labels,
    "sysctls": labels,
    "tmpfs": unique_texts,
    "tty": boolean,
    "ulimits": ulimits,
    "user": text,
    "userns_mode": text,
    "uts": text,
    "volumes": volumes,
    "working_dir": text,
}
_CONVERT = mapping(_SERVICE_FIELDS, section="service")
# What compose leaves out of its output when it is false or empty.
_OMITTED_WHEN_EMPTY = frozenset(_SERVICE_FIELDS) - {
    *(
        "build",
        "command",
        "deploy",
        "develop",
        "entrypoint",
        "healthcheck",
        "init",
        "logging",
        "scale",
    )
}
_SIZES = ("mem_limit", "mem_reservation", "memswap_limit", "mem_swappiness", "shm_size")


def service_spec(node: Node, path: str, scope: Scope) -> dict[str, Any]:
    """Return the service's spec; records problems in ``scope`` and raises Invalid if it is none."""
    given = _CONVERT(node, path, scope)
    from_files = given.pop("env_file", {})
    # A name without a value has the variable's; nobody's value leaves it None.
    own = {
        key: scope.variables.get(key) if value is None else value
        for key, value in given.get("environment", {}).items()
    }
    given["environment"] = dict(sorted({**from_files, **own}.items()))
    if "network_mode" not in given and not given.get("networks"):
        given["networks"] = {"default": None}
    elif "network_mode" in given and given.get("networks"):
        place = node.get("network_mode") or node
        scope.unmet.append(place.problem(f"{path} has both network_mode and networks"))
    if not given.get("image") and "build" not in given and node.get("build") is None:
        scope.unmet.append(node.problem(f"{path} has neither image nor build"))
    if given.get("develop") is None:
        given.pop("develop", None)
    given.setdefault("command", None)
    given.setdefault("entrypoint", None)
    check_consistency(node, path, given, scope)
    return {
        key: given[key]
        for key in _SERVICE_FIELDS
        if key in given and not (key in _OMITTED_WHEN_EMPTY and _is_empty(given[key], key))
    }


def _is_empty(value: Plain, key: str) -> bool:
    return not value or (key in _SIZES and value == "0")
