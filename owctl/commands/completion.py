"""``owctl completion``: the script that makes a shell complete owctl's commands."""

import click

from owctl.commands.options import examples, pass_context
from owctl.context import Context

_EXAMPLES = examples(
    "owctl completion bash > ~/.local/share/bash-completion/completions/owctl",
    "owctl completion zsh > ~/.zfunc/_owctl",
    "owctl completion fish > ~/.config/fish/completions/owctl.fish",
)


@click.command(epilog=_EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_context
def completion(context: Context, shell: str) -> None:
    """Print the completion script of your shell.

    It completes commands, options and their values, the services of the project that the line means,
    and the ids of backups. zsh looks in the folders of fpath: put ~/.zfunc there before compinit.
    """
    from owctl.commands.shell_completion import SCRIPTS

    context.console.result(SCRIPTS[shell].rstrip())
