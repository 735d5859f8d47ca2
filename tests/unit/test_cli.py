"""The root command: options on both sides, errors to exit codes, completion."""

import click
import pytest

from owctl import cli
from owctl.errors import Interrupted, OwctlError


@pytest.fixture
def failing(monkeypatch):
    """Make `owctl config` raise what a test wants."""

    def fail_with(error: BaseException) -> None:
        @click.command(help="x")
        def config() -> None:
            raise error

        monkeypatch.setattr("owctl.commands.config.config", config)

    return fail_with


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OwctlError("it broke", hint="again"), 1, "Error: it broke\nTry: again\n"),
        (Interrupted("Stopped."), 130, "Error: Stopped.\n"),
        (KeyboardInterrupt(), 130, "Error: Interrupted.\n"),
        (click.UsageError("wrong"), 2, "Error: wrong\nTry: owctl config --help\n"),
    ],
)
def test_an_error_becomes_a_message_and_a_code(failing, capsys, error, code, text):
    failing(error)
    assert cli.run(["config"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip() == text.strip()


def test_an_unknown_error_is_no_bare_traceback(failing, capsys):
    failing(ZeroDivisionError("what"))
    assert cli.run(["config"]) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError: what" in err
    assert "Try: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [["--debug", "config"], ["config", "--debug"]])
def test_debug_on_either_side_shows_the_traceback(failing, capsys, arguments):
    failing(OwctlError("it broke"))
    assert cli.run(arguments) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["-q", "config", "--validate"], ["config", "--validate", "-q"]]
)
def test_quiet_on_either_side(tmp_path, monkeypatch, capsys, arguments):
    (tmp_path / "compose.yaml").write_text("services:\n  a:\n    image: b\n")
    monkeypatch.chdir(tmp_path)
    assert cli.run(arguments) == 0
    assert capsys.readouterr() == ("", "")


def test_no_command_shows_the_help(capsys):
    assert cli.run([]) in (0, 2)
    out, err = capsys.readouterr()
    assert "start" in out + err


def test_version(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("owctl ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(capsys, shell):
    assert cli.run(["completion", shell]) == 0
    assert "_OWCTL_COMPLETE" in capsys.readouterr().out


def test_completion_offers_the_services_of_the_files(tmp_path, monkeypatch):
    from owctl.commands.completers import complete_service
    from owctl.commands.status import status

    (tmp_path / "compose.yaml").write_text(
        "services:\n  web:\n    image: a\n  worker:\n    image: b\n  db:\n    image: c\n"
    )
    monkeypatch.chdir(tmp_path)
    root = click.Context(cli.cli, info_name="owctl")
    found = complete_service(click.Context(status, parent=root), status.params[0], "w")
    assert [item.value for item in found] == ["web", "worker"]
