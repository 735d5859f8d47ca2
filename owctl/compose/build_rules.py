"""The keys ``build`` and ``develop`` of a service."""

from typing import Any

from owctl.compose.document import Invalid, Node
from owctl.compose.fields import (
    Scope,
    boolean,
    command,
    duration,
    each,
    expect,
    integer,
    key_values,
    labels,
    mapping,
    one_of,
    processors,
    scalar_text,
    size,
    text,
    texts,
)
from owctl.compose.mount_rules import host_path

# -- Checks a service's ``build`` and ``deploy``.


_REMOTE = ("git@", "github.com/")


def extra_hosts(node: Node, path: str, scope: Scope) -> list[str]:
    """Names with addresses as ``name=address``, sorted."""
    found: set[str] = set()
    expect(node, path, list, "a list of name:address, or a mapping")
    assert isinstance(node.value, list)
    for item in node.value:
        entry = scope.convert(text, item, path)
        if entry is None:
            continue
        name, equals, address = entry.partition("=")
        if not (name and equals and address):
            scope.problems.append(item.problem(f'{path} has "{entry}", which is not name:address'))
        else:
            found.add(f"{name}={address.strip('[]')}")
    return sorted(found)


def _context(node: Node, path: str, scope: Scope) -> str:
    value = text(node, path, scope)
    if "://" in value or value.startswith(_REMOTE):
        message = f"{path} is remote, which is not supported by owctl; clone it, or use an image"
        scope.unmet.append(node.problem(message))
        return value
    return host_path(value, scope)


def _platforms(node: Node, path: str, scope: Scope) -> list[str]:
    names = texts(node, path, scope)
    if len(set(names)) > 1:
        raise Invalid(node, f"{path} has {len(names)} platforms; one image here can have only one")
    return names


def _arguments(node: Node, path: str, scope: Scope) -> dict[str, str | None]:
    """Build arguments; one without a value has the variable's, or is left out."""
    given = key_values(node, path, scope)
    resolved = {k: scope.variables.get(k) if v is None else v for k, v in given.items()}
    return {key: value for key, value in resolved.items() if value is not None}


_BUILD = mapping(
    {
        "context": _context,
        "dockerfile": text,
        "args": _arguments,
        "labels": labels,
        "cache_from": texts,
        "extra_hosts": extra_hosts,
        "network": text,
        "target": text,
        "platforms": _platforms,
    },
    section="build",
)


def build(node: Node, path: str, scope: Scope) -> dict[str, Any]:
    """How the image is built; the context is an absolute path."""
    given = _BUILD(node, path, scope)
    context = given.pop("context", None) or host_path(".", scope)
    dockerfile = given.pop("dockerfile", None) or "Dockerfile"
    result = {"context": context, "dockerfile": dockerfile, **given}
    return {k: v for k, v in result.items() if k != "args" or v}


def _count(node: Node, path: str, scope: Scope) -> int:
    return -1 if node.value == "all" else integer(node, path, scope)


_DEVICE = mapping(
    {
        "capabilities": texts,
        "driver": text,
        "count": _count,
        "device_ids": texts,
        "options": labels,
    },
    section="device",
)


def gpus(node: Node, path: str, scope: Scope) -> list[dict[str, Any]]:
    """``all``, or a list of device requests."""
    if node.value == "all":
        return [{"count": -1}]
    result: list[dict[str, Any]] = each(_DEVICE)(node, path, scope)
    return result


_UPDATE = mapping(
    {
        "parallelism": integer,
        "delay": duration,
        "failure_action": text,
        "monitor": duration,
        "max_failure_ratio": processors,
        "order": one_of("start-first", "stop-first"),
    }
)
_LIMITS = mapping({"cpus": processors, "memory": size, "pids": integer}, section="limits")
_RESERVATIONS = mapping(
    {"cpus": processors, "memory": size, "devices": each(_DEVICE)}, section="reservations"
)
_DEPLOY = mapping(
    {
        "mode": one_of("replicated", "global", "replicated-job", "global-job"),
        "replicas": integer,
        "labels": labels,
        "update_config": _UPDATE,
        "rollback_config": _UPDATE,
        "resources": mapping({"limits": _LIMITS, "reservations": _RESERVATIONS}),
        "restart_policy": mapping(
            {
                "condition": one_of("none", "no", "on-failure", "any", "always", "unless-stopped"),
                "delay": duration,
                "max_attempts": integer,
                "window": duration,
            }
        ),
        "placement": mapping(
            {
                "constraints": texts,
                "preferences": each(mapping({"spread": text})),
                "max_replicas_per_node": integer,
            }
        ),
        "endpoint_mode": one_of("vip", "dnsrr"),
    },
    section="deploy",
)
_DEPLOY_ORDER = (
    "mode", "replicas", "labels", "update_config", "rollback_config", "resources",
    "restart_policy", "placement", "endpoint_mode",
)  # fmt: skip
_SWARM_ONLY = ("labels", "update_config", "rollback_config", "placement", "endpoint_mode")


