"""Logs of real containers, followed: across restarts, recreations and broken connections."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cut_proxy import cut_off_engine
from engine_helpers import inspected, run, wait_until

from owctl.compose.model import Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import remove_container, stop_container
from owctl.engine.logs import stream_logs
from owctl.errors import EngineUnavailable
from owctl.observe.log_filter import LineFilter, Window
from owctl.observe.log_follow import LogFollower

pytestmark = pytest.mark.engine

COUNTING = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done"
# Thousands of lines a second, alternating between the two streams.
COUNTING_FAST = (
    "i=0; while :; do i=$((i+1)); echo line $i; i=$((i+1)); echo line $i >&2;"
    " [ $((i % 40)) = 0 ] && sleep 0.005; done"
)


def stored_texts(engine: Engine, container_id: str) -> list[str]:
    stream = stream_logs(
        engine, container_id, tty=False, follow=False, tail=None, since=None, until=None
    )
    return [line.message for line in stream]


def count_of(engine: Engine, container_id: str) -> int:
    return len(stored_texts(engine, container_id))


class Following:
    """A follower in a thread of its own, and what it has yielded."""

    def __init__(
        self,
        engine: Engine,
        project: str,
        window: Window,
        chooser: LineFilter | None = None,
        patience_seconds: float = 15,
    ) -> None:
        self._chooser = chooser or LineFilter()
        self.lines: list[tuple[str, str]] = []
        self.ends: list[str] = []
        self.losses: list[str] = []
        self.error: Exception | None = None
        self._stop = threading.Event()
        self._follower = LogFollower(
            engine,
            project,
            None,
            window,
            on_end=lambda source, how: self.ends.append(f"{source.service} {how}"),
            on_problem=lambda source, error: self.ends.append(error.message),
            on_loss=self.losses.append,
            chooser=self._chooser,
            patience_seconds=patience_seconds,
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        batches = self._follower.lines()
        try:
            for batch in batches:
                chosen, _ = self._chooser.choose(batch)
                self.lines += [(s.service, text.decode().rstrip("\n")) for _, s, _, text in chosen]
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
def following(
    engine: Engine,
    project: str,
    window: Window = Window(),  # noqa: B008
    chooser: LineFilter | None = None,
) -> Iterator[Following]:
    follower = Following(engine, project, window, chooser)
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
    wait_until(lambda: count_of(engine, container.id) > 20, "there is some history")
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
    wait_until(lambda: count_of(engine, container.id) == 1, "the old line")
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


# docker-py leaves a socket open that it could not connect.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
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
        follower = Following(reached, project, Window(), patience_seconds=1)
        wait_until(lambda: bool(follower.texts()), "lines come")
        proxy.cut()
        wait_until(lambda: follower.ended, "following ends")
        assert isinstance(follower.error, EngineUnavailable)
        [loss] = follower.losses
        assert "trying again" in loss
        follower.error = None  # it holds a socket that docker-py left open


# docker-py leaves a socket open that it could not connect.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_broken_connections_lose_and_repeat_nothing(
    engine: Engine,
    make_stack: Callable[..., Stack],
    sleeper: Callable[..., Service],
    project: str,
    tmp_path: Path,
):
    stack = make_stack(service := sleeper(command=("bash", "-c", COUNTING_FAST)))
    container = run(engine, stack, service)
    with (
        cut_off_engine(engine, tmp_path) as (reached, proxy),
        following(reached, project) as follower,
    ):
        for times in range(1, 4):
            seen = len(follower.texts())
            wait_until(lambda seen=seen: len(follower.texts()) > seen + 500, "lines come")
            proxy.sever()
            wait_until(lambda times=times: len(follower.losses) >= times, "it is noticed", 60)
        engine.api.kill(container.id)
        engine.api.wait(container.id)
        written = stored_texts(engine, container.id)
        wait_until(lambda: len(follower.texts()) >= len(written), "all lines")
    assert Counter(follower.texts()) == Counter(written)
    assert follower.error is None


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


def test_a_fast_writer_restarted_and_recreated(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service], project: str
):
    stack = make_stack(service := sleeper(command=("bash", "-c", COUNTING_FAST), init=False))
    container = run(engine, stack, service)
    written = []
    with following(engine, project) as follower:
        for runs in (1, 2):
            wait_until(lambda runs=runs: follower.texts().count("line 900") == runs, "a run")
            engine.api.kill(container.id)
            engine.api.wait(container.id)
            if runs == 1:
                engine.api.start(container.id)
        written = stored_texts(engine, container.id)
        wait_until(lambda: len(follower.texts()) == len(written), "its last words")
        remove_container(engine, container.id, force=True)
        assert Counter(follower.texts()) == Counter(written)
        new = run(engine, stack, service)
        wait_until(lambda: follower.texts().count("line 900") == 3, "the recreated container")
        engine.api.kill(new.id)
        engine.api.wait(new.id)
        written += stored_texts(engine, new.id)
        wait_until(lambda: len(follower.texts()) >= len(written), "its last words")
    assert Counter(follower.texts()) == Counter(written)


def test_a_run_that_is_killed_in_the_middle_of_a_line(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service], project: str
):
    stack = make_stack(
        service := sleeper(command=("sh", "-c", "echo begun; printf 'unended'; sleep 600"))
    )
    container = run(engine, stack, service)
    with following(engine, project) as follower:
        for runs in (1, 2):
            wait_until(lambda runs=runs: follower.texts().count("begun") == runs, "a run")
            engine.api.restart(container.id, timeout=0)
        wait_until(lambda: follower.texts().count("begun") == 3, "the last run")
    assert follower.texts() == ["begun", "unended", "begun", "unended", "begun"]


def test_a_container_that_lives_shorter_than_a_glance(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service], project: str
):
    brief = sleeper("brief", command=("echo", "last words"))
    stack = make_stack(staying := sleeper(), brief)
    run(engine, stack, staying)
    with following(engine, project) as follower:
        wait_until(lambda: bool(follower._follower._feed.followed), "the one that stays")
        container = run(engine, stack, brief)
        engine.api.wait(container.id)
        wait_until(lambda: follower.texts("brief") == ["last words"], "what it said")
        engine.api.start(container.id)
        wait_until(lambda: follower.texts("brief") == ["last words"] * 2, "what it said again")
        wait_until(lambda: len(follower.ends) == 2, "that it ended")
    assert follower.ends[1] == "brief exited with code 0"


def test_following_from_the_last_lines(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service], project: str
):
    script = "seq -f 'line %.0f' 5000; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo line 5001; sleep 60"
    stack = make_stack(service := sleeper(command=("sh", "-c", script)))
    container = run(engine, stack, service)
    wait_until(lambda: count_of(engine, container.id) == 5000, "the old lines")
    chooser = LineFilter(pattern=re.compile("0"))
    with following(engine, project, Window(tail=2), chooser) as follower:
        wait_until(lambda: len(follower.texts()) == 2, "the last lines that are chosen")
        engine.api.exec_start(engine.api.exec_create(container.id, "touch /tmp/go")["Id"])
        wait_until(lambda: len(follower.texts()) == 3, "the new line")
    assert follower.texts() == ["line 4990", "line 5000", "line 5001"]
