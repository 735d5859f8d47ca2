"""The figures of `stats`: from answers of real engines, and from what others are documented to say.

cgroup v1: recorded from engine 20.10.24 (``docker run --cpus 0.5 --memory 256m --pids-limit 100``, a
busy loop). cgroup v2: built as moby's ``daemon/daemon_unix.go`` (``statsV2``) builds it. Podman: as
``pkg/api/handlers/compat/containers_stats_linux.go`` does.
"""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from owctl.observe.stats import Counters, cpu_limit_cores, parse_statistics, usage_between

DATA = Path(__file__).resolve().parents[1] / "data"
FIRST: dict[str, Any] = json.loads((DATA / "stats-cgroup-v1-first.json").read_text())
SECOND: dict[str, Any] = json.loads((DATA / "stats-cgroup-v1-second.json").read_text())
EMPTY_CPU = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}
VERSION_2: dict[str, Any] = {
    "read": "2026-01-31T12:00:02.500000000Z",
    "preread": "0001-01-01T00:00:00Z",
    "pids_stats": {"current": 7, "limit": 18446744073709551615},
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"major": 254, "minor": 0, "op": "read", "value": 4096},
            {"major": 254, "minor": 0, "op": "write", "value": 100},
            {"major": 8, "minor": 16, "op": "read", "value": 1000},
            {"major": 8, "minor": 16, "op": "write", "value": 200},
        ],
        "io_serviced_recursive": None,
        "sectors_recursive": None,
    },
    "num_procs": 0,
    "storage_stats": {},
    "cpu_stats": {
        "cpu_usage": {
            "total_usage": 3_000_000_000,
            "usage_in_kernelmode": 1_000_000_000,
            "usage_in_usermode": 2_000_000_000,
        },
        "system_cpu_usage": 108_000_000_000,
        "online_cpus": 4,
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    },
    "precpu_stats": EMPTY_CPU,
    "memory_stats": {
        "usage": 155_774_976,
        "stats": {
            "active_file": 49_065_984,
            "anon": 1_622_016,
            "file": 141_791_232,
            "inactive_anon": 1_351_680,
            "inactive_file": 92_590_080,
            "slab": 12_309_152,
        },
        "limit": 16_584_396_800,
    },
    "name": "/web",
    "id": "0" * 64,
    "networks": {
        "eth0": {"rx_bytes": 5338, "rx_packets": 36, "tx_bytes": 648, "tx_packets": 8},
        "eth5": {"rx_bytes": 4641, "rx_packets": 26, "tx_bytes": 690, "tx_packets": 9},
    },
}


def parsed(raw: dict[str, Any]) -> Counters:
    counters = parse_statistics(raw)
    assert counters is not None
    return counters


def changed(raw: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return deepcopy(raw) | parts


def test_version_1_as_recorded():
    now = parsed(SECOND)
    assert now.cpus == 2
    assert now.memory_bytes == 581_632 - 8_192
    assert now.memory_limit_bytes == 256 * 1024**2
    assert (now.network_rx_bytes, now.network_tx_bytes) == (516, 0)
    assert (now.pids, now.pids_limit) == (1, 100)


def test_version_1_of_a_kernel_that_counts_no_disk_is_unknown_not_zero():
    assert SECOND["blkio_stats"]["io_service_bytes_recursive"] == []
    for nothing in ({}, {"io_service_bytes_recursive": None}, None):
        now = parsed(changed(SECOND, blkio_stats=nothing))
        assert (now.disk_read_bytes, now.disk_write_bytes) == (None, None)


def test_version_1_names_its_operations_with_capitals_and_sums_up_again():
    entries = [
        {"major": 8, "minor": 0, "op": op, "value": value}
        for op, value in (
            ("Read", 10), ("Write", 20), ("Sync", 25), ("Async", 5), ("Discard", 0), ("Total", 30),
            ("Read", 1), ("", 7),
        )
    ]  # fmt: skip
    now = parsed(changed(SECOND, blkio_stats={"io_service_bytes_recursive": entries}))
    assert (now.disk_read_bytes, now.disk_write_bytes) == (11, 20)


def test_version_2():
    now = parsed(VERSION_2)
    assert now.memory_bytes == 155_774_976 - 92_590_080
    assert now.memory_limit_bytes == 16_584_396_800
    assert (now.disk_read_bytes, now.disk_write_bytes) == (5096, 300)
    assert (now.network_rx_bytes, now.network_tx_bytes) == (9979, 1338)
    assert (now.pids, now.pids_limit) == (7, None)
    assert now.cpus == 4


def test_version_2_without_any_disk_access_is_zero():
    now = parsed(changed(VERSION_2, blkio_stats={"io_service_bytes_recursive": None}))
    assert (now.disk_read_bytes, now.disk_write_bytes) == (0, 0)


def test_a_cache_larger_than_the_usage_is_not_taken_off():
    memory = {"usage": 100, "stats": {"total_inactive_file": 100, "inactive_file": 10}, "limit": 1}
    assert parsed(changed(SECOND, memory_stats=memory)).memory_bytes == 100


def test_version_1_leaves_its_own_cgroups_figure_alone():
    # Without "total_" it is that of the container's own group, without the groups in it.
    memory = {"usage": 100, "stats": {"total_inactive_file": 60, "inactive_file": 10}, "limit": 1}
    assert parsed(changed(SECOND, memory_stats=memory)).memory_bytes == 40


def test_podman_gives_no_details_of_the_memory():
    memory = {"usage": 9_000_000, "max_usage": 16_000_000, "limit": 16_000_000}
    now = parsed(changed(VERSION_2, memory_stats=memory, blkio_stats={}))
    assert now.memory_bytes == 9_000_000
    assert now.disk_read_bytes is None


def test_a_container_on_the_hosts_network_has_no_counters():
    raw = deepcopy(SECOND)
    del raw["networks"]
    now = parsed(raw)
    assert (now.network_rx_bytes, now.network_tx_bytes) == (None, None)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"name": "/gone", "id": "0" * 64},
        # Engine 20.10 of a container that has ended.
        {
            "read": "0001-01-01T00:00:00Z",
            "preread": "0001-01-01T00:00:00Z",
            "pids_stats": {},
            "blkio_stats": {"io_service_bytes_recursive": None},
            "num_procs": 0,
            "storage_stats": {},
            "cpu_stats": EMPTY_CPU,
            "precpu_stats": EMPTY_CPU,
            "memory_stats": {},
            "name": "/gone",
        },
    ],
)
def test_what_does_not_run_has_no_counters(raw: dict[str, Any]):
    assert parse_statistics(raw) is None