def deploy(node: Node, path: str, scope: Scope) -> dict[str, Any]:
    """Replicas, resources and restart policy; the rest is for Swarm and only warned of."""
    given = _DEPLOY(node, path, scope)
    if given.get("mode", "replicated") != "replicated":
        scope.warn(
            f"{path}.mode {given['mode']} matters to Docker Swarm only; it changes nothing here."
        )
    for key in _SWARM_ONLY:
        if key in given:
            scope.warn(f"{path}.{key} matters to Docker Swarm only; it changes nothing here.")
    for key in ("delay", "window"):
        if key in given.get("restart_policy", {}):
            scope.warn(f"{path}.restart_policy.{key} matters to Docker Swarm only.")
    given = {k: v for k, v in given.items() if k != "labels" or v}
    result = {"resources": {}, "placement": {}, **given}
    return {key: result[key] for key in _DEPLOY_ORDER if key in result}


def devices(node: Node, path: str, scope: Scope) -> list[dict[str, str]]:
    """Device files as source, target and permissions."""
    found: dict[str, dict[str, str]] = {}
    expect(node, path, list, "a list")
    assert isinstance(node.value, list)
    for item in node.value:
        device = scope.convert(_device, item, path)
        if device is not None:
            found[device["target"]] = device
    return list(found.values())


_DEVICE_FILE = mapping({"source": text, "target": text, "permissions": text}, required=("source",))


def _device(node: Node, path: str, scope: Scope) -> dict[str, str]:
    if isinstance(node.value, dict):
        given: dict[str, str] = _DEVICE_FILE(node, path, scope)
        source = given.get("source", "")
        return {"source": source, "target": source, "permissions": "rwm", **given}
    parts = text(node, path, scope).split(":")
    if len(parts) > 3 or not all(parts):
        raise Invalid(node, f'{path} has "{node.value}", but must be like /dev/snd:/dev/snd:rwm')
    target = parts[1] if len(parts) > 1 else parts[0]
    return {
        "source": parts[0],
        "target": target,
        "permissions": parts[2] if len(parts) > 2 else "rwm",
    }


def _options(node: Node, path: str, scope: Scope) -> dict[str, str]:
    expect(node, path, dict, "a mapping")
    return {
        key: scope.convert(scalar_text, child, f"{path}.{key}", default="")
        for key, child in sorted(node.entries())
    }


LOGGING = mapping({"driver": text, "options": _options})


_ULIMIT = mapping({"soft": integer, "hard": integer}, required=("soft", "hard"))


def ulimits(node: Node, path: str, scope: Scope) -> dict[str, Any]:
    """Limits as a number, or as soft and hard."""
    expect(node, path, dict, "a mapping")
    return {
        key: scope.convert(
            _ULIMIT if isinstance(child.value, dict) else integer, child, f"{path}.{key}", default=0
        )
        for key, child in sorted(node.entries())
    }


# -- ``develop``: of no use to owctl, but part of what compose hashes.


def _path(node: Node, path: str, scope: Scope) -> str:
    return host_path(text(node, path, scope), scope)


_ACTIONS = ("rebuild", "sync", "restart", "sync+restart", "sync+exec")
_HOOK = mapping(
    {
        "command": command,
        "user": text,
        "privileged": boolean,
        "working_dir": text,
        "environment": key_values,
    },
    section="hook",
)


def _hook(node: Node, path: str, scope: Scope) -> dict[str, Any]:
    given: dict[str, Any] = _HOOK(node, path, scope)
    return {"command": None, **{k: v for k, v in given.items() if v or k == "command"}}


_WATCH = mapping(
    {
        "path": _path,
        "action": one_of(*_ACTIONS),
        "target": text,
        "exec": _hook,
        "ignore": texts,
        "include": texts,
        "initial_sync": boolean,
    },
    required=("path", "action"),
    section="watch",
)
_ORDER = ("path", "action", "target", "exec", "ignore", "include", "initial_sync")


def _watch(node: Node, path: str, scope: Scope) -> dict[str, Any]:
    given: dict[str, Any] = _WATCH(node, path, scope)
    if given.get("action", "").startswith("sync") and not given.get("target"):
        raise Invalid(node, f"{path} needs the key target, to which it syncs")
    return given


_DEVELOP = mapping({"watch": each(_watch)}, section="develop")


def develop(node: Node, path: str, scope: Scope) -> dict[str, Any] | None:
    """Return the section as compose prints it; None if it is empty."""
    scope.warn(f"{path} is for docker compose watch; owctl does not use it.")
    if node.value is None:
        return None
    given: dict[str, Any] = _DEVELOP(node, path, scope)
    triggers = [{"exec": {"command": None}, **trigger} for trigger in given.get("watch", ())]
    watch = [
        {key: trigger[key] for key in _ORDER if trigger.get(key) not in (None, "", [], False)}
        for trigger in triggers
    ]
    return {"watch": watch} if watch else {}
