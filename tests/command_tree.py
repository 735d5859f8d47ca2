"""All commands of owctl, and what a command line means to them."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from owctl.cli import cli
from owctl.context import Context

# Where the shell takes over from owctl.
_SHELL = {"|", ">", ">>", "<", "&&", "||", ";"}


def contexts(parent: click.Context | None = None) -> Iterator[click.Context]:
    """A context of each command, owctl itself first; default subcommands stand for themselves, too."""
    context = parent or click.Context(cli, info_name="owctl", **cli.context_settings)
    yield context
    if isinstance(context.command, click.Group):
        names = [*context.command.list_commands(context)]
        if default := getattr(context.command, "default", None):
            names.append(default)
        for name in names:
            command = context.command.get_command(context, name)
            assert command is not None, name
            sub = click.Context(command, parent=context, info_name=name, **command.context_settings)
            yield from contexts(sub)


def owctl_calls(line: str) -> Iterator[list[str]]:
    """The words of each call of owctl in a shell's line, the name itself left out."""
    call: list[str] = []
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>&;")
    lexer.whitespace_split = True
    words = list(lexer)
    for index, word in enumerate([*words, ";"]):
        if word in _SHELL:
            if call[:1] == ["owctl"]:
                yield call[1:]
            call = []
        elif index == 0 or words[index - 1] not in {">", ">>", "<"}:
            call.append(word)


def parse(words: list[str]) -> tuple[str, ...]:
    """Parse a command line as owctl does, without running it; returns the command's path.

    Raises click.UsageError for what owctl would refuse.
    """
    context = cli.make_context("owctl", list(words), obj=Context({}, Path("/")))
    path: tuple[str, ...] = ()
    while isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, command, rest = context.command.resolve_command(context, rest)
        assert command is not None
        assert name is not None
        if name != getattr(context.command, "default", None):
            path = (*path, name)
        context = command.make_context(name, rest, parent=context)
    return path
