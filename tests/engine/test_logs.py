"""Logs of real containers: read, merged, followed across restarts, shown by the command."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cut_proxy import cut_off_engine
from engine_helpers import create, inspected, run, wait_until

from owctl.compose.model import Logging, Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import remove_container, start_container, stop_container
from owctl.engine.logs import stream_logs
from owctl.errors import EngineError, EngineUnavailable
from owctl.observe.log_follow import LogFollower
from owctl.observe.logs import Window, log_sources, read_logs

pytestmark = pytest.mark.engine

COUNTING = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done"


@pytest.fixture
def ended(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service]
) -> Callable[..., str]:
    """Run a shell script in a container to its end; returns the container's id."""

    def make(script: str, **fields: object) -> str:
        service = sleeper(command=("sh", "-c", script), **fields)
        container = run(engine, make_stack(service), service)
        engine.api.wait(container.id)
        return container.id

    return make


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


def test_the_engines_death_is_no_end(
    engine: Engine,
    make_stack: Callable[..., Stack],
    sleeper: Callable[..., Service],
    tmp_path: Path,
):
    stack = make_stack(service := sleeper(command=("sh", "-c", COUNTING)))
    container = run(engine, stack, service)
    with cut_off_engine(engine, tmp_path) as (reached, proxy):
        stream = stream_logs(
            reached, container.id, tty=False, follow=True, tail=None, since=None, until=None
        )
        lines = iter(stream)
        assert next(lines).message == "line 1"
        proxy.cut()
        with pytest.raises(EngineUnavailable, match="Cannot read the log"):
            list(lines)


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


class Following:
    """A follower in a thread of its own, and what it has yielded."""

    def __init__(self, engine: Engine, project: str, window: Window) -> None:
        self.lines: list[tuple[str, str]] = []
        self.ends: list[str] = []
        self.error: Exception | None = None
        self._stop = threading.Event()
        self._follower = LogFollower(
            engine,
            project,
            None,
            window,
            on_end=lambda source, how: self.ends.append(f"{source.service} {how}"),
            on_problem=lambda source, error: self.ends.append(error.message),
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        batches = self._follower.lines()
        try:
            for batch in batches:
                self.lines += [(s.service, text.decode().rstrip("\n")) for _, s, _, text in batch]
                if self._stop.is_set():
                    break
        except EngineUnavailable as error:
            self.error = error
        finally:
            batches.close()

    def texts(self, service: str = "web") -> list[str]:
        return [text for name, text in list(self.lines) if name == service]

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert self.ended


@contextmanager
def following(engine: Engine, project: str, window: Window = Window()) -> Iterator[Following]:  # noqa: B008
    follower = Following(engine, project, window)
    try:
        yield follower
    finally:
        follower.stop()


def numbers(count: int) -> list[str]:
    return [f"line {number}" for number in range(1, count + 1)]


def assert_nothing_lost(texts: list[str], runs: int) -> None:
    """Every run counts from 1 without a gap or a double."""
    starts = [index for index, text in enumerate(texts) if text == "line 1"]
    assert len(starts) == runs
    for start, end in zip(starts, [*starts[1:], len(texts)], strict=True):
        assert texts[start:end] == numbers(end - start)


def test_following_takes_over_from_history_and_survives_a_restart(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service], project: str
):
    stack = make_stack(service := sleeper(command=("sh", "-c", COUNTING)))
    container = run(engine, stack, service)
    wait_until(lambda: len(messages(engine, container.id)) > 20, "there is some history")
    with following(engine, project) as follower:
        wait_until(lambda: len(follower.texts()) > 60, "lines are followed")
        engine.api.restart(container.id, timeout=0)
        seen = len(follower.texts())
        wait_until(lambda: len(follower.texts()) > seen + 60, "lines after the restart")
    assert_nothing_lost(follower.texts(), runs=2)
    assert follower.error is None


