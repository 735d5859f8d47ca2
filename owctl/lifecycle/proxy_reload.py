"""A web server made to forget the addresses that it knows, without losing a request."""

import threading
import time
from typing import TYPE_CHECKING

from owctl.compose.model import Stack
from owctl.errors import OwctlError
from owctl.lifecycle.observed import Observed
from owctl.lifecycle.proxy import upstreams

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container

_WORKER = "nginx: worker process"
_POLL_SECONDS = 0.05
# One that is about to end shuts down at once; what it has begun may take longer, and harms nobody.
_PATIENCE_SECONDS = 10.0


def web_servers(stack: Stack, observed: Observed, service: str) -> "list[Container]":
    """Return the running containers of the web servers that stand in front of a service."""
    return [
        container
        for name, each in stack.services.items()
        if service in upstreams(stack, each)
        for container in observed.of(name)
        if container.state == "running"
    ]


def reload_gracefully(engine: "Engine", container: "Container", cancel: threading.Event) -> bool:
    """Have nginx read its configuration, and every name in it, again.

    Returns once no worker that knows the old addresses takes a new request; False where the
    container has no nginx.
    """
    from owctl.lifecycle.proxy import reload

    before = _workers(engine, container)
    if not reload(engine, container):
        return False
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while before & _workers(engine, container) and time.monotonic() < deadline:
        cancel.wait(_POLL_SECONDS)
    return True


def _workers(engine: "Engine", container: "Container") -> set[int]:
    """Return the ids of the workers that take requests: one that is ending says so in its title."""
    from owctl.engine.processes import list_processes

    try:
        found = list_processes(engine, container.id)
    except OwctlError:
        # No `ps` on the engine's host: nothing can be waited for.
        return set()
    return {process for process, title in found.items() if title.strip() == _WORKER}
