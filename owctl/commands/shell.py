"""``owctl shell``: psql, redis-cli or a shell in a service, or any command in it."""

import os
import sys
from typing import TYPE_CHECKING

import click

from owctl.commands.completers import complete_service
from owctl.commands.options import examples, pass_context
from owctl.context import Context
from owctl.errors import Interrupted, OwctlError

if TYPE_CHECKING:
    from owctl.compose.model import Service
    from owctl.engine.containers import Container

OWN_FAILURE = 125

_EXAMPLES = examples(
    "owctl shell db",
    "owctl shell db psql --version",
    "echo 'select 1' | owctl shell db",
    "owctl shell -u root backend",
)


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="Exits with the command's own code; 125 when owctl itself failed, 2 for a wrong option.\n\n"
    + _EXAMPLES,
)
@click.option("-u", "--user", metavar="USER", help="As this user of the container.")
@click.option("-T", "--no-tty", is_flag=True, help="No terminal, even where there is one.")
@click.option(
    "--index",
    type=click.IntRange(min=1),
    metavar="N",
    help="Which container of a scaled service.  [default: the first that runs]",
)
@click.argument("service", shell_complete=complete_service)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
@pass_context
def shell(
    context: Context,
    user: str | None,
    no_tty: bool,
    index: int | None,
    service: str,
    command: tuple[str, ...],
) -> None:
    """Open psql, redis-cli or a shell in a service, or run a command.

    Options of owctl stand before the service; all that follows it is the command. With a
    terminal on both sides the command gets one; otherwise input and output are passed through:
    echo 'select 1' | owctl shell db
    """
    try:
        code = _run(context, service, command, user=user, no_tty=no_tty, index=index)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(Interrupted.exit_code) from None
    except BrokenPipeError:
        # Nobody reads what the command writes: it ends as a program in a pipe does.
        raise click.exceptions.Exit(141) from None
    except Interrupted:
        raise
    except OwctlError as error:
        context.console.error(error)
        raise click.exceptions.Exit(OWN_FAILURE) from error
    raise click.exceptions.Exit(code)


def _run(
    context: Context,
    name: str,
    command: tuple[str, ...],
    *,
    user: str | None,
    no_tty: bool,
    index: int | None,
) -> int:
    from owctl.compose.services import resolve_services
    from owctl.engine.execution import open_exec
    from owctl.engine.terminal import attach

    (service,) = resolve_services(context.stack, [name])
    container = _container(context, service, index)
    # As for other programs, `--` may stand between owctl's words and the command's.
    argv = command[1:] if command[:1] == ("--",) else command
    program, environment = _program(service, container)
    argv = argv or program
    # Without stdin (`<&-`) Python has no sys.stdin.
    stdin = sys.stdin.fileno() if sys.stdin is not None else None
    terminal = not no_tty and stdin is not None and os.isatty(stdin) and sys.stdout.isatty()
    if terminal:
        environment["TERM"] = context.environ.get("TERM", "xterm")
    with open_exec(
        context.engine,
        container.id,
        argv,
        environment=environment,
        user=user,
        stdin=stdin is not None,
        tty=terminal,
    ) as stream:
        return attach(
            stream,
            stdin=stdin,
            stdout=sys.stdout.fileno(),
            stderr=sys.stderr.fileno(),
            terminal=terminal,
        )


def _container(context: Context, service: "Service", index: int | None) -> "Container":
    """Return the running container to go into; raises OwctlError if there is none."""
    from owctl.engine.containers import list_containers

    found = list_containers(context.engine, context.stack.project, services=[service.name])
    wanted = [container for container in found if index in (None, container.number)]
    running = [container for container in wanted if container.is_running]
    if running:
        return running[0]
    which = service.name if index is None else f"{service.name} number {index}"
    if wanted:
        raise OwctlError(
            f"{which} is not running (its container is {wanted[0].state})",
            hint=f"owctl start {service.name}; owctl logs --tail 20 {service.name} shows why it ended",
        )
    numbers = ", ".join(str(container.number) for container in found)
    raise OwctlError(
        f"{which} is not running (it has no such container)",
        hint=f"one of its numbers: {numbers}" if found else f"owctl start {service.name}",
    )


def _program(service: "Service", container: "Container") -> tuple[tuple[str, ...], dict[str, str]]:
    """Return what a bare ``shell`` runs in the service, and the variables that any command gets.

    With them ``owctl shell db pg_dump …`` signs in, too. Passwords travel as variables: an argument
    could be read by everyone in the container.
    """
    from owctl.health.choice import choose_probe
    from owctl.health.credentials import (
        command_of,
        container_environment,
        postgres_login,
        redis_password,
    )

    environment = container_environment(service, container)
    kind = choose_probe(service).type
    if kind == "postgres":
        user, database = postgres_login(environment)
        password = environment.get("POSTGRES_PASSWORD")
        variables = {"PGUSER": user, "PGDATABASE": database}
        return ("psql",), variables | ({"PGPASSWORD": password} if password else {})
    if kind == "redis":
        password = redis_password(environment, command_of(service, container))
        return ("redis-cli",), {"REDISCLI_AUTH": password} if password else {}
    # One exec, not two: sh is everywhere and finds out itself whether there is a bash.
    return ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash || exec sh"), {}
