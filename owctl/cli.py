"""The root command: global options, the lazy command table, errors → exit codes."""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

from owctl import __version__
from owctl.commands.command_group import LazyGroup
from owctl.commands.completers import complete_file, complete_folder, given_flags
from owctl.errors import Interrupted, OwctlError, ReaderGone
from owctl.interrupts import outside_imports

# The sections of --help, by what a user is about to do.
SECTIONS = ("Lifecycle", "Observe", "Data", "Migrate", "Other")
# name → (module below owctl.commands, section of --help, one line). The line stands here so that
# --help imports no command; a test holds it to the command's own docstring.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "setup": (
        "setup",
        "Lifecycle",
        "Write .env with generated secrets, and compose files if none.",
    ),
    "start": ("start", "Lifecycle", "Start the stack and wait until every service answers."),
    "stop": ("stop", "Lifecycle", "Remove the containers and the network; keep the data."),
    "restart": ("stop", "Lifecycle", "Restart services and wait until they answer."),
    "rebuild": ("rebuild", "Lifecycle", "Build the images of services that are built here."),
    "upgrade": (
        "upgrade.images",
        "Lifecycle",
        "Take new images up, with a backup first and a way back.",
    ),
    "rollback": (
        "upgrade.rollback",
        "Lifecycle",
        "Go back to the images of before the last upgrade.",
    ),
    "dev": ("dev", "Lifecycle", "Run the databases and the bridge for a backend on this machine."),
    "clean": ("clean", "Lifecycle", "Remove the containers, the networks and the data."),
    "status": ("status", "Observe", "Show the containers: state, uptime, ports, image."),
    "health": ("health", "Observe", "Ask every service, in its own protocol, whether it works."),
    "doctor": (
        "doctor",
        "Observe",
        "Look for what can go wrong: engine, ports, disk, .env, images, database.",
    ),
    "logs": ("logs", "Observe", "Show the services' logs, merged by time, secrets masked."),
    "stats": ("stats", "Observe", "Show CPU, memory, network and disk of each container."),
    "top": ("top", "Observe", "Watch health, consumption and logs on one screen, and act on it."),
    "shell": (
        "shell",
        "Observe",
        "Open psql, redis-cli or a shell in a service, or run a command.",
    ),
    "config": ("config", "Observe", "Show the resolved stack, secrets redacted."),
    "history": ("history", "Observe", "Show who changed the project, when, and how it ended."),
    "backup": ("backup", "Data", "Back up the database, the files and the configuration."),
    "restore": ("restore", "Data", "Put a backup back, with a way to undo it."),
    "export": ("export", "Data", "Write tables as CSV or JSON lines, without the secrets."),
    "migrate": (
        "migrate",
        "Migrate",
        "Move accounts, chats and files from the Python backend to this stack.",
    ),
    "completion": ("completion", "Other", "Print the completion script of your shell."),
}
# owctl makes hundreds of thousands of objects while it imports, and hardly any garbage: Python's own
# 700 would have it search them hundreds of times, for a tenth of a short command's time.
OBJECTS_BETWEEN_COLLECTIONS = 20_000
ALIASES = {"up": "start", "down": "stop", "ps": "status", "build": "rebuild"}


class RootGroup(LazyGroup):
    """``owctl``: the commands by section."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; click would take any broken pipe for stdout's, and end without a word."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise RuntimeError(str(error)) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section, without importing them."""
        by_section: dict[str, list[tuple[str, str]]] = {section: [] for section in SECTIONS}
        also = {target: alias for alias, target in ALIASES.items()}
        for name, (_, section, line) in COMMANDS.items():
            shown = f"{name}, {also[name]}" if name in also else name
            by_section[section].append((shown, line))
        for section, rows in by_section.items():
            with formatter.section(section):
                formatter.write_dl(rows)


