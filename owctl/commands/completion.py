"""``owctl completion``: the script that makes a shell complete owctl's commands."""

import click

from owctl.commands.options import examples, pass_context
from owctl.context import Context
from owctl.errors import OwctlError

_EXAMPLES = examples(
    "owctl completion bash > ~/.local/share/bash-completion/completions/owctl",
    "owctl completion zsh > ~/.zfunc/_owctl",
    "owctl completion fish > ~/.config/fish/completions/owctl.fish",
)


@click.command(epilog=_EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_context
@click.pass_context
def completion(ctx: click.Context, context: Context, shell: str) -> None:
    """Print the completion script of your shell.

    bash: owctl completion bash > /etc/bash_completion.d/owctl
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise OwctlError(f"There is no completion for {shell}.", hint="bash, zsh or fish")
    script = kind(ctx.find_root().command, {}, "owctl", "_OWCTL_COMPLETE").source()
    context.console.result(script)
