"""``owctl dev``: the development stack; most commands are those of the project's own stack."""

import copy
import re
from collections.abc import Mapping

import click

from owctl.commands.command_group import LazyGroup
from owctl.commands.options import examples, format_option, pass_context
from owctl.context import Context, DevelopmentContext

_EXAMPLES = (
    examples("owctl dev env --format dotenv > rust-backend/.env")
    + '\n\nIn the shell that runs the backend: eval "$(owctl dev env)"'
)


@click.command(epilog=_EXAMPLES)
@format_option("export", "dotenv", "json", text="For a shell, for a .env file, or for a program.")
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
        context.console.document(context.stack.project, environment=variables)
        return
    context.console.result("\n".join(_lines(variables, dotenv=output_format == "dotenv")))


def _lines(variables: Mapping[str, str], *, dotenv: bool) -> list[str]:
    import shlex

    from owctl.project.environment_template import quoted

    if dotenv:
        return [f"{name}={quoted(value)}" for name, value in variables.items()]
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


# name → (module below owctl.commands, function, one line). What is not `env` is the command of the
# project's own stack, on other compose files and another project.
TABLE: dict[str, tuple[str, str, str]] = {
    "start": ("start", "start", "Start PostgreSQL, Redis and the bridge; wait until they answer."),
    "tools": ("start", "start", "Start them with pgAdmin and Redis Commander."),
    "stop": ("stop", "stop", "Remove the containers and the network; keep the data."),
    "env": ("dev", "env", "Print the environment of a backend on this machine, with secrets."),
    "status": ("status", "status", "Show the containers: state, uptime, ports, image."),
    "health": ("health", "health", "Ask every service, in its own protocol, whether it works."),
    "logs": ("logs", "logs", "Show the services' logs, merged by time, secrets masked."),
    "shell": ("shell", "shell", "Open psql, redis-cli or a shell in a service."),
    "stats": ("stats", "stats", "Show CPU, memory, network and disk of each container."),
    "restart": ("stop", "restart", "Restart services and wait until they answer."),
    "rebuild": ("rebuild", "rebuild", "Build the images of services that are built here."),
    "config": ("config", "config", "Show the resolved stack, secrets redacted."),
}
# What an example needs, or shows, beside the name.
_ARGUMENTS = {"logs": " -f", "shell": " db", "restart": " bridge", "config": " --validate"}
_ALIASES = {"up": "start", "down": "stop", "ps": "status", "build": "rebuild"}
_OWN_COMMAND = re.compile(rf"\bowctl ({'|'.join(sorted({*TABLE} - {'env', 'tools'}))})\b")


class DevelopmentGroup(LazyGroup):
    """The commands of the project's own stack, with help of their own."""

    def load(self, name: str) -> click.Command:
        """Return a copy of the command, which says whose it is."""
        _, function, line = self.table[name]
        command = copy.copy(super().load(name))
        command.params = list(command.params)
        command.name = name
        if name != "env":
            command.help = (
                f"{line}\n\nThe development stack's `owctl {function}`, option for option."
            )
            command.epilog = examples(f"owctl dev {name}{_ARGUMENTS.get(name, '')}")
        return command


@click.command(
    cls=DevelopmentGroup,
    table=TABLE,
    aliases=_ALIASES,
    epilog=examples(
        "owctl dev start", "owctl dev env --format dotenv > .env.backend", "owctl dev stop"
    )
    + '\n\nOr eval "$(owctl dev env)", and the backend in that shell. The files are compose.dev.yaml or '
    "docker-compose.dev.yaml.",
)
@pass_context
@click.pass_context
def dev(ctx: click.Context, context: Context) -> None:
    """Run the databases and the bridge for a backend on this machine.

    A project of its own beside the project's stack: other containers, another network, other
    volumes, the same .env.
    """
    development = context.development
    development.tools = ctx.invoked_subcommand == "tools"
    development.console.reword = _reworded
    ctx.call_on_close(development.close)
    ctx.obj = development


def _reworded(text: str) -> str:
    """Return a message with the commands that it names turned into those of this stack."""
    return _OWN_COMMAND.sub(r"owctl dev \1", text)
