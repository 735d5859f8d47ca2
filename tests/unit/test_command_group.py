"""A command with subcommands and a default: which one runs, and what its help says."""

import click
import pytest

from owctl.cli import run


@pytest.mark.parametrize("words", [["backup", "--only", "x"], ["backup", "create", "--only", "x"]])
def test_the_default_runs_with_and_without_its_name(words, capsys):
    assert run(words) == 2
    assert "--only knows" in capsys.readouterr().err


def test_a_word_that_is_no_subcommand_is_an_error_that_offers_the_nearest(capsys):
    assert run(["backup", "creat"]) == 2
    message = capsys.readouterr().err
    assert "no command `owctl backup creat`" in message
    assert "Try: owctl backup create" in message


def test_the_help_shows_the_options_of_the_default(capsys):
    assert run(["backup", "--help"]) == 0
    text = click.unstyle(capsys.readouterr().out)
    assert "Usage: owctl backup [OPTIONS]" in text
    assert "--label" in text
    assert "--quiet" in text