def test_the_processor_time_between_two_readings_recorded():
    usage = usage_between(parsed(FIRST), parsed(SECOND), 0.5)
    spent_ns = (
        SECOND["cpu_stats"]["cpu_usage"]["total_usage"]
        - FIRST["cpu_stats"]["cpu_usage"]["total_usage"]
    )
    # As `docker stats` reckons: by the processor time of the whole machine, in 1/100 s.
    system_ns = SECOND["cpu_stats"]["system_cpu_usage"] - FIRST["cpu_stats"]["system_cpu_usage"]
    docker_percent = spent_ns / system_ns * 2 * 100
    assert usage.cpu_percent == pytest.approx(docker_percent, rel=0.05)
    assert usage.cpu_limit_percent == pytest.approx(usage.cpu_percent * 2)
    assert usage.memory_percent == pytest.approx((581_632 - 8_192) / 256 / 1024**2 * 100)


def later(**differences: float) -> tuple[Counters, Counters]:
    """Two readings, half a second apart unless told otherwise."""
    before = parsed(VERSION_2)
    values = {name: getattr(before, name) + more for name, more in differences.items()}
    return before, replace(before, **({"read_at": before.read_at + 0.5} | values))


def test_percent_is_of_one_core_and_rates_are_of_a_second():
    before, now = later(cpu_ns=1_250_000_000, network_rx_bytes=1000, disk_write_bytes=50)
    usage = usage_between(before, now, None)
    assert usage.cpu_percent == pytest.approx(250)
    assert (usage.cpu_limit_cores, usage.cpu_limit_percent) == (None, None)
    assert usage.network_rx_bytes_per_second == pytest.approx(2000)
    assert usage.network_tx_bytes_per_second == 0
    assert usage.disk_write_bytes_per_second == pytest.approx(100)


def test_the_first_reading_has_no_rates():
    usage = usage_between(None, parsed(VERSION_2), 2.0)
    assert usage.cpu_percent is None
    assert usage.cpu_limit_percent is None
    assert usage.network_rx_bytes_per_second is None
    assert usage.network_rx_bytes == 9979


def test_counters_that_begin_anew_give_no_negative_rate():
    before, now = later(cpu_ns=-1000, network_rx_bytes=-1)
    usage = usage_between(before, now, None)
    assert usage.cpu_percent is None
    assert usage.network_rx_bytes_per_second is None


def test_without_a_time_the_machines_processors_are_the_clock():
    before, now = later(cpu_ns=1_000_000_000, system_ns=4 * 2_000_000_000)
    usage = usage_between(replace(before, read_at=None), replace(now, read_at=None), None)
    assert usage.cpu_percent == pytest.approx(50)


def test_two_readings_of_one_moment_have_no_rate():
    before, now = later(cpu_ns=1, read_at=0.0)
    assert usage_between(before, now, None).cpu_percent is None


def test_the_number_of_cores_may_only_be_seen_in_their_times():
    raw = deepcopy(SECOND)
    del raw["cpu_stats"]["online_cpus"]
    raw["cpu_stats"]["cpu_usage"]["percpu_usage"] = [1, 2, 3]
    assert parsed(raw).cpus == 3
    del raw["cpu_stats"]["cpu_usage"]["percpu_usage"]
    assert parsed(raw).cpus == 1


@pytest.mark.parametrize(
    ("host", "cores"),
    [
        ({}, None),
        ({"NanoCpus": 0, "CpuQuota": 0, "CpuPeriod": 0, "CpusetCpus": ""}, None),
        ({"NanoCpus": 1_500_000_000}, 1.5),
        ({"CpuQuota": 50_000}, 0.5),
        ({"CpuQuota": 50_000, "CpuPeriod": 25_000}, 2),
        ({"CpuQuota": -1}, None),
        ({"CpusetCpus": "0-2,5"}, 4),
        ({"CpusetCpus": "3", "NanoCpus": 2_000_000_000}, 1),
    ],
)
def test_limits_of_the_processor(host: dict[str, Any], cores: float | None):
    assert cpu_limit_cores(host) == cores
