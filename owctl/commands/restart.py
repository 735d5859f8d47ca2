"""``owctl restart``: restart services and wait until they answer."""

import click

from owctl.commands.options import (
    examples,
    lock_wait_option,
    pass_context,
    plan_options,
    services_argument,
    timeout_option,
)
from owctl.context import Context

_EXAMPLES = examples(
    "owctl restart backend",
    "owctl restart --timeout 60",
)


@click.command(epilog=_EXAMPLES)
@services_argument
@timeout_option
@plan_options
@lock_wait_option
@pass_context
def restart(
    context: Context,
    services: tuple[str, ...],
    timeout_seconds: float,
    dry_run: bool,
    as_json: bool,
    lock_wait_seconds: float,
) -> None:
    """Restart services and wait until they answer.

    The containers stay the same: a changed .env or compose file is taken up by `owctl start`.
    """
    from owctl.commands.mutation import StepDisplay, mutation, show_plan
    from owctl.compose.services import resolve_services
    from owctl.lifecycle.run import prepare_restart, run

    stack, engine = context.stack, context.engine
    names = [service.name for service in resolve_services(stack, services)]
    if dry_run:
        show_plan(context, prepare_restart(engine, stack, names).plan, as_json=as_json)
        return
    with mutation(context, "restart", lock_wait_seconds):
        prepared = prepare_restart(engine, stack, names)
        with context.console.progress(f"Restarting {stack.project}") as progress:
            run(
                engine,
                stack,
                prepared,
                StepDisplay(progress, prepared.plan),
                timeout_seconds=timeout_seconds,
            )
    context.console.info(f"Restarted {', '.join(names)}.")
