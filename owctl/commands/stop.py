"""``owctl stop`` and ``owctl restart``."""

import click

from owctl.commands.options import Run, examples, mutating, services_argument
from owctl.commands.progress import Display
from owctl.context import Context

# -- owctl stop


_STOP_EXAMPLES = examples(
    "owctl stop",
    "owctl stop backend bridge",
)


@click.command(epilog=_STOP_EXAMPLES)
@services_argument
@click.option(
    "--remove-orphans", is_flag=True, help="Also containers that no compose file describes."
)
@mutating(plan=True)
def stop(
    context: Context,
    services: tuple[str, ...],
    remove_orphans: bool,
    how: Run,
) -> None:
    """Remove the containers and the network; keep the data.

    Volumes, images and backups stay: `owctl start` continues where this left off. A container whose
    data is in an unnamed volume is stopped and kept, as the volume would be lost without it.
    """
    from owctl.commands.mutation import mutation, show_plan
    from owctl.compose.services import resolve_services
    from owctl.lifecycle.run import prepare_stop, run

    stack, engine = context.stack, context.engine
    names = [service.name for service in resolve_services(stack, services)]
    if how.dry_run:
        show_plan(
            context,
            prepare_stop(engine, stack, names, orphans=remove_orphans).plan,
            as_json=how.as_json,
        )
        return
    with mutation(context, "stop", how.lock_wait_seconds):
        prepared = prepare_stop(engine, stack, names, orphans=remove_orphans)
        if not prepared.plan.steps:
            context.console.info(f"{stack.project} is not running; nothing to stop.")
            return
        with context.console.progress(f"Stopping {stack.project}") as progress:
            run(engine, stack, prepared, Display(context.console, progress))
    if prepared.orphans and not remove_orphans:
        context.console.warn(
            f"{', '.join(prepared.orphans)}: left running, no compose file describes them; "
            "--remove-orphans removes them, too"
        )
    for line in prepared.kept_data:
        context.console.info(line)
    context.console.info(
        f"Stopped {', '.join(names)}; the data is kept."
        if services
        else f"{stack.project} is stopped; its volumes are kept."
    )


# -- owctl restart


_RESTART_EXAMPLES = examples(
    "owctl restart backend",
    "owctl restart --timeout 60",
)


@click.command(epilog=_RESTART_EXAMPLES)
@services_argument
@mutating(timeout=True, plan=True)
def restart(
    context: Context,
    services: tuple[str, ...],
    how: Run,
) -> None:
    """Restart services and wait until they answer.

    The containers stay the same: a changed .env or compose file is taken up by `owctl start`.
    """
    from owctl.commands.mutation import mutation, show_plan
    from owctl.compose.services import resolve_services
    from owctl.lifecycle.run import prepare_restart, run

    stack, engine = context.stack, context.engine
    names = [service.name for service in resolve_services(stack, services)]
    if how.dry_run:
        show_plan(context, prepare_restart(engine, stack, names).plan, as_json=how.as_json)
        return
    with mutation(context, "restart", how.lock_wait_seconds):
        prepared = prepare_restart(engine, stack, names)
        with context.console.progress(f"Restarting {stack.project}") as progress:
            run(
                engine,
                stack,
                prepared,
                Display(context.console, progress),
                timeout_seconds=how.timeout_seconds,
            )
    context.console.info(f"Restarted {', '.join(names)}.")