@click.command(
    cls=RootGroup,
    table={name: (module, name, line) for name, (module, _, line) in COMMANDS.items()},
    aliases=ALIASES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExamples:\n"
    "  owctl setup && owctl start\n"
    "  owctl health --json\n"
    "  owctl -C /srv/chat backup\n\n"
    "owctl COMMAND --help explains a command, with examples.\n\n"
    "Exit codes: 0 done, 1 failed, 2 usage, 3 not healthy, 4 configuration, 5 no engine, "
    "6 timed out, 7 backup invalid, 8 locked, 130 interrupted.",
)
@click.option(
    "-C",
    "--project-dir",
    metavar="DIR",
    shell_complete=complete_folder,
    help="The project's folder.",
)
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    metavar="FILE",
    shell_complete=complete_file,
    help="A compose file.",
)
@click.option(
    "--env-file",
    "env_files",
    multiple=True,
    metavar="FILE",
    shell_complete=complete_file,
    help="In place of .env.",
)
@click.option("-p", "--project-name", metavar="NAME", help="The project's name.")
@click.option("--profile", "profiles", multiple=True, metavar="NAME", help="A profile to enable.")
@click.option(
    "--context",
    "docker_context",
    metavar="NAME",
    help="A Docker context, here or elsewhere (DOCKER_HOST=ssh://… works, too).",
)
@click.option("-q", "--quiet", is_flag=True, help="Results and errors only.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option("--no-color", is_flag=True, help="No colours (also: NO_COLOR in the environment).")
@click.version_option(__version__, "--version", message="owctl %(version)s")
@click.pass_context
def cli(
    ctx: click.Context,
    /,
    quiet: bool,
    debug: bool,
    no_color: bool,
    **_: object,
) -> None:
    """Run a self-hosted Open WebUI stack: set up, start, probe, watch, back up."""
    from owctl.context import Context

    context = ctx.obj
    if not isinstance(context, Context):
        raise TypeError("run owctl through owctl.cli.run")
    context.flags = given_flags(ctx.params)
    context.set_output(quiet=quiet, debug=debug, no_color=no_color)


def _terminated(signal_number: int, _: FrameType | None) -> None:
    raise Interrupted(f"Stopped by {signal.Signals(signal_number).name}.")


def run(arguments: Sequence[str]) -> int:
    """Run one owctl command line and return its exit code.

    Every error becomes a message on stderr here, and nowhere else.
    """
    from owctl.context import Context

    context = Context(dict(os.environ), _working_dir())
    if "_OWCTL_COMPLETE" in os.environ:
        from owctl.commands.completion import answer

        return answer(cli, os.environ, context)
    try:
        result = cli.main(
            args=list(arguments), prog_name="owctl", standalone_mode=False, obj=context
        )
        sys.stdout.flush()
        code = result if isinstance(result, int) else 0
        if (refused := context.console.refused()) is None:
            return code
        context.console.error(refused)
        return code or refused.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        context.console.error(_usage_error(error))
        return 2
    except (KeyboardInterrupt, click.Abort):
        context.console.error(Interrupted("Interrupted."))
        return Interrupted.exit_code
    except ReaderGone:
        # Nobody is left to tell, and nothing is wrong.
        return 0
    except OwctlError as error:
        context.console.error(error)
        return error.exit_code
    except Exception as error:  # noqa: BLE001  # the last net: a user never sees a bare traceback
        context.console.error(
            OwctlError(
                f"owctl met an error that it does not know: {type(error).__name__}: {error}",
                hint="the same command with --debug, and report what it prints",
            )
        )
        return 1
    finally:
        context.close()


def _usage_error(error: click.ClickException) -> OwctlError:
    hint = getattr(error, "hint", None)
    if hint is None:
        ctx = getattr(error, "ctx", None)
        hint = f"{ctx.command_path} --help" if ctx is not None else "owctl --help"
    return OwctlError(error.format_message(), hint=hint)


def _working_dir() -> Path:
    """Return the folder as the shell names it: links are kept, as compose keeps them in labels."""
    named = Path(os.environ.get("PWD", "/"))
    try:
        here = Path.cwd()
    except FileNotFoundError:
        # The folder that the shell stands in was removed.
        return named
    return named if named.is_absolute() and named.exists() and named.samefile(here) else here


def _fill_closed_streams() -> None:
    """Let what is written to a closed stream (``>&-``) go nowhere; Python has no object for it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("w")  # noqa: SIM115  # stays open
            setattr(sys, name, nowhere)
            # Who puts another object into its place must not thereby close it.
            setattr(sys, f"__{name}__", nowhere)


def main() -> None:
    """Entry point of the ``owctl`` script."""
    from owctl.ui.console import guard_outputs

    _fill_closed_streams()
    guard_outputs()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, outside_imports(_terminated))
    # In a background job of a script Ctrl-C is ignored, and stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, outside_imports(signal.default_int_handler))
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    code = run(sys.argv[1:])
    # What is left goes with the process; at its end it need not be searched once more.
    gc.freeze()
    sys.exit(code)