def test_following_takes_up_new_and_recreated_containers(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service], project: str
):
    counting, staying, late = (
        sleeper(name, command=("sh", "-c", COUNTING)) for name in ("web", "staying", "late")
    )
    stack = make_stack(counting, staying, late)
    first = run(engine, stack, counting)
    run(engine, stack, staying)
    with following(engine, project) as follower:
        wait_until(lambda: len(follower.texts()) > 5, "the first container")
        remove_container(engine, first.id, force=True)
        run(engine, stack, counting)
        run(engine, stack, late)
        wait_until(lambda: follower.texts().count("line 1") == 2, "the recreated container")
        wait_until(lambda: len(follower.texts("late")) > 5, "the new container")
    assert_nothing_lost(follower.texts(), runs=2)
    assert_nothing_lost(follower.texts("staying"), runs=1)
    assert_nothing_lost(follower.texts("late"), runs=1)
    assert follower.ends == ["web was removed"]


def test_more_lines_than_the_overlap_are_not_lost(
    engine: Engine,
    make_stack: Callable[..., Stack],
    sleeper: Callable[..., Service],
    project: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("owctl.observe.log_feed.OVERLAP_LINES", 1)
    stack = make_stack(service := sleeper(command=("sh", "-c", COUNTING)))
    container = run(engine, stack, service)
    with following(engine, project) as follower:
        for runs in (1, 2, 3):
            wait_until(lambda runs=runs: follower.texts().count("line 9") == runs, f"run {runs}")
            engine.api.restart(container.id, timeout=0)
        wait_until(lambda: follower.texts().count("line 9") == 4, "the last run")
    assert_nothing_lost(follower.texts(), runs=4)


def test_following_without_history(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service], project: str
):
    script = "echo old; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo new; sleep 60"
    stack = make_stack(service := sleeper(command=("sh", "-c", script)))
    container = run(engine, stack, service)
    wait_until(lambda: len(messages(engine, container.id)) == 1, "the old line")
    with following(engine, project, Window(tail=0)) as follower:
        wait_until(lambda: bool(follower._follower._feed.followed), "it is followed")
        engine.api.exec_start(engine.api.exec_create(container.id, "touch /tmp/go")["Id"])
        wait_until(lambda: bool(follower.texts()), "the new line")
    assert follower.texts() == ["new"]


def test_following_ends_when_nothing_runs_any_more(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service], project: str
):
    stack = make_stack(service := sleeper(command=("sh", "-c", "echo begun; sleep 60")))
    container = run(engine, stack, service)
    with following(engine, project) as follower:
        wait_until(lambda: bool(follower.texts()), "the first line")
        stop_container(engine, container.id, 0)
        wait_until(lambda: follower.ended, "following ends")
    assert follower.ends == [f"web exited with code {inspected(engine, container.id).exit_code}"]


def test_following_what_has_ended_only_prints_it(
    engine: Engine, ended: Callable[..., str], project: str
):
    ended("echo done")
    began = time.monotonic()
    with following(engine, project) as follower:
        wait_until(lambda: follower.ended, "following ends")
    assert follower.texts() == ["done"]
    assert time.monotonic() - began < 2


def test_a_lost_engine_ends_following_with_an_error(
    engine: Engine,
    make_stack: Callable[..., Stack],
    sleeper: Callable[..., Service],
    project: str,
    tmp_path: Path,
):
    stack = make_stack(service := sleeper(command=("sh", "-c", COUNTING)))
    run(engine, stack, service)
    with cut_off_engine(engine, tmp_path) as (reached, proxy):
        follower = Following(reached, project, Window())
        wait_until(lambda: bool(follower.texts()), "lines come")
        proxy.cut()
        wait_until(lambda: follower.ended, "following ends")
        assert isinstance(follower.error, EngineUnavailable)


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
        "message": "key=***",
    }


def test_the_commands_refusals(engine: Engine, ended: Callable[..., str], folder: Path):
    nothing = owctl_logs(folder)
    assert nothing.returncode == 1
    assert "no containers" in nothing.stderr
    ended("echo one")
    for arguments, code, text in (
        (["--since", "yesterday"], 2, "2h30m"),
        (["--tail", "few"], 2, "'all'"),
        (["--grep", "("], 2, "regular expression"),
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
