"""``owctl shell``: psql, redis-cli or a shell in a service, or a command."""

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from owctl.commands.completers import complete_service
from owctl.commands.options import examples, pass_context
from owctl.context import Context
from owctl.errors import Interrupted, OwctlError

if TYPE_CHECKING:
    from owctl.compose.model import Service
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container


# -- The container that a command goes into


class NotRunning(OwctlError):
    """No container of the service runs; ``can_be_started`` tells whether `owctl start` would help."""

    def __init__(self, message: str, *, hint: str, can_be_started: bool) -> None:
        super().__init__(message, hint=hint)
        self.can_be_started = can_be_started


def running_container(
    engine: "Engine", project: str, service: str, index: int | None
) -> "Container":
    """Return the service's container of that number, or the first that runs. Raises NotRunning."""
    from owctl.engine.containers import list_containers

    found = list_containers(engine, project, services=[service])
    wanted = [container for container in found if index in (None, container.number)]
    for container in wanted:
        if container.is_running:
            return container
    if wanted:
        raise _not_running(wanted[0], service)
    if found:
        numbers = ", ".join(str(container.number) for container in found)
        raise NotRunning(
            f"{service} number {index} is not running (it has no such container)",
            hint=f"one of its numbers: {numbers}",
            can_be_started=False,
        )
    raise NotRunning(
        f"{service} is not running (it has no container)",
        hint=f"owctl start {service}",
        can_be_started=index in (None, 1),
    )


def _not_running(container: "Container", service: str) -> NotRunning:
    why = f"owctl logs --tail 20 {service} shows why"
    if container.state == "paused":
        return NotRunning(
            f"{service} is paused: nothing can run in it",
            hint=f"docker unpause {container.name}",
            can_be_started=False,
        )
    if container.state == "restarting":
        return NotRunning(
            f"{service} is restarting: it ended and waits for its next start",
            hint=why,
            can_be_started=False,
        )
    return NotRunning(
        f"{service} is not running (its container is {container.state})",
        hint=f"owctl start {service}; {why} it ended",
        can_be_started=True,
    )


# -- owctl shell


OWN_FAILURE = 125

_EXAMPLES = examples(
    "owctl shell backend",
    "owctl shell db < changes.sql",
    "owctl shell db pg_dump --schema-only > schema.sql",
    "owctl shell -u root -w /tmp -e DEBUG=1 backend ls -l",
)


def _variables(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Return the variables of ``--env``; a bare name is one of the caller's environment."""
    variables = {}
    for text in values:
        name, given, value = text.partition("=")
        if not name:
            raise click.BadParameter(f"{text!r} has no name before the '='.", ctx, param)
        if not given:
            own = ctx.find_object(Context)
            if own is None or name not in own.environ:
                raise click.BadParameter(
                    f"{name} is not set in owctl's environment; NAME=VALUE gives it a value.",
                    ctx,
                    param,
                )
            value = own.environ[name]
        variables[name] = value
    return variables


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog=_EXAMPLES
    + """

Exits with the command's own code: 126 if it may not be executed, 127 if there is none such, 3 if SQL from
a file failed; 125 when owctl itself failed, 2 for a wrong option.""",
)
@click.option("-u", "--user", metavar="USER", help="As this user of the container.")
@click.option("-w", "--workdir", metavar="DIR", help="In this folder of the container.")
@click.option(
    "-e",
    "--env",
    "variables",
    multiple=True,
    callback=_variables,
    metavar="NAME[=VALUE]",
    help="Set a variable (repeatable). NAME alone takes its value from owctl's environment, where it "
    "does not show in the list of processes.",
)
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
    workdir: str | None,
    variables: dict[str, str],
    no_tty: bool,
    index: int | None,
    service: str,
    command: tuple[str, ...],
) -> None:
    """Open psql, redis-cli or a shell in a service, or run a command.

    Options of owctl stand before the service; all that follows it is the command. With a
    terminal on both sides the command gets one; otherwise input and output are passed through.
    SQL that is piped into a bare `shell db` stops at the first error. A service that does not run is
    started first, if you say so.
    """
    from owctl.engine.terminal import CommandNotStarted

    how = _How(user=user, working_dir=workdir, variables=variables, no_tty=no_tty)
    try:
        code = _run(context, service, command, index, how)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(Interrupted.exit_code) from None
    except BrokenPipeError:
        # Nobody reads what the command writes: it ends as a program in a pipe does.
        raise click.exceptions.Exit(141) from None
    except Interrupted:
        raise
    except CommandNotStarted as error:
        context.console.error(error)
        raise click.exceptions.Exit(error.exit_code) from error
    except OwctlError as error:
        context.console.error(error)
        raise click.exceptions.Exit(OWN_FAILURE) from error
    raise click.exceptions.Exit(code)


@dataclass(frozen=True, slots=True)
class _How:
    """How the command runs: as whom, where, with which variables."""

    user: str | None
    working_dir: str | None
    variables: dict[str, str]
    no_tty: bool


