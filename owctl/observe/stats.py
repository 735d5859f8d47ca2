"""The engine's counters of a container, and what two readings of them say of its consumption.

Engines on cgroup v1 and v2, and Podman, count the same things under different names; what one does
not count is None here, never 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# "Unlimited", as kernels write it: the highest number that fits, rounded down to pages.
_NO_LIMIT = 1 << 62
_DEFAULT_PERIOD_MICROSECONDS = 100_000


@dataclass(frozen=True, slots=True)
class Counters:
    """One reading. ``read_at`` is in seconds since 1970; the ``_ns`` count processor time.

    ``system_ns`` is that of the whole machine, of all its ``cpus``. Network and disk count since the
    container's start.
    """

    read_at: float | None
    cpu_ns: int | None
    system_ns: int | None
    cpus: int
    memory_bytes: int | None
    memory_limit_bytes: int | None
    network_rx_bytes: int | None
    network_tx_bytes: int | None
    disk_read_bytes: int | None
    disk_write_bytes: int | None
    pids: int | None
    pids_limit: int | None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container consumes. ``cpu_percent`` is of one core, ``cpu_limit_percent`` of its limit.

    ``cpu_limit_cores`` is None where no limit is set; ``memory_limit_bytes`` is then the machine's
    memory. What needs two readings is None after the first.
    """

    cpu_percent: float | None
    cpu_limit_cores: float | None
    cpu_limit_percent: float | None
    memory_bytes: int | None
    memory_limit_bytes: int | None
    memory_percent: float | None
    network_rx_bytes: int | None
    network_tx_bytes: int | None
    network_rx_bytes_per_second: float | None
    network_tx_bytes_per_second: float | None
    disk_read_bytes: int | None
    disk_write_bytes: int | None
    disk_read_bytes_per_second: float | None
    disk_write_bytes_per_second: float | None
    pids: int | None
    pids_limit: int | None


def parse_statistics(raw: Mapping[str, Any]) -> Counters | None:
    """Return the counters of the engine's answer, None for that of a container that does not run."""
    cpu = raw.get("cpu_stats") or {}
    spent = cpu.get("cpu_usage") or {}
    memory = raw.get("memory_stats") or {}
    pids = raw.get("pids_stats") or {}
    if not spent.get("total_usage") and memory.get("usage") is None:
        return None
    received, sent = _network(raw)
    read, written = _disk(raw)
    return Counters(
        read_at=_moment(raw.get("read")),
        cpu_ns=_count(spent.get("total_usage")),
        system_ns=_count(cpu.get("system_cpu_usage")),
        # Not every engine gives their number; cgroup v1 names the time of each.
        cpus=int(cpu.get("online_cpus") or len(spent.get("percpu_usage") or ()) or 1),
        memory_bytes=memory_in_use(memory),
        memory_limit_bytes=_limit(memory.get("limit")),
        network_rx_bytes=received,
        network_tx_bytes=sent,
        disk_read_bytes=read,
        disk_write_bytes=written,
        pids=_count(pids.get("current")),
        pids_limit=_limit(pids.get("limit")),
    )


def memory_in_use(memory: Mapping[str, Any]) -> int | None:
    """Return the bytes that the kernel could not simply drop: without the inactive file cache.

    So `docker stats` counts, too: ``total_inactive_file`` on cgroup v1, ``inactive_file`` on v2.
    """
    usage = _count(memory.get("usage"))
    if usage is None:
        return None
    details = memory.get("stats") or {}
    name = "total_inactive_file" if _is_version_1(memory) else "inactive_file"
    cache = _count(details.get(name)) or 0
    return usage - cache if cache < usage else usage


def cpu_limit_cores(host: Mapping[str, Any]) -> float | None:
    """Return how many cores a container may use by its ``HostConfig``, None without a limit."""
    limits: list[float] = []
    if nano := host.get("NanoCpus"):
        limits.append(nano / 1e9)
    if (quota := host.get("CpuQuota") or 0) > 0:
        limits.append(quota / (host.get("CpuPeriod") or _DEFAULT_PERIOD_MICROSECONDS))
    if cores := _listed_cores(str(host.get("CpusetCpus") or "")):
        limits.append(float(cores))
    return min(limits, default=None)


