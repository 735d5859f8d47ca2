"""A command with subcommands and a default: which one runs, and what its help says."""

import click
import pytest

from owctl.cli import run
from owctl.commands.options import Run, mutating
from owctl.context import Context


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


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], Run()),
        (
            ["--yes", "--timeout", "7", "--dry-run", "--lock-wait", "2", "--json"],
            Run(
                yes=True,
                timeout_seconds=7,
                dry_run=True,
                lock_wait_seconds=2,
                output_format="json",
            ),
        ),
    ],
)
def test_a_changing_command_gets_its_shared_options_as_one_object(words, expected, tmp_path):
    got = []

    @click.command()
    @click.option("--own")
    @mutating("table", "json", yes=True, timeout=True)
    def change(context, how, own):
        got.append((how, own))

    change.main([*words, "--own", "x"], obj=Context({}, tmp_path), standalone_mode=False)
    assert got == [(expected, "x")]


def test_a_plan_as_json_goes_with_a_dry_run_alone(tmp_path):
    got = []

    @click.command()
    @mutating(plan=True)
    def change(context, how):
        got.append(how)

    context = Context({}, tmp_path)
    change.main(["--dry-run", "--json"], obj=context, standalone_mode=False)
    assert got == [Run(dry_run=True, output_format="json")]
    with pytest.raises(click.UsageError, match="--json goes with --dry-run"):
        change.main(["--json"], obj=context, standalone_mode=False)
