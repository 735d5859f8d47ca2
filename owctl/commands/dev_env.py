"""``owctl dev env``: what a backend on this machine has to know."""

from collections.abc import Mapping

import click

from owctl.commands.options import examples, pass_context
from owctl.context import Context, DevelopmentContext

_EXAMPLES = (
    examples("owctl dev env --format dotenv > rust-backend/.env")
    + '\n\nIn the shell that runs the backend: eval "$(owctl dev env)"'
)


@click.command(epilog=_EXAMPLES)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["export", "dotenv", "json"]),
    default="export",
    show_default=True,
    help="For a shell, for a .env file, or for a program.",
)
@click.option("--json", "output_format", flag_value="json", help="Short for --format json.")
@pass_context
def env(context: Context, output_format: str) -> None:
    """Print the environment of a backend on this machine, with secrets.

    It is that of the service rust-backend, with the addresses that this machine has for the
    development stack's services. Passwords are printed in clear text.
    """
    from owctl.project.development import backend_environment
    from owctl.ui.console import unmasked

    assert isinstance(context, DevelopmentContext)
    variables = backend_environment(context.project.stack, context.stack)
    context.console.mask = unmasked
    if output_format == "json":
        document = {"schema": 1, "project": context.stack.project, "environment": variables}
        context.console.json(document)
        return
    context.console.result("\n".join(_lines(variables, dotenv=output_format == "dotenv")))


def _lines(variables: Mapping[str, str], *, dotenv: bool) -> list[str]:
    import shlex

    from owctl.project.environment_template import quoted

    if dotenv:
        return [f"{name}={quoted(value)}" for name, value in variables.items()]
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
