"""Logs of real containers: read, merged, shown by the command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_helpers import create, run

from owctl.compose.model import Logging, Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import start_container
from owctl.engine.logs import stream_logs
from owctl.errors import EngineError
from owctl.observe.log_filter import Window, log_sources
from owctl.observe.log_read import read_logs

pytestmark = pytest.mark.engine

COUNTING = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done"


def messages(engine: Engine, container_id: str, **arguments: object) -> list[tuple[str, str]]:
    settings = {"tty": False, "follow": False, "tail": None, "since": None, "until": None}
    stream = stream_logs(engine, container_id, **{**settings, **arguments})
    return [(line.stream, line.message) for line in stream]


def test_both_streams_and_every_kind_of_line(engine: Engine, ended: Callable[..., str]):
    script = (
        "echo out; sleep 0.1; echo err >&2; sleep 0.1; echo; head -c 100000 /dev/zero | tr '\\0' x;"
        " echo; printf 'no newline'"
    )
    container = ended(script)
    assert messages(engine, container) == [
        ("stdout", "out"),
        ("stderr", "err"),
        ("stdout", ""),
        ("stdout", "x" * 100000),
        ("stdout", "no newline"),
    ]
    assert messages(engine, container, tail=1) == [("stdout", "no newline")]
    assert messages(engine, container, tail=0) == []


def test_a_container_with_a_terminal(engine: Engine, ended: Callable[..., str]):
    container = ended("echo one; echo two >&2", tty=True)
    assert messages(engine, container, tty=True) == [("stdout", "one"), ("stdout", "two")]


def test_times_bound_exactly(engine: Engine, ended: Callable[..., str]):
    container = ended("for i in 1 2 3 4; do echo $i; sleep 0.02; done")
    stream = stream_logs(
        engine, container, tty=False, follow=False, tail=None, since=None, until=None
    )
    lines = list(stream)
    assert messages(engine, container, since=lines[2].time) == [("stdout", "3"), ("stdout", "4")]
    between = (lines[1].time_ns + lines[2].time_ns) / 2e9
    assert messages(engine, container, since=between) == [("stdout", "3"), ("stdout", "4")]
    assert messages(engine, container, until=between) == [("stdout", "1"), ("stdout", "2")]


def test_a_log_that_cannot_be_read(engine: Engine, ended: Callable[..., str], project: str):
    container = ended("echo hidden", logging=Logging(driver="none"))
    with pytest.raises(EngineError, match="Cannot read the log"):
        messages(engine, container)
    problems: list[str] = []
    sources = log_sources(engine, project)
    lines = read_logs(engine, sources, Window(), lambda s, e: problems.append(s.service))
    assert list(lines) == []
    assert problems == ["web"]


def test_services_are_merged_by_time(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service], project: str
):
    script = (
        "for i in $(seq 300); do echo $i; done; sleep 0.05; for i in $(seq 300); do echo $i; done"
    )
    services = [sleeper(name, command=("sh", "-c", script)) for name in ("a", "b", "c")]
    stack = make_stack(*services)
    identities = [run(engine, stack, service).id for service in services]
    for identity in identities:
        engine.api.wait(identity)
    batches = read_logs(engine, log_sources(engine, project), Window(), lambda s, e: None)
    lines = [line for batch in batches for line in batch]
    assert len(lines) == 1800
    assert [line[0] for line in lines] == sorted(line[0] for line in lines)


# The command itself, as a user runs it.


@pytest.fixture
def folder(tmp_path: Path, project: str, base_image: str) -> Path:
    (tmp_path / "compose.yaml").write_text(
        f"name: {project}\nservices:\n  web:\n    image: {base_image}\n"
        f"    environment:\n      WEBUI_SECRET_KEY: very-s3cret-value\n"
        f"  other:\n    image: {base_image}\n"
    )
    return tmp_path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "owctl", "logs", *arguments]


def owctl_logs(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command(engine: Engine, ended: Callable[..., str], folder: Path, project: str):
    ended("echo one; sleep 0.02; echo key=very-s3cret-value >&2")
    result = owctl_logs(folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "web  | one\nweb  | key=***\n"
    assert "very-s3cret-value" in owctl_logs(folder, "--raw").stdout
    assert owctl_logs(folder, "--grep", "^one$", "--no-prefix").stdout == "one\n"
    assert owctl_logs(folder, "--tail", "1", "web").stdout == "web  | key=***\n"
    assert owctl_logs(folder, "--since", "1h", "--until", "30m").stdout == ""
    documents = [json.loads(line) for line in owctl_logs(folder, "--json").stdout.splitlines()]
    assert [document["message"] for document in documents] == ["one", "key=***"]
    assert documents[1] | {"time": None} == {
        "schema": 1,
        "project": project,
        "time": None,
        "service": "web",
        "container": f"{project}-web-1",
        "stream": "stderr",
        "level": None,
        "message": "key=***",
    }


def test_lines_chosen_by_level_and_pattern(engine: Engine, ended: Callable[..., str], folder: Path):
    ended(
        "echo 'INFO: begun'; echo 'ERROR: one'; printf 'Traceback (most recent call last):\\n  in x\\n';"
        " echo 'WARNING: two'; for i in $(seq 3000); do echo \"INFO: $i\"; done; echo 'ERROR: three'"
    )
    trace = ["Traceback (most recent call last):", "  in x"]
    for arguments, lines in (
        (["--level", "warn+"], ["ERROR: one", *trace, "WARNING: two", "ERROR: three"]),
        (["--level", "error", "--grep", "one|Trace", "-v"], ["  in x", "ERROR: three"]),
        # The last ones that are chosen, however far back.
        (["--tail", "2", "--level", "warn+"], ["WARNING: two", "ERROR: three"]),
        (["--tail", "1", "--until", "0s", "--level", "warn"], ["WARNING: two"]),
    ):
        result = owctl_logs(folder, "--no-prefix", *arguments)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.splitlines() == lines, arguments
    result = owctl_logs(folder, "--json", "--level", "warn+")
    levels = [json.loads(line)["level"] for line in result.stdout.splitlines()]
    assert levels == ["error", "error", "error", "warn", "error"]


def test_a_pipe_gets_no_control_sequences_but_raw(
    engine: Engine, ended: Callable[..., str], folder: Path
):
    written = b"\x1b[31mred\x1b[0m \x1b]0;title\x07over\rwrite \xff \xc2\x9b2J\n"
    octal = "".join(f"\\{byte:03o}" for byte in written)
    # The default driver of the engine would make U+FFFD of what is no UTF-8 itself.
    ended(f"printf '{octal}'", logging=Logging(driver="local"))

    def shown(*arguments: str) -> bytes:
        called = command("--no-prefix", *arguments)
        return subprocess.run(called, cwd=folder, capture_output=True, check=True).stdout

    assert shown() == "red over^Mwrite \ufffd \n".encode()
    assert json.loads(shown("--json"))["message"] == "red over^Mwrite \ufffd "
    assert shown("--raw") == written


@pytest.mark.parametrize("tty", [False, True])
def test_a_long_line_is_one_line_and_hides_its_secret(
    engine: Engine, ended: Callable[..., str], folder: Path, tty: bool
):
    # The engine passes it on in parts of 16 KiB; the secret lies across the end of the first.
    script = "head -c 16380 /dev/zero | tr '\\0' x; printf very-s3cret-value; echo end"
    ended(f"echo before; {script}; {script}", tty=tty)
    line = "x" * 16380 + "***end\n"
    assert owctl_logs(folder, "--no-prefix").stdout == "before\n" + line * 2
    assert owctl_logs(folder, "--no-prefix", "--tail", "1").stdout == line


def test_the_commands_refusals(engine: Engine, ended: Callable[..., str], folder: Path):
    nothing = owctl_logs(folder)
    assert nothing.returncode == 1
    assert "no containers" in nothing.stderr
    ended("echo one")
    for arguments, code, text in (
        (["--since", "yesterday"], 2, "2h30m"),
        (["--tail", "few"], 2, "'all'"),
        (["--grep", "("], 2, "regular expression"),
        (["--invert"], 2, "--grep"),
        (["--level", "wran+"], 2, "trace, debug, info, warn"),
        (["-f", "--until", "1m"], 2, "--until"),
        (["wbe"], 2, "Did you mean web?"),
        (["other"], 1, "no containers of other"),
    ):
        result = owctl_logs(folder, *arguments)
        assert (result.returncode, result.stdout) == (code, ""), arguments
        assert text in result.stderr
        assert "Try:" in result.stderr


def test_a_reader_that_has_seen_enough(engine: Engine, ended: Callable[..., str], folder: Path):
    ended("seq 200000")
    with subprocess.Popen(
        command(), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"web  | 1\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 0


def test_a_reader_that_leaves_while_nothing_comes(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service], folder: Path
):
    stack = make_stack(service := sleeper(command=("sh", "-c", "echo one; sleep 600")))
    run(engine, stack, service)
    with subprocess.Popen(command("-f"), cwd=folder, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"web  | one\n"
        process.stdout.close()
        assert process.wait(20) == 0


def test_interrupting_is_quiet(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service], folder: Path
):
    stack = make_stack(service := sleeper(command=("sh", "-c", COUNTING)))
    run(engine, stack, service)
    with subprocess.Popen(
        command("-f"), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(2)
        process.stdout.read()
        assert process.stderr.read() == b""
        assert process.wait(20) == 130


def test_a_terminal_gets_colours_and_no_control_sequences(
    engine: Engine, ended: Callable[..., str], folder: Path
):
    ended("printf '\\033]0;title\\007\\033[32mgreen\\033[0m\\n'")
    ours, theirs = os.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    subprocess.run(command(), cwd=folder, stdout=theirs, env=environment, timeout=60, check=True)
    os.close(theirs)
    shown = os.read(ours, 4096)
    os.close(ours)
    assert shown == b"\x1b[36mweb  | \x1b[0m\x1b[32mgreen\x1b[0m\x1b[0m\r\n"


def test_a_container_that_never_started_has_an_empty_log(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service], folder: Path
):
    stack = make_stack(service := sleeper(command=("echo", "one")))
    container = create(engine, stack, service)
    result = owctl_logs(folder)
    assert (result.returncode, result.stdout) == (0, "")
    start_container(engine, container.id)
    engine.api.wait(container.id)
    assert owctl_logs(folder, "-f").stdout == "web  | one\n"
