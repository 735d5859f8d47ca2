"""``owctl start``: bring the stack up and wait until every service answers."""

from functools import partial
from typing import TYPE_CHECKING

import click

from owctl.commands.options import Run, examples, ignore_option, mutating, services_argument
from owctl.commands.progress import Display
from owctl.context import Context
from owctl.doctor.finding import START_CHECKS
from owctl.errors import UsageError

if TYPE_CHECKING:
    from owctl.compose.model import Service, Stack
    from owctl.doctor.examine import MoreChecks
    from owctl.engine.connection import Engine
    from owctl.lifecycle.plan import Plan
    from owctl.lifecycle.run import Prepared
    from owctl.lifecycle.start_plan import Scale

_EXAMPLES = examples(
    "owctl start",
    "owctl start backend --build",
    "owctl start --dry-run",
    "owctl -f compose.yaml -f compose.scale.yaml start --scale backend=3",
)
_THERE = "(there)"


@click.command(epilog=_EXAMPLES)
@services_argument
@click.option("--no-wait", is_flag=True, help="Do not wait until the services answer.")
@click.option("--build", is_flag=True, help="Build images first, even those that exist.")
@click.option("--pull", is_flag=True, help="Pull images first, even those that exist.")
@click.option("--recreate", is_flag=True, help="Replace containers even when nothing changed.")
@click.option(
    "--scale",
    "scales",
    multiple=True,
    metavar="SERVICE=N",
    help="Run a service N times (repeatable); the newest containers go first when N shrinks.",
)
@click.option("--adopt", is_flag=True, help="Take over a project that another folder started.")
@ignore_option(START_CHECKS)
@mutating(timeout=True, plan=True)
def start(
    context: Context,
    services: tuple[str, ...],
    no_wait: bool,
    build: bool,
    pull: bool,
    recreate: bool,
    scales: tuple[str, ...],
    adopt: bool,
    ignore: tuple[str, ...],
    how: Run,
) -> None:
    """Start the stack and wait until every service answers.

    Starts the services that are named, with all that they depend on; without names, all. A
    service starts when its dependencies are ready. What runs unchanged is left alone.
    """
    from owctl.backup.restore.journal import remove_begun_note
    from owctl.commands.mutation import mutation, show_plan, tell_held
    from owctl.compose.services import resolve_services
    from owctl.lifecycle.run import prepare_start, run
    from owctl.lifecycle.start_plan import StartOptions, check_scale, with_dependencies
    from owctl.project.ownership import check_owner, remember_adoption

    stack, engine = context.stack, context.engine
    names = [service.name for service in resolve_services(stack, services)]
    scale = _scale(stack, scales)
    check_scale(stack, scale, with_dependencies(stack, names))
    options = StartOptions(wait=not no_wait, recreate=recreate, pull=pull, build=build, scale=scale)
    if how.dry_run:
        show_plan(context, prepare_start(engine, stack, names, options).plan, as_json=how.as_json)
        return
    with mutation(context, "start", how.lock_wait_seconds):
        owners = check_owner(engine, stack.project, stack.working_dir, adopt=adopt)
        if owners:
            remember_adoption(stack.working_dir, stack.project, owners)
        prepared = prepare_start(engine, stack, names, options)
        _warn_of_orphans(context, prepared.orphans)
        tell_held(context)
        look_before(context, prepared, ignore)
        # From here on it is a stack in use: a restore that was begun in an empty folder is over.
        remove_begun_note(stack.working_dir)
        with context.console.progress(f"Starting {stack.project}") as progress:
            made = run(
                engine,
                stack,
                prepared,
                Display(context.console, progress),
                timeout_seconds=how.timeout_seconds,
                pull=pull,
            )
    report(context, names, prepared.plan, made.ready_seconds)


