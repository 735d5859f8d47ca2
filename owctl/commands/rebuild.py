"""``owctl rebuild``: build the images of services that are built here, and put them to use."""

from typing import TYPE_CHECKING

import click

from owctl.commands.options import Run, examples, mutating, services_argument
from owctl.commands.progress import Display
from owctl.context import Context
from owctl.errors import UsageError

if TYPE_CHECKING:
    from owctl.compose.model import Service
    from owctl.lifecycle.run import Prepared

_EXAMPLES = examples(
    "owctl rebuild backend --cache --up",
    "owctl rebuild --pull",
)


@click.command(epilog=_EXAMPLES)
@services_argument
@click.option("--cache", "use_cache", is_flag=True, help="Use the build cache.")
@click.option("--pull", is_flag=True, help="Pull newer base images first.")
@click.option(
    "--up", is_flag=True, help="Then replace what runs the old image, and wait until it answers."
)
@mutating(timeout=True)
def rebuild(
    context: Context,
    services: tuple[str, ...],
    use_cache: bool,
    pull: bool,
    up: bool,
    how: Run,
) -> None:
    """Build the images of services that are built here.

    Without cache, unless --cache is given. What runs keeps running, also when a build fails:
    `owctl start` replaces it, or --up, as soon as all images are built. docker buildx is used where
    it is installed.
    """
    from owctl.commands.mutation import mutation

    buildable = _buildable(context, services)
    kept = [service.name for service in buildable if service.held_image is not None]
    if up and kept:
        raise UsageError(
            f"{', '.join(kept)}: kept at an earlier image since it went back to it; --up would not "
            "take the new one.",
            hint=f"owctl upgrade {' '.join(kept)}, which builds, too",
        )
    if not buildable:
        context.console.info("No service of this stack is built here; nothing to build.")
    elif how.dry_run:
        _show(context, buildable, up=up)
    elif up:
        with mutation(context, "rebuild", how.lock_wait_seconds):
            _build_and_start(context, buildable, use_cache, pull, how.timeout_seconds)
    else:
        with mutation(context, "rebuild", how.lock_wait_seconds):
            _build(context, buildable, use_cache, pull)
        context.console.info("`owctl start` takes the new images up.")
        if kept:
            names = ", ".join(kept)
            context.console.info(f"{names}: kept at an earlier image until `owctl upgrade`.")


def _buildable(context: Context, names: tuple[str, ...]) -> "list[Service]":
    from owctl.compose.services import resolve_services

    chosen = resolve_services(context.stack, names)
    buildable = [service for service in chosen if service.build is not None]
    if names and len(buildable) < len(chosen):
        rest = ", ".join(service.name for service in chosen if service.build is None)
        raise UsageError(
            f"{rest}: runs a ready-made image, there is nothing to build.",
            hint="owctl start --pull fetches a newer image",
        )
    return buildable


def _prepare(context: Context, buildable: "list[Service]") -> "Prepared":
    from owctl.lifecycle.run import prepare_start
    from owctl.lifecycle.start_plan import StartOptions

    names = [service.name for service in buildable]
    options = StartOptions(builds=frozenset(names))
    return prepare_start(context.engine, context.stack, names, options)


def _show(context: Context, buildable: "list[Service]", *, up: bool) -> None:
    from owctl.commands.mutation import show_plan

    if up:
        show_plan(context, _prepare(context, buildable).plan)
        return
    for service in buildable:
        context.console.result(f"build image {service.declared_image(context.stack.project)}")


def _build_and_start(
    context: Context,
    buildable: "list[Service]",
    use_cache: bool,
    pull: bool,
    timeout_seconds: float,
) -> None:
    from owctl.commands.start import look_before, report
    from owctl.lifecycle.run import run
    from owctl.project.ownership import check_owner

    stack, engine, console = context.stack, context.engine, context.console
    check_owner(engine, stack.project, stack.working_dir, adopt=False)
    prepared = _prepare(context, buildable)
    look_before(context, prepared)
    with console.progress(f"Building and starting {stack.project}") as progress:
        made = run(
            engine,
            stack,
            prepared,
            Display(context.console, progress),
            timeout_seconds=timeout_seconds,
            pull=pull,
            no_cache=not use_cache,
        )
    report(context, [service.name for service in buildable], prepared.plan, made.ready_seconds)


def _build(context: Context, buildable: "list[Service]", use_cache: bool, pull: bool) -> None:
    from owctl.engine.build import build_image

    project = context.stack.project
    with context.console.progress(f"Building {project}") as progress:
        for service in buildable:
            progress.update(service.name, "waiting", "waiting")
        for service in buildable:
            name = service.name
            progress.update(name, "working", "building")
            build_image(
                context.engine,
                project,
                service,
                no_cache=not use_cache,
                pull=pull,
                on_line=lambda text, name=name: progress.update(  # type: ignore[misc]
                    name, "working", f"building: {text.strip()}"
                ),
            )
            progress.update(name, "done", f"built {service.declared_image(project)}")
