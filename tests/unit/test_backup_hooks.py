"""Somebody learns how a backup ended: a command is run, an address is asked, nothing is given away."""

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from owctl.backup.notify import check_address, ping, run_command
from owctl.cli import run
from owctl.commands.backup.create import hooks
from owctl.context import Context
from owctl.errors import OwctlError, UsageError
from owctl.project import history

SECRET = "0d1c-swordfish"


class Checks:
    """An HTTP server as healthchecks.io is one; ``requests`` are (method, path, body)."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []
        self.status = 200
        self.location: str | None = None
        self.hang = threading.Event()
        self.hanging = False
        checks = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                checks.requests.append((self.command, self.path, body))
                if checks.hanging:
                    checks.hang.wait(30)
                self.send_response(checks.status)
                if checks.location is not None:
                    self.send_header("Location", checks.location)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"OK")

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/{SECRET}"
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> "Checks":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def checks() -> Iterator[Checks]:
    with Checks() as server:
        yield server


def context(tmp_path: Path, **environ: str) -> Context:
    (tmp_path / "compose.yaml").write_text("name: owls\nservices: {a: {image: a}}\n")
    return Context({"PATH": os.environ["PATH"], **environ}, tmp_path)


def test_success_is_a_get(checks: Checks) -> None:
    assert ping(checks.url + "?rid=1") is None
    assert checks.requests == [("GET", f"/{SECRET}?rid=1", "")]


def test_a_failure_goes_to_fail_with_the_message(checks: Checks) -> None:
    assert ping(checks.url + "/?rid=1", "it broke: ü") is None
    assert checks.requests == [("POST", f"/{SECRET}/fail?rid=1", "it broke: ü")]


@pytest.mark.parametrize("status", [404, 500])
def test_a_refusal_is_told_without_the_address(checks: Checks, status: int) -> None:
    checks.status = status
    problem = ping(checks.url)
    assert problem == f"127.0.0.1 answered {status}"


def test_an_address_that_does_not_answer(checks: Checks) -> None:
    checks.hanging = True
    began = time.monotonic()
    problem = ping(checks.url, timeout_seconds=0.2)
    assert time.monotonic() - began < 5
    assert problem is not None
    assert SECRET not in problem


def test_an_address_where_nobody_listens() -> None:
    with Checks() as gone:
        url = gone.url
    problem = ping(url)
    assert problem is not None
    assert "Connection refused" in problem
    assert SECRET not in problem


def test_a_redirection_to_a_file_is_not_followed(checks: Checks, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("x")
    checks.status, checks.location = 302, f"file://{tmp_path}/private"
    assert ping(checks.url) is not None


@pytest.mark.parametrize("url", ["ftp://x/y", "file:///etc/passwd", "hc-ping.com/x", "http://", ""])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="http"):
        check_address(url)


def test_a_command_gets_its_environment_and_prints_to_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    environ = {"OWCTL_ERROR": "two\nlines", "PATH": os.environ["PATH"]}
    command = f'echo heard; printf %s "$OWCTL_ERROR" > {tmp_path}/told'
    assert run_command(command, environ) is None
    assert (tmp_path / "told").read_text() == "two\nlines"
    assert capfd.readouterr() == ("", "heard\n")


def test_a_command_that_fails_or_hangs_or_has_no_shell() -> None:
    environ = {"PATH": os.environ["PATH"], "SHELL": "/usr/sbin/nologin"}
    assert run_command("exit 3", environ) == "it ended with exit code 3"
    began = time.monotonic()
    problem = run_command("sleep 60 & wait", environ, timeout_seconds=0.2)
    assert problem == "it was not done in 0.2 s and was ended"
    assert time.monotonic() - began < 10


def test_the_users_own_shell_runs_it(tmp_path: Path) -> None:
    shell = tmp_path / "shell"
    shell.write_text(f'#!/bin/sh\nprintf "%s|" "$@" > {tmp_path}/asked\n')
    shell.chmod(0o755)
    assert run_command("tell them", {"SHELL": str(shell)}) is None
    assert (tmp_path / "asked").read_text() == "-c|tell them|"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OwctlError("It broke.", hint="owctl doctor", details=["a line"]), 1, "a line"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (RuntimeError("odd"), 1, "RuntimeError: odd"),
    ],
)
def test_a_failure_is_told_to_both_and_stays_the_same_failure(
    checks: Checks, tmp_path: Path, error: BaseException, code: int, text: str
) -> None:
    command = (
        f'printf "%s" "$OWCTL_PROJECT|$OWCTL_EXIT_CODE|$OWCTL_ERROR" > {tmp_path}/told; exit 1'
    )
    with pytest.raises(type(error)), hooks(context(tmp_path), command, checks.url):
        raise error
    told = (tmp_path / "told").read_text()
    assert told.startswith(f"owls|{code}|")
    assert text in told
    assert checks.requests == [("POST", f"/{SECRET}/fail", told.split("|", 2)[2])]


def test_success_is_told_to_the_address_alone(checks: Checks, tmp_path: Path) -> None:
    with hooks(context(tmp_path), f"touch {tmp_path}/told", checks.url):
        pass
    assert [request[0] for request in checks.requests] == ["GET"]
    assert not (tmp_path / "told").exists()


def test_what_fails_in_telling_changes_nothing(
    checks: Checks, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checks.status = 500
    with hooks(context(tmp_path), None, checks.url):
        pass
    stderr = capsys.readouterr().err
    assert "Warning: The address of --ping was not told: 127.0.0.1 answered 500." in stderr
    assert SECRET not in stderr


def test_secrets_of_the_stack_are_masked(checks: Checks, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=correct-horse-battery\n")
    told = context(tmp_path)
    with pytest.raises(OwctlError), hooks(told, None, checks.url):  # noqa: PT012  # the hook ends the block
        assert told.stack.project == "owls"
        raise OwctlError("The password correct-horse-battery is wrong.")
    assert "correct-horse" not in checks.requests[0][2]


def test_a_stack_that_cannot_be_read_is_told_of(
    checks: Checks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "compose.yaml").write_text("services: 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    command = f'printf %s "$OWCTL_EXIT_CODE $OWCTL_PROJECT" > {tmp_path}/told'
    assert run(["backup", "--ping", checks.url, "--on-failure", command]) == 4
    assert (tmp_path / "told").read_text() == f"4 {tmp_path.name}"
    assert checks.requests[0][:2] == ("POST", f"/{SECRET}/fail")


def test_an_address_of_another_kind_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["-C", str(tmp_path), "backup", "--ping", f"ftp://x/{SECRET}"]) == 2
    assert SECRET not in capsys.readouterr().err


def test_neither_stands_in_the_history(tmp_path: Path) -> None:
    words = ["backup", "--ping", SECRET, f"--on-failure=curl {SECRET}", "--label", "x=y"]
    assert history.record(tmp_path, "backup", "done", arguments=words) is None
    (entry,) = history.read(tmp_path)
    assert SECRET not in json.dumps(entry)
    assert entry["arguments"] == [
        "backup",
        "--ping",
        "***",
        "--on-failure=***",
        "--label",
        "x=y",
    ]