def look_before(context: Context, prepared: "Prepared", ignore: tuple[str, ...] = ()) -> None:
    """Say what speaks against a plan before it is carried out; raises OwctlError for what forbids it."""
    from owctl.backup.lost_data import check_lost_data
    from owctl.lifecycle.run import check_before_start, starting_services

    stack = context.stack
    folder, starting = stack.working_dir, starting_services(prepared.plan)
    more: MoreChecks = {
        ("lost-data",): partial(check_lost_data, project_dir=folder, starting=starting)
    }
    for found in check_before_start(context.engine, stack, prepared, folder, ignore, more):
        context.console.warn(f"{found.detail}. {found.hint or ''}".strip())


def _scale(stack: "Stack", words: tuple[str, ...]) -> "Scale":
    from owctl.compose.services import resolve_services
    from owctl.lifecycle.start_plan import Scale

    asked: dict[str, int] = {}
    for word in words:
        name, separator, number = word.partition("=")
        if not separator or not number.isdecimal():
            raise UsageError(
                f"--scale takes SERVICE=N, and got {word!r}.", hint="--scale rust-backend=3"
            )
        (service,) = resolve_services(stack, [name])
        asked[service.name] = int(number)
    return Scale(asked)


def _warn_of_orphans(context: Context, orphans: tuple[str, ...]) -> None:
    if orphans:
        context.console.warn(
            f"{', '.join(orphans)}: containers of this project that no compose file describes; "
            "`owctl stop --remove-orphans` removes them"
        )


def report(
    context: Context, names: list[str], plan: "Plan", ready_seconds: dict[str, float]
) -> None:
    """Print what became of the named services, and of what else was started."""
    from owctl.engine.containers import list_containers
    from owctl.ui.table import Column

    stack = context.stack
    if not plan.changes:
        context.console.info(f"{stack.project} is already running; nothing changed.")
    elif context.console.quiet:
        return
    reasons = {step.service: step.reason for step in plan.steps if step.kind == "replace"}
    started = {step.service for step in plan.steps if step.kind == "start"}
    order = list(stack.services)
    machine = context.engine.machine_name()
    containers = list_containers(context.engine, stack.project, services=order)
    rows = []
    for container in sorted(containers, key=lambda c: (order.index(c.service), c.number)):
        if container.service not in {*names, *started}:
            continue
        service = stack.services[container.service]
        outcome = "started" if container.service in started else "running"
        if container.service in reasons:
            outcome = f"replaced: {reasons[container.service]}"
        seconds = ready_seconds.get(container.service)
        rows.append(
            [
                container.service if container.number == 1 else container.name,
                outcome,
                f"{seconds:.1f} s" if seconds is not None else "",
                ", ".join(
                    _address(service, port.host_ip, port.host_port, machine)
                    for port in _distinct(container.ports)
                ),
            ]
        )
    columns = [
        Column("SERVICE"),
        Column("OUTCOME", narrow="fold"),
        Column("READY AFTER", right=True),
        Column("ADDRESS"),
    ]
    if not context.console.quiet:
        context.console.table(columns, rows)
        if any(_THERE in row[-1] for row in rows):
            context.console.info(f"there: only on {machine} itself{_way(context.engine)}")


def _way(engine: "Engine") -> str:
    tunnel = engine.endpoint.tunnel
    return f"; from here: {tunnel.address.command} -L PORT:127.0.0.1:PORT" if tunnel else ""


def _distinct(ports: tuple["PublishedPort", ...]) -> list["PublishedPort"]:
    # The engine publishes 0.0.0.0 and :: as two entries; a user has one address.
    seen: dict[int, PublishedPort] = {}
    for port in ports:
        seen.setdefault(port.host_port, port)
    return list(seen.values())


def _address(service: "Service", host_ip: str, host_port: int, machine: str | None) -> str:
    from owctl.compose.services import choose_probe
    from owctl.engine.endpoint import is_loopback

    everywhere = host_ip in ("", "0.0.0.0", "::")  # noqa: S104
    host = (machine or "localhost") if everywhere else host_ip
    shown = f"[{host}]:{host_port}" if ":" in host else f"{host}:{host_port}"
    if machine is not None and is_loopback(host_ip):
        return f"{shown} {_THERE}"
    return f"http://{shown}" if choose_probe(service).type in ("http", "socketio") else shown


if TYPE_CHECKING:
    from owctl.engine.containers import PublishedPort
