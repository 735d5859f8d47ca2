"""``owctl status``: the containers as the engine sees them."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from owctl.commands.options import examples, format_option, pass_context, services_argument
from owctl.context import Context
from owctl.figures import uptime_text

if TYPE_CHECKING:
    from owctl.engine.containers import Container

STYLES = {"running": "green", "missing": "dim", "restarting": "yellow", "paused": "yellow"}

_EXAMPLES = examples(
    "owctl status",
    "owctl status backend --json",
)


@click.command(epilog=_EXAMPLES)
@services_argument
@format_option("table", "json")
@pass_context
def status(context: Context, services: tuple[str, ...], output_format: str) -> None:
    """Show the containers: state, uptime, ports, image.

    Exits with 0 whenever it could answer; `owctl health` is the command that judges.
    """
    from owctl.commands.mutation import tell_held, tell_unfinished, upgrades_document
    from owctl.compose.services import resolve_services
    from owctl.engine.containers import list_containers
    from owctl.ui.table import Cell, Column

    stack = context.stack
    names = [service.name for service in resolve_services(stack, services)]
    found = [
        c for c in list_containers(context.engine, stack.project) if _shown(c, names, services)
    ]
    missing = [name for name in names if all(c.service != name for c in found)]
    order = {name: index for index, name in enumerate(stack.services)}
    found.sort(key=lambda c: (order.get(c.service, len(order)), c.service, c.number))
    if output_format == "json":
        rows = [_json(container) for container in found]
        rows += [
            _missing_json(name, stack.services[name].image_name(stack.project)) for name in missing
        ]
        rows.sort(key=lambda row: order.get(row["service"], len(order)))
        context.console.document(stack.project, services=rows, **upgrades_document(context))
        return
    lines: dict[str, list[list[str | Cell]]] = {}
    for container in found:
        lines.setdefault(container.service, []).append(_row(container, context.engine.now()))
    for name in missing:
        lines[name] = [[name, Cell("missing", "dim"), "-", "", "", ""]]
    tell_unfinished(context)
    tell_held(context)
    ordered = sorted(lines, key=lambda name: (order.get(name, len(order)), name))
    context.console.table(
        [
            Column("SERVICE"),
            Column("STATE"),
            Column("HEALTH"),
            Column("UP", right=True),
            Column("PORTS"),
            Column("IMAGE", narrow="crop"),
        ],
        [row for name in ordered for row in lines[name]],
    )


def _shown(container: "Container", names: list[str], asked: tuple[str, ...]) -> bool:
    # Containers of the project that no file describes are part of the picture, too.
    return container.service in names or not asked


def _row(container: "Container", now: datetime) -> "list[Any]":
    from owctl.ui.table import Cell

    name = (
        container.service if container.number == 1 else f"{container.service} ({container.number})"
    )
    state = container.state
    if state == "exited":
        state = f"exited ({container.exit_code})"
    return [
        name,
        Cell(state, STYLES.get(container.state, "red")),
        container.engine_health or "-",
        uptime_of(container, now),
        ports_text(container),
        container.image,
    ]


def ports_text(container: "Container") -> str:
    """Return the published ports, each once, with the host's address where it is not every one."""
    ports: dict[str, None] = {}
    for port in container.ports:
        host = "" if port.host_ip in ("0.0.0.0", "::", "") else f"{port.host_ip}:"  # noqa: S104
        ports[f"{host}{port.host_port}→{port.container_port}"] = None
    return ", ".join(ports)


def uptime_of(container: "Container", now: datetime) -> str:
    """Return how long a container has been up at ``now`` of its engine, "" if it is not."""
    if container.state not in ("running", "paused") or not container.started_at:
        return ""
    began = datetime.fromisoformat(container.started_at[:19] + "+00:00")
    return uptime_text(max(0, int((now - began).total_seconds())))


def _json(container: "Container") -> dict[str, Any]:
    return {
        "service": container.service,
        "container": container.name,
        "number": container.number,
        "state": container.state,
        "engine_health": container.engine_health,
        "exit_code": container.exit_code,
        "started_at": container.started_at,
        "image": container.image,
        "image_id": container.image_id,
        "ports": [
            {
                "host_ip": port.host_ip,
                "host_port": port.host_port,
                "container_port": port.container_port,
                "protocol": port.protocol,
            }
            for port in container.ports
        ],
    }


def _missing_json(name: str, image: str) -> dict[str, Any]:
    return {
        "service": name,
        "container": None,
        "number": None,
        "state": "missing",
        "engine_health": None,
        "exit_code": None,
        "started_at": None,
        "image": image,
        "image_id": None,
        "ports": [],
    }
