"""The bench's own arithmetic: medians, ratios, verdicts, where time goes, and the page."""

import sys

import pytest

from bench.__main__ import MEASURES, parse
from bench.breakdown import Request, busy_seconds, describe, ready_seconds
from bench.machine import Machine
from bench.report import render, summary
from bench.results import Comparison, peak_megabytes
from bench.stack import clean_environment, free_ports
from bench.timing import CommandFailed, Sample, in_turn, median_seconds, run_timed

MACHINE = Machine(
    date="2026-01-31 12:00 UTC",
    processors=2,
    processor="A processor",
    memory_bytes=8_000_000_000,
    kernel="6.1",
    python="3.11.2",
    owctl="0.1.0",
    commit="abc1234",
    engine="20.10.24",
    compose="2.26.1",
    load_before=0.25,
    load_highest=1.5,
    seconds=480,
)


def comparison(ours: list[float], rival: list[float], budget: float | None = None) -> Comparison:
    return Comparison(
        measure="health",
        title="whether it works",
        our_command="owctl health",
        rival_command="pg_dump | zstd",
        ours=tuple(Sample(seconds, seconds / 2, 40_000_000) for seconds in ours),
        rival=tuple(Sample(seconds) for seconds in rival),
        budget=budget,
    )


def test_the_ratio_is_that_of_the_medians():
    found = comparison([1.0, 9.0, 2.0], [4.0, 4.0, 100.0, 4.0])
    assert median_seconds(found.ours) == 2.0
    assert found.ratio == 0.5


@pytest.mark.parametrize(
    ("budget", "verdict"),
    [(None, "no budget"), (0.5, "met"), (0.51, "met"), (0.49, "missed")],
)
def test_a_budget_is_kept_up_to_and_with_its_ratio(budget, verdict):
    assert comparison([1.0], [2.0], budget).verdict == verdict


def test_memory_is_the_highest_of_all_runs():
    assert peak_megabytes([Sample(1, 0, 5_000_000), Sample(1, 0, 7_000_000)]) == 7.0


def test_the_page_says_what_is_met_and_what_is_missed():
    met = comparison([0.2], [4.0], 0.08)
    missed = comparison([3.0], [4.0], 0.5).explained(["imports 2.9 s"])
    page = render([met, missed], MACHINE)
    assert "| 0.20 s | 4.00 s | **0.050** | ≤ 0.08, met |" in page
    assert "| 3.00 s | 4.00 s | **0.75** | ≤ 0.5, missed |" in page
    assert "## Budgets missed" in page
    assert "- **health** (whether it works): 0.75, allowed 0.5\n  - imports 2.9 s" in page
    for fact in (
        "2026-01-31 12:00 UTC",
        "2.26.1",
        "20.10.24",
        "load 0.2 before, 1.5 at",
        "2 × A processor",
    ):
        assert fact in page
    # A pipe in a command must not become a column.
    assert "`pg_dump \\| zstd`" in page


def test_without_a_missed_budget_nothing_is_explained():
    assert "Budgets missed" not in render([comparison([1.0], [2.0], 0.6)], MACHINE)


def test_the_summary_is_a_table_with_a_row_a_comparison():
    lines = summary([comparison([1.0], [2.0]), comparison([30.0], [2.0])]).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {6}
    assert "30.0 s" in lines[3]


def test_commands_take_turns_at_being_first():
    order: list[str] = []

    def noting(name: str):
        def run() -> Sample:
            order.append(name)
            return Sample(1.0)

        return run

    told: list[str] = []
    samples = in_turn({"a": noting("a"), "b": noting("b")}, {"a": 3, "b": 2}, told.append)
    assert order == ["a", "b", "b", "a", "a"]
    assert [len(samples[name]) for name in ("a", "b")] == [3, 2]
    assert told[-1] == "a, 3 of 3: 1.00 s"


def test_a_timed_command_is_charged_its_processor_time_and_memory(tmp_path):
    sample = run_timed(
        [sys.executable, "-c", "b'x' * 60_000_000; sum(range(3_000_000))"],
        cwd=tmp_path,
        environment={},
    )
    assert sample.seconds > 0
    assert sample.cpu_seconds > 0.01
    assert sample.peak_bytes > 60_000_000


def test_a_command_that_fails_is_not_a_measurement(tmp_path):
    with pytest.raises(CommandFailed, match=r"exited with 3:\nthe reason"):
        run_timed(["sh", "-c", "echo the reason >&2; exit 3"], cwd=tmp_path, environment={})


def test_requests_at_once_count_once():
    requests = [Request(2.0, 3.0, "c"), Request(0.0, 1.0, "a"), Request(0.5, 1.5, "b")]
    assert busy_seconds(requests) == 2.5


def test_a_breakdown_names_the_slowest_requests():
    lines = describe(4.0, 1.0, [Request(0, 0.1, "GET /fast"), Request(1, 2, "GET /slow")])
    assert "imports 1.00 s, 2 requests to the engine 1.10 s" in lines[0]
    assert lines[0].endswith("the rest 1.90 s")
    assert lines[1].startswith("slowest requests: GET /slow 1.00 s, GET /fast 0.10 s")


def test_a_start_says_how_long_each_service_took():
    printed = """\
SERVICE   OUTCOME  READY AFTER  ADDRESS
postgres  started        3.6 s  127.0.0.1:5432
frontend  replaced: image         0.7 s  http://localhost:3000
redis     running               127.0.0.1:6379
"""
    assert ready_seconds(printed) == "postgres 3.6 s, frontend 0.7 s"
    assert ready_seconds("SERVICE  STATE\nredis  running  7 s  x\n") == ""


def test_the_users_own_settings_stay_out(monkeypatch):
    monkeypatch.setenv("COMPOSE_FILE", "other.yaml")
    monkeypatch.setenv("POSTGRES_PORT", "1")
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/docker.sock")
    environment = clean_environment("/config")
    assert not {"COMPOSE_FILE", "POSTGRES_PORT"} & set(environment)
    assert environment["DOCKER_CONFIG"] == "/config"
    assert environment["DOCKER_HOST"] == "unix:///run/docker.sock"


def test_ports_differ():
    assert len(set(free_ports(20))) == 20


def test_measures_are_chosen_by_name(capsys):
    assert parse(["--docker-config=/c", "help", "status"]).measures == ["help", "status"]
    with pytest.raises(SystemExit) as caught:
        parse(["--docker-config=/c", "hepl"])
    assert caught.value.code == 2
    assert f"hepl: not one of {', '.join(MEASURES)}" in capsys.readouterr().err