def _run(
    context: Context, name: str, command: tuple[str, ...], index: int | None, how: _How
) -> int:
    from owctl.compose.services import resolve_services
    from owctl.engine.execution import open_exec
    from owctl.engine.terminal import CommandNotStarted, attach, window_size
    from owctl.postgres.place import database_of

    place = database_of(context.stack)
    is_database = name == "db" and name not in context.stack.services
    named = place.name if place is not None and is_database else name
    (service,) = resolve_services(context.stack, [named])
    container = _container(context, service, index)
    # As for other programs, `--` may stand between owctl's words and the command's.
    argv = command[1:] if command[:1] == ("--",) else command
    # Without stdin (`<&-`) Python has no sys.stdin.
    stdin = sys.stdin.fileno() if sys.stdin is not None else None
    typed = stdin is not None and os.isatty(stdin)
    terminal = typed and not how.no_tty and sys.stdout.isatty()
    program, environment = _program(service, container, typed=typed)
    if "PGDATABASE" in environment:
        environment |= _application_database(context, service, container)
    if terminal:
        environment["TERM"] = context.environ.get("TERM", "xterm")
    try:
        with open_exec(
            context.engine,
            container.id,
            argv or program,
            environment=environment | how.variables,
            user=how.user,
            working_dir=how.working_dir,
            stdin=stdin is not None,
            tty=terminal,
            size=window_size(sys.stdout.fileno()) if terminal else None,
        ) as stream:
            return attach(
                stream,
                program=f"{(argv or program)[0]!r} in {service.name}",
                stdin=stdin,
                stdout=sys.stdout.fileno(),
                stderr=sys.stderr.fileno(),
                terminal=terminal,
            )
    except CommandNotStarted as error:
        if argv and argv[0].startswith("-") and error.program_missing:
            raise CommandNotStarted(
                f"{argv[0]!r} stands behind the service, so it is taken for a command to run in it.",
                hint=f"owctl shell {argv[0]} … {service.name}, for an option of owctl; "
                f"owctl shell {service.name} {program[0]} {argv[0]} …, for one of {program[0]}",
                exit_code=error.exit_code,
                program_missing=True,
            ) from error
        if argv or program[0] != "sh" or not error.program_missing:
            raise
        raise CommandNotStarted(
            f"{service.name} has no shell: there is neither bash nor sh in its image "
            f"{container.image}.",
            hint=f"owctl shell {service.name} PROGRAM, with one that it has; owctl logs {service.name}",
            exit_code=error.exit_code,
            program_missing=True,
        ) from error


def _container(context: Context, service: "Service", index: int | None) -> "Container":
    """Return the running container to go into, started if the user wants; or raise OwctlError."""
    try:
        return running_container(context.engine, context.stack.project, service.name, index)
    except NotRunning as error:
        if not error.can_be_started or sys.stdin is None:
            raise
        if not context.console.confirm(f"{error.message}. Start it?", default=True):
            raise
    from owctl.commands.start import start

    # What start reports is not what the command writes.
    with contextlib.redirect_stdout(sys.stderr):
        click.get_current_context().invoke(start, services=(service.name,))
    return running_container(context.engine, context.stack.project, service.name, index)


def _application_database(
    context: Context, service: "Service", container: "Container"
) -> dict[str, str]:
    """Return the variable of the application's database, where it is one of this service's.

    Where the server does not have it yet, somebody comes to make it: the server's own will do.
    """
    from owctl.engine.containers import list_containers
    from owctl.postgres.place import database_of, server_in

    stack = context.stack
    place = database_of(stack, list_containers(context.engine, stack.project))
    if place is None or place.name != service.name or place.database is None:
        return {}
    with contextlib.suppress(OwctlError):
        if not server_in(context.engine, container, place.database).has_database():
            context.console.warn(
                f"There is no database {place.database}, which DATABASE_URL names; this is "
                f"{place.credentials.database}."
            )
            return {}
    return {"PGDATABASE": place.database}


def _program(
    service: "Service", container: "Container", *, typed: bool
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return what a bare ``shell`` runs in the service, and the variables that any command gets.

    SQL that nobody types (not ``typed``) must not go on after an error, nor do otherwise by somebody's
    psqlrc, which may turn AUTOCOMMIT off; with ``-f`` psql tells its line.
    With the variables ``owctl shell db pg_dump …`` signs in, too. Passwords travel as variables: an
    argument could be read by everyone in the container.
    """
    from owctl.compose.services import choose_probe
    from owctl.health.target import command_of, container_environment, redis_password
    from owctl.postgres.place import credentials_of

    environment = container_environment(service, container)
    kind = choose_probe(service).type
    if kind == "postgres":
        psql = ("psql",) if typed else ("psql", "-X", "-v", "ON_ERROR_STOP=1", "-f", "-")
        return psql, credentials_of(environment).variables
    if kind == "redis":
        password = redis_password(environment, command_of(service, container))
        return ("redis-cli",), {"REDISCLI_AUTH": password} if password else {}
    # One exec, not two: sh is everywhere and finds out itself whether there is a bash.
    return ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash || exec sh"), {}
