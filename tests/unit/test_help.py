"""The help of every command: grouped, with examples that can be typed, fit for 80 columns."""

import re

import click
import pytest

from owctl.cli import ALIASES, COMMANDS, SECTIONS, cli, run
from owctl.commands.command_group import LazyGroup
from tests.command_tree import contexts, owctl_calls, parse

COLUMNS = 80
CONTEXTS = {context.command_path: context for context in contexts()}


def help_of(path: str) -> str:
    """The help as a terminal of 80 columns shows it."""
    context = CONTEXTS[path]
    context.terminal_width = COLUMNS
    return click.unstyle(context.get_help())


def example_lines(path: str) -> list[str]:
    text = help_of(path)
    found = re.search(r"^  Examples:\n((?:    .*\n?)+)", text, re.MULTILINE)
    return [line.strip() for line in found[1].splitlines()] if found else []


def own_path(path: str) -> tuple[str, ...]:
    """The names that stand for the command on a command line: a default's own name does not."""
    context, names = CONTEXTS[path], []
    while context.parent is not None:
        if context.info_name != getattr(context.parent.command, "default", None):
            names.append(str(context.info_name))
        context = context.parent
    return tuple(reversed(names))


@pytest.mark.parametrize("path", CONTEXTS)
def test_help_fits_into_80_columns(path):
    assert [line for line in help_of(path).splitlines() if len(line) > COLUMNS] == []


@pytest.mark.parametrize("path", CONTEXTS)
def test_a_command_has_examples_of_itself_that_can_be_typed(path):
    lines = example_lines(path)
    assert lines, f"{path} --help has no example: epilog=examples(…)"
    parsed = [parse(call) for line in lines for call in owctl_calls(line)]
    if path == "owctl":
        assert parsed
    else:
        # Commands under another name are written as their main one; a group that does nothing by
        # itself is shown by its commands.
        own = own_path(path)
        assert own in [
            tuple(ALIASES.get(name, name) for name in each)[: len(own)] for each in parsed
        ]


def test_an_example_that_cannot_be_typed_is_found():
    with pytest.raises(click.UsageError):
        parse(["backup", "verify", "--al"])
    with pytest.raises(click.UsageError):
        parse(["backup", "push"])
    with pytest.raises(click.UsageError):
        parse(["health", "--format", "xml"])
    assert list(owctl_calls("echo 'a | b' | owctl shell db > x && owctl stop")) == [
        ["shell", "db"],
        ["stop"],
    ]


def test_commands_are_grouped_by_purpose():
    assert {section for _, section, _ in COMMANDS.values()} <= set(SECTIONS)
    text = help_of("owctl")
    places = [text.index(f"\n{section}:\n") for section in SECTIONS]
    assert places == sorted(places)
    assert list(COMMANDS) == sorted(COMMANDS, key=lambda name: SECTIONS.index(COMMANDS[name][1]))


def test_the_line_of_a_command_is_its_own():
    for name, (_, _, line) in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.get_short_help_str(200).rstrip(".") == line.rstrip("."), name


@pytest.mark.parametrize("name", ["backup", "migrate", "restore"])
def test_the_line_of_a_subcommand_is_its_own(name: str):
    group = cli.get_command(click.Context(cli), name)
    assert isinstance(group, LazyGroup)
    for sub in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), sub)
        assert command is not None
        assert command.get_short_help_str(200).rstrip(".") == group.table[sub][2].rstrip("."), sub


def test_a_group_explains_what_its_default_does(capsys):
    assert run(["restore", "--help"]) == 0
    text = click.unstyle(capsys.readouterr().out)
    assert "the beginning of one, `latest`, or a path" in text
    assert "owctl restore latest --dry-run" in text
