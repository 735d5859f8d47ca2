"""Commands that have commands below them, each imported when it is called, and the options that all take."""

import difflib
import importlib
from collections.abc import Mapping
from inspect import cleandoc

import click
from click.shell_completion import CompletionItem

# -- ``-q``, ``--debug`` and ``--no-color`` behind a command's name, too.


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


# -- A command with subcommands, each imported when it is called, and one that runs without a name.


class CommandGroup(click.Group):
    """``owctl backup`` and ``owctl backup list``: the first runs the default subcommand.

    ``table`` is name → (module below owctl.commands, function in it, help line). The default's options
    are shown as the group's own; it stands in ``table``, too.
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
        super().__init__(name, **attributes)  # type: ignore[arg-type]
        self.table = table
        self.default = default
        self.takes_words = takes_words

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, the default left out."""
        return [name for name in self.table if name != self.default]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand; None for an unknown name."""
        if cmd_name not in self.table:
            return None
        module, function, _ = self.table[cmd_name]
        command: click.Command = getattr(
            importlib.import_module(f"owctl.commands.{module}"), function
        )
        accept_output_options(command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default's name before words that name no subcommand."""
        first = args[0] if args else ""
        if first in ctx.help_option_names or first in self.table:
            return super().parse_args(ctx, args)
        if ctx.resilient_parsing and not args:
            return super().parse_args(ctx, args)
        if first and not first.startswith("-") and not self.takes_words:
            self._unknown(ctx, first)
        return super().parse_args(ctx, [self.default, *args])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer the subcommands, and what the default takes in their place."""
        default = self.get_command(ctx, self.default)
        if default is None:
            return super().shell_complete(ctx, incomplete)
        as_default = default.make_context(self.default, [], parent=ctx, resilient_parsing=True)
        if incomplete.startswith("-"):
            return default.shell_complete(as_default, incomplete)
        found = [
            CompletionItem(name, help=self.table[name][2])
            for name in self.list_commands(ctx)
            if name.startswith(incomplete)
        ]
        for parameter in default.params:
            if isinstance(parameter, click.Argument):
                return found + parameter.shell_complete(as_default, incomplete)
        return found

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the group's sentence, and what the default's own help says after its first."""
        super().format_help_text(ctx, formatter)
        default = self.get_command(ctx, self.default)
        _, _, more = cleandoc((default and default.help) or "").partition("\n\n")
        if more:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(more)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the default's examples."""
        default = self.get_command(ctx, self.default)
        if default is not None:
            default.format_epilog(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the default's arguments and options, then the subcommands."""
        default = self.get_command(ctx, self.default)
        if default is not None:
            default.format_options(ctx, formatter)
        if rows := [(name, self.table[name][2]) for name in self.list_commands(ctx)]:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the default's usage, and that there are subcommands."""
        default = self.get_command(ctx, self.default)
        pieces = default.collect_usage_pieces(ctx) if default is not None else []
        return [*pieces, "| COMMAND …"]

    def _unknown(self, ctx: click.Context, name: str) -> None:
        near = difflib.get_close_matches(name, self.table, n=1)
        error = click.UsageError(f"There is no command `{ctx.command_path} {name}`.", ctx)
        error.hint = f"{ctx.command_path} {near[0] if near else '--help'}"  # type: ignore[attr-defined]
        raise error