def usage_between(before: Counters | None, now: Counters, limit_cores: float | None) -> Usage:
    """Return what was consumed between two readings of one run of a container."""
    seconds = _seconds_between(before, now)

    def rate(name: str) -> float | None:
        old, new = getattr(before, name, None), getattr(now, name)
        if seconds is None or old is None or new is None or new < old:
            return None
        return float((new - old) / seconds)

    spent = rate("cpu_ns")
    cores = None if spent is None else spent / 1e9
    return Usage(
        cpu_percent=None if cores is None else cores * 100,
        cpu_limit_cores=limit_cores,
        cpu_limit_percent=cores / limit_cores * 100 if cores is not None and limit_cores else None,
        memory_bytes=now.memory_bytes,
        memory_limit_bytes=now.memory_limit_bytes,
        memory_percent=_percent(now.memory_bytes, now.memory_limit_bytes),
        network_rx_bytes=now.network_rx_bytes,
        network_tx_bytes=now.network_tx_bytes,
        network_rx_bytes_per_second=rate("network_rx_bytes"),
        network_tx_bytes_per_second=rate("network_tx_bytes"),
        disk_read_bytes=now.disk_read_bytes,
        disk_write_bytes=now.disk_write_bytes,
        disk_read_bytes_per_second=rate("disk_read_bytes"),
        disk_write_bytes_per_second=rate("disk_write_bytes"),
        pids=now.pids,
        pids_limit=now.pids_limit,
    )


def _seconds_between(before: Counters | None, now: Counters) -> float | None:
    """Return the time between two readings, None if that cannot be told.

    The clock's, as the machine's processor time is counted in hundredths of a second, without what
    other virtual machines took; where an engine sends no time, it has to do.
    """
    if before is None:
        return None
    if before.read_at is not None and now.read_at is not None:
        seconds = now.read_at - before.read_at
    elif before.system_ns is not None and now.system_ns is not None:
        seconds = (now.system_ns - before.system_ns) / now.cpus / 1e9
    else:
        return None
    return seconds if seconds > 0 else None


def _is_version_1(memory: Mapping[str, Any]) -> bool:
    return "total_inactive_file" in (memory.get("stats") or {})


def _network(raw: Mapping[str, Any]) -> tuple[int | None, int | None]:
    # A container on the host's network, or on none, has no counters of its own.
    cards = (raw.get("networks") or {}).values()
    if not cards:
        return None, None
    return (
        sum(int(card.get("rx_bytes") or 0) for card in cards),
        sum(int(card.get("tx_bytes") or 0) for card in cards),
    )


def _disk(raw: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the bytes read and written: ``Read`` and ``Write`` on cgroup v1, lower case on v2."""
    memory = raw.get("memory_stats") or {}
    entries = (raw.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    if not entries and ("stats" not in memory or _is_version_1(memory)):
        # On v1 many kernels count for none of their schedulers; on v2 it means: nothing so far.
        return None, None
    done = {"read": 0, "write": 0}
    for entry in entries:
        kind = str(entry.get("op")).lower()
        if kind in done:
            done[kind] += int(entry.get("value") or 0)
    return done["read"], done["write"]


def _listed_cores(text: str) -> int:
    """Return how many cores a list such as "0-2,5" names."""
    count = 0
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit():
            count += int(last) - int(first) + 1 if last.isdigit() else 1
    return count


def _percent(part: int | None, whole: int | None) -> float | None:
    return part / whole * 100 if part is not None and whole else None


def _limit(value: object) -> int | None:
    limit = _count(value)
    return limit if limit is not None and 0 < limit < _NO_LIMIT else None


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _moment(text: object) -> float | None:
    if not isinstance(text, str) or text.startswith("0001-"):
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
