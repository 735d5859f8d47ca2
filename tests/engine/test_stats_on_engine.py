"""What real containers consume: against the kernel's own figures, and as they come and go."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cut_proxy import cut_off_engine
from engine_helpers import create, run, wait_until

from owctl.compose.model import Resources
from owctl.engine.connection import Engine
from owctl.engine.containers import (
    remove_container,
    restart_container,
    start_container,
    stop_container,
)
from owctl.errors import EngineUnavailable
from owctl.observe.sampling import ContainerUsage, StatsSampler

pytestmark = pytest.mark.engine

OWCTL = [sys.executable, "-m", "owctl"]
MEBIBYTE = 1024**2
HELD_BYTES = 64 * MEBIBYTE
# What tail has read it holds in its memory, as no line ends; a file that was written is cache.
HOLD = f"(head -c {HELD_BYTES} /dev/zero; sleep 3600) | tail -n 1"
CACHE = "head -c 100M /dev/zero > /tmp/file"


@pytest.fixture
def sampler(engine: Engine, project: str) -> Iterator[Callable[..., StatsSampler]]:
    made: list[StatsSampler] = []

    def make(*services: str, others: bool = False) -> StatsSampler:
        made.append(StatsSampler(engine, project, services, others=others))
        return made[-1]

    yield make
    for each in made:
        each.close()


def only(sampler: StatsSampler) -> ContainerUsage:
    (row,) = sampler.sample().rows
    return row


# The kernel's own account of a process is in hundredths of a second.
TICKS = 0.05


class Spent(NamedTuple):
    """The processor time of a container's first process, by the kernel's own account, and when."""

    seconds: float
    moment: float


def spent(engine: Engine, container_id: str) -> Spent:
    pid = engine.api.inspect_container(container_id)["State"]["Pid"]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return Spent(seconds, time.monotonic())


def test_the_processor_time_is_what_the_kernel_says(engine, make_stack, sleeper, sampler):
    busy = sleeper(
        "busy",
        command=("bash", "-c", "while :; do :; done"),
        init=False,
        resources=Resources(cpus=1.0, memory_limit_bytes=128 * MEBIBYTE, pids_limit=50),
    )
    idle = sleeper("idle")
    stack = make_stack(busy, idle)
    container = run(engine, stack, busy)
    run(engine, stack, idle)
    both = sampler("busy", "idle")
    earliest = spent(engine, container.id)
    first = both.sample().rows
    assert [row.usage.cpu_percent for row in first if row.usage] == [None, None]
    early = spent(engine, container.id)
    wait_until(
        lambda: spent(engine, container.id).seconds > early.seconds + 1.5, "it has worked", 60
    )
    late = spent(engine, container.id)
    working, sleeping = (row.usage for row in both.sample().rows)
    latest = spent(engine, container.id)
    assert working is not None
    assert sleeping is not None
    # Each reading was made at some moment between two looks of ours, however busy the machine is.
    least = (late.seconds - early.seconds - TICKS) / (latest.moment - earliest.moment)
    most = (latest.seconds - earliest.seconds + TICKS) / (late.moment - early.moment)
    assert least * 100 <= working.cpu_percent <= most * 100
    assert working.cpu_percent > 10 * sleeping.cpu_percent
    assert working.cpu_limit_cores == 1.0
    assert working.cpu_limit_percent == pytest.approx(working.cpu_percent)
    assert sleeping.cpu_limit_percent is None
    assert working.memory_limit_bytes == 128 * MEBIBYTE
    assert working.pids_limit == 50
    assert working.pids == 1


def test_memory_is_without_the_cache_as_docker_shows_it(engine, make_stack, sleeper, sampler):
    service = sleeper(
        command=("bash", "-c", f"{CACHE}; echo read; {HOLD}"),
        resources=Resources(memory_limit_bytes=512 * MEBIBYTE),
    )
    container = run(engine, make_stack(service), service)
    one = sampler("web")

    def held() -> int:
        usage = only(one).usage
        return (usage.memory_bytes or 0) if usage else 0

    wait_until(lambda: held() >= HELD_BYTES, "it holds its memory", 60)
    raw = engine.api.stats(container.id, stream=False, one_shot=True)["memory_stats"]
    assert raw["usage"] > 150 * MEBIBYTE, "no cache to leave out"
    usage = only(one).usage
    shown = docker_stats(container.id)
    assert usage is not None
    assert usage.memory_bytes == pytest.approx(size_of(shown["MemUsage"].split(" / ")[0]), rel=0.2)
    assert usage.memory_bytes < 100 * MEBIBYTE
    assert usage.memory_percent == pytest.approx(float(shown["MemPerc"][:-1]), rel=0.2)
    assert usage.memory_limit_bytes == size_of(shown["MemUsage"].split(" / ")[1])
    assert usage.pids == int(shown["PIDs"])
    received, sent = map(size_of, shown["NetIO"].split(" / "))
    assert usage.network_rx_bytes == pytest.approx(received, rel=0.2, abs=500)
    assert usage.network_tx_bytes == pytest.approx(sent, rel=0.2, abs=500)


def docker_stats(container_id: str) -> dict[str, str]:
    command = ["docker", "stats", "--no-stream", "--format", "{{json .}}", container_id]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(result.stdout)


def size_of(text: str) -> float:
    units = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
    number = text.rstrip("BiKkMG")
    return float(number) * units[text.removeprefix(number)]


def test_traffic_has_a_rate(engine, make_stack, sleeper, sampler):
    listening = sleeper("db", command=("bash", "-c", "sleep 3600"))
    # Nobody answers at that address: what is sent counts all the same.
    talking = sleeper(
        "web",
        command=(
            "bash",
            "-c",
            "while :; do head -c 1000 /dev/zero > /dev/udp/db/9; sleep 0.01; done",
        ),
    )
    stack = make_stack(listening, talking)
    run(engine, stack, listening)
    run(engine, stack, talking)
    both = sampler("db", "web")
    both.sample()

    def flows() -> bool:
        heard, said = (row.usage for row in both.sample().rows)
        return (
            heard is not None
            and said is not None
            and (said.network_tx_bytes_per_second or 0) > 1000
            and (heard.network_rx_bytes_per_second or 0) > 1000
        )

    wait_until(flows, "rates of what is sent and received", 30)


def test_containers_come_go_restart_and_are_replaced(engine, make_stack, sleeper, sampler):
    service = sleeper(command=("bash", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done"))
    stack = make_stack(service)
    one = sampler("web")
    assert only(one).container is None

    container = create(engine, stack, service)
    row = only(one)
    assert (row.container.state, row.usage) == ("created", None)

    start_container(engine, container.id)
    assert only(one).usage.cpu_percent is None
    assert only(one).usage.cpu_percent is not None

    restart_container(engine, container.id)
    # Its counters begin anew: nothing to compare with, and no rate below zero.
    assert only(one).usage.cpu_percent is None
    assert only(one).usage.cpu_percent >= 0

    engine.api.pause(container.id)
    paused = only(one)
    assert (paused.container.state, paused.usage.pids) == ("paused", 3)
    engine.api.unpause(container.id)

    stop_container(engine, container.id)
    stopped = only(one)
    assert (stopped.container.state, stopped.container.exit_code) == ("exited", 3)
    assert (stopped.usage, stopped.problem) == (None, None)

    remove_container(engine, container.id)
    again = run(engine, stack, service)
    row = only(one)
    assert row.container.id == again.id
    assert row.usage.cpu_percent is None

    second = run(engine, stack, service, number=2)
    rows = one.sample().rows
    assert [(each.container.number, each.usage is not None) for each in rows] == [
        (1, True),
        (2, True),
    ]
    remove_container(engine, second.id, force=True)
    remove_container(engine, again.id, force=True)
    assert only(one).container is None
    threads = [thread.name for thread in threading.enumerate()]
    wait_until(
        lambda: "owctl-stats" not in [thread.name for thread in threading.enumerate()],
        f"the threads of containers that are gone have ended: {threads}",
    )


def test_a_container_that_ends_while_it_is_read(engine, make_stack, sleeper, sampler):
    # Each lives for as long as it takes: some round meets it between the list and the question.
    service = sleeper(command=("sleep", "0.3"), restart="always")
    container = run(engine, make_stack(service), service)
    one = sampler("web")
    for _ in range(5):
        row = only(one)
        assert row.container.id == container.id
        assert row.problem is None
        assert row.usage is None or row.container.is_running


def test_what_no_file_describes_is_shown_when_all_are_asked_for(
    engine, make_stack, sleeper, sampler
):
    stray = sleeper("stray")
    run(engine, make_stack(stray), stray)
    assert [row.service for row in sampler("web").sample().rows] == ["web"]
    everything = sampler("web", others=True).sample().rows
    assert [(row.service, row.usage is not None) for row in everything] == [
        ("web", False),
        ("stray", True),
    ]


# docker-py leaves a socket that it could not connect to be collected.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_an_engine_that_goes_away_is_told(engine, make_stack, sleeper, project, tmp_path):
    service = sleeper()
    run(engine, make_stack(service), service)
    with (
        cut_off_engine(engine, tmp_path) as (reached, proxy),
        StatsSampler(reached, project, ["web"], others=True) as one,
    ):
        assert only(one).usage is not None
        proxy.cut()
        with pytest.raises(EngineUnavailable):
            one.sample()
    gc.collect()


@pytest.fixture
def folder(tmp_path: Path, project: str, base_image: str) -> Path:
    (tmp_path / "compose.yaml").write_text(
        f"name: {project}\nservices:\n  web:\n    image: {base_image}\n  db:\n    image: {base_image}\n"
    )
    return tmp_path


def test_the_command_looks_once_in_a_pipe(engine, make_stack, sleeper, folder):
    service = sleeper(resources=Resources(cpus=0.5))
    run(engine, make_stack(service), service)
    table = said(folder, "stats").splitlines()
    assert table[0].split()[:4] == ["SERVICE", "STATE", "CPU", "CORES"]
    assert table[1].split()[:2] == ["web", "running"]
    assert table[1].split()[3] == "0.5"
    assert table[2].split()[:2] == ["db", "missing"]
    document = json.loads(said(folder, "stats", "--json", "web"))
    (web,) = document["services"]
    assert (web["service"], web["state"], web["cpu_limit_cores"]) == ("web", "running", 0.5)
    assert web["cpu_percent"] >= 0
    assert web["memory_bytes"] > 0


def said(folder: Path, *arguments: str) -> str:
    result = subprocess.run(
        [*OWCTL, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_command_goes_on_line_by_line_until_ctrl_c(engine, make_stack, sleeper, folder):
    service = sleeper()
    run(engine, make_stack(service), service)
    process = subprocess.Popen(
        [*OWCTL, "stats", "--stream", "--json", "--interval", "0.5", "web"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    documents = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    figures = [document["services"][0]["cpu_percent"] for document in documents]
    assert figures[0] is None
    assert None not in figures[1:]
