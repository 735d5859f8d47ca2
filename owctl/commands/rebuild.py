"""``owctl rebuild``: build the images of services that are built here."""

import click

from owctl.commands.options import lock_wait_option, pass_context, services_argument
from owctl.context import Context
from owctl.errors import UsageError


@click.command()
@services_argument
@click.option("--cache", "use_cache", is_flag=True, help="Use the build cache.")
@click.option("--pull", is_flag=True, help="Pull newer base images first.")
@lock_wait_option
@pass_context
def rebuild(
    context: Context,
    services: tuple[str, ...],
    use_cache: bool,
    pull: bool,
    lock_wait_seconds: float,
) -> None:
    """Build the images of services that are built here.

    Without cache, unless --cache is given. `owctl start` then replaces what runs the old image.
    """
    from owctl.commands.mutation import mutation
    from owctl.compose.services import resolve_services
    from owctl.engine.build import build_image

    stack, engine = context.stack, context.engine
    chosen = resolve_services(stack, services)
    buildable = [service for service in chosen if service.build is not None]
    if services and len(buildable) < len(chosen):
        rest = ", ".join(service.name for service in chosen if service.build is None)
        raise UsageError(
            f"{rest}: runs a ready-made image, there is nothing to build.",
            hint="owctl start --pull fetches a newer image",
        )
    if not buildable:
        context.console.info("No service of this stack is built here; nothing to build.")
        return
    with (
        mutation(context, "rebuild", lock_wait_seconds),
        context.console.progress(f"Building {stack.project}") as progress,
    ):
        for service in buildable:
            progress.update(service.name, "waiting", "waiting")
        for service in buildable:
            name = service.name
            progress.update(name, "working", "building")
            build_image(
                engine,
                stack.project,
                service,
                no_cache=not use_cache,
                pull=pull,
                on_line=lambda text, name=name: progress.update(  # type: ignore[misc]
                    name, "working", f"building: {text.strip()}"
                ),
            )
            progress.update(name, "done", f"built {service.declared_image(stack.project)}")
    kept = [service.name for service in buildable if service.held_image is not None]
    context.console.info("`owctl start` takes the new images up.")
    if kept:
        context.console.info(f"{', '.join(kept)}: kept at an earlier image until `owctl upgrade`.")
