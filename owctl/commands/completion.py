"""``owctl completion``: the scripts of the shells, and what they are answered."""

import io
import re
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr
from typing import TYPE_CHECKING

import click

from owctl.commands.options import examples, pass_context
from owctl.context import Context

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


# -- The scripts of bash, zsh and fish, and the answer to what they ask
# A script hands the line up to the cursor over in ``COMP_LINE``; the answer is one offer a line: its kind
# (``plain``, ``dir``, ``file``), the value, what it is, with tabs between.


VARIABLE = "_OWCTL_COMPLETE"

_BASH = r"""# owctl in bash, 4.0 or later
_owctl_completion() {
    local response kind value what
    COMPREPLY=()
    response=$(COMP_LINE=${COMP_LINE:0:COMP_POINT} _OWCTL_COMPLETE=bash "${1/#\~/$HOME}" 2>/dev/null)
    while IFS=$'\t' read -r kind value what; do
        case $kind in
            plain) COMPREPLY+=("$value") ;;
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
        esac
    done <<< "$response"
}
complete -o nosort -F _owctl_completion owctl 2>/dev/null || complete -F _owctl_completion owctl
"""

_ZSH = r"""#compdef owctl

_owctl_completion() {
    local line="${(j: :)words[1,CURRENT-1]} $PREFIX" offer
    local -a parts offers
    [[ $PREFIX == --*=* ]] && compset -P '*='
    for offer in "${(@f)$(COMP_LINE=$line _OWCTL_COMPLETE=zsh ${~words[1]} 2>/dev/null)}"; do
        parts=("${(@ps:\t:)offer}")
        case $parts[1] in
            plain) offers+=("${parts[2]//:/\\:}${parts[3]:+:$parts[3]}") ;;
            dir) _path_files -/ ;;
            file) _files ;;
        esac
    done
    (( $#offers )) && _describe -V owctl offers
}

if [[ $funcstack[1] == _owctl ]]; then
    _owctl_completion "$@"
else
    compdef _owctl_completion owctl
fi
"""

_FISH = r"""function _owctl_completion
    set -l line (commandline -cp | string collect)
    for offer in (env COMP_LINE=$line _OWCTL_COMPLETE=fish owctl 2>/dev/null)
        set -l parts (string split \t -- $offer)
        switch $parts[1]
            case plain
                printf '%s\t%s\n' $parts[2] $parts[3]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
        end
    end
end

complete --no-files --keep-order --command owctl --arguments '(_owctl_completion)'
"""

SCRIPTS: Mapping[str, str] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def answer(root: click.Command, environ: Mapping[str, str], obj: object) -> int:
    """Print what fits at the cursor; returns an exit code.

    ``obj`` is the context of the commands. Whatever goes wrong, nothing is printed: it would stand in
    the user's prompt.
    """
    try:
        with redirect_stderr(io.StringIO()):
            lines = offers(root, environ.get("COMP_LINE", ""), environ[VARIABLE], obj)
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt, SystemExit):  # noqa: BLE001  # nobody is there to read it
        return 1
    return 0


def offers(root: click.Command, line: str, shell: str, obj: object) -> list[str]:
    """Return the answer to the line up to the cursor; may raise whatever a command raises."""
    from click.shell_completion import ShellComplete, split_arg_string

    words = split_arg_string(line)
    incomplete = words.pop() if words and not line[-1:].isspace() else ""
    while words and _ASSIGNMENT.match(words[0]):
        del words[0]
    completion = ShellComplete(root, {"obj": obj}, "owctl", VARIABLE)
    found = completion.get_completions(words[1:], incomplete)
    # fish replaces the whole word, where the others replace what follows the sign.
    option, sign, _ = incomplete.partition("=")
    prefix = f"{option}{sign}" if shell == "fish" and sign and option.startswith("--") else ""
    return [_line(item, prefix) for item in found]


def _line(item: "CompletionItem", prefix: str) -> str:
    value = f"{prefix}{item.value}" if item.type == "plain" else str(item.value)
    what = " ".join((item.help or "").split())
    return f"{item.type}\t{value}\t{what}"


# -- owctl completion


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

    context.console.result(SCRIPTS[shell].rstrip())
