"""``develop``: of no use to owctl, but part of what compose hashes."""

from typing import Any

from owctl.compose.document import Node
from owctl.compose.fields import (
    Scope,
    boolean,
    command,
    each,
    key_values,
    mapping,
    one_of,
    text,
    texts,
)
from owctl.compose.mount_rules import host_path


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
_DEVELOP = mapping({"watch": each(_WATCH)}, section="develop")
_ORDER = ("path", "action", "target", "exec", "ignore", "include", "initial_sync")


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
