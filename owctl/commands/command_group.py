"""Groups of commands, each imported when it is called, and the options that all commands take."""

import difflib
import importlib
from collections.abc import Mapping
from inspect import cleandoc

import click
from click.shell_completion import CompletionItem


def accept_output_options(command: click.Command) -> None:
    """Let ``-q``, ``--debug`` and ``--no-color`` stand after the command, too."""
    if any(parameter.name == "after_quiet" for parameter in command.params):
        return
    if isinstance(command, click.Group):
        for sub in command.commands.values():
            accept_output_options(sub)
    taken = {option for parameter in command.params for option in parameter.opts}

    def switch(attribute: str) -> object:
        def callback(ctx: click.Context, _: click.Parameter, value: bool) -> None:
            if value and ctx.obj is not None:
                ctx.obj.set_output(**{attribute: True})

        return callback

    for flags, attribute, text in (
        (("-q", "--quiet"), "quiet", "No progress, no messages; results and errors only."),
        (("--debug",), "debug", "Show tracebacks and what is sent to the engine."),
        (("--no-color",), "no_color", "No colours (also: NO_COLOR in the environment)."),
    ):
        options = [flag for flag in flags if flag not in taken]
        command.params.append(
            click.Option(
                [*options, f"after_{attribute}"],
                is_flag=True,
                expose_value=False,
                hidden=attribute != "quiet",
                help=text,
                callback=switch(attribute),
                is_eager=True,
            )
        )


class LazyGroup(click.Group):
    """A table of commands: name → (module below owctl.commands, function in it, help line).

    The line stands in the table so that --help and completion import no command; a test holds it to
    the command's own docstring. ``aliases`` is other name → name.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        table: Mapping[str, tuple[str, str, str]],
        aliases: Mapping[str, str] | None = None,
        **attributes: object,
    ) -> None:
        super().__init__(name, **attributes)  # type: ignore[arg-type]
        self.table = table
        self.aliases = aliases or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which --help shows them."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; aliases are accepted, unknown names give None."""
        name = self.aliases.get(cmd_name, cmd_name)
        if name not in self.table:
            return None
        command = self.load(name)
        accept_output_options(command)
        return command

    def load(self, name: str) -> click.Command:
        """Return the command of a name in the table."""
        module, function, _ = self.table[name]
        found: click.Command = getattr(
            importlib.import_module(f"owctl.commands.{module}"), function
        )
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer the names, without importing the commands; the options after a dash."""
        return self.offered(ctx, incomplete) + click.Command.shell_complete(self, ctx, incomplete)

    def offered(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin so."""
        return [
            CompletionItem(name, help=self.table[name][2])
            for name in self.list_commands(ctx)
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands without importing them."""
        if rows := [(name, self.table[name][2]) for name in self.list_commands(ctx)]:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a name; an unknown one is an error that offers the nearest."""
        if args and not args[0].startswith("-"):
            self.refuse_unknown(ctx, args[0])
        return super().resolve_command(ctx, args)

    def refuse_unknown(self, ctx: click.Context, name: str) -> None:
        """Raise UsageError for a name that is not in the table, with the nearest one as its hint."""
        if name in self.table or name in self.aliases:
            return
        near = difflib.get_close_matches(name, [*self.table, *self.aliases])
        # Of equals the one with the same letters: two were swapped.
        near.sort(key=lambda known: sorted(known) != sorted(name))
        said = f"`{ctx.command_path} {name}`" if ctx.parent else repr(name)
        error = click.UsageError(f"There is no command {said}.", ctx)
        error.hint = f"{ctx.command_path} {near[0] if near else '--help'}"  # type: ignore[attr-defined]
        raise error


class CommandGroup(LazyGroup):
    """``owctl backup`` and ``owctl backup list``: the first runs the default subcommand.

    The default's options are shown as the group's own; it stands in ``table``, too.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        table: Mapping[str, tuple[str, str, str]],
        default: str,
        takes_words: bool = False,
        **attributes: object,
    ) -> None:
        super().__init__(name, table=table, **attributes)  # type: ignore[arg-type]
        self.default = default
        self.takes_words = takes_words

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, the default left out."""
        return [name for name in self.table if name != self.default]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default's name before words that name no subcommand."""
        first = args[0] if args else ""
        if first in ctx.help_option_names or first in self.table:
            return super().parse_args(ctx, args)
        if ctx.resilient_parsing and not args:
            return super().parse_args(ctx, args)
        if first and not first.startswith("-") and not self.takes_words:
            self.refuse_unknown(ctx, first)
        return super().parse_args(ctx, [self.default, *args])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer the subcommands, and what the default takes in their place."""
        default = self._default()
        as_default = default.make_context(self.default, [], parent=ctx, resilient_parsing=True)
        if incomplete.startswith("-"):
            return default.shell_complete(as_default, incomplete)
        found = self.offered(ctx, incomplete)
        for parameter in default.params:
            if isinstance(parameter, click.Argument):
                return found + parameter.shell_complete(as_default, incomplete)
        return found

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the group's sentence, and what the default's own help says after its first."""
        super().format_help_text(ctx, formatter)
        _, _, more = cleandoc(self._default().help or "").partition("\n\n")
        if more:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(more)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the default's examples."""
        self._default().format_epilog(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the default's arguments and options, then the subcommands."""
        self._default().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the default's usage, and that there are subcommands."""
        return [*self._default().collect_usage_pieces(ctx), "| COMMAND …"]

    def _default(self) -> click.Command:
        command = self.load(self.default)
        accept_output_options(command)
        return command
