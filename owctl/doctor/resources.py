"""Checks of disk, memory and of what the stack mounts."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from owctl.compose.model import Stack
from owctl.doctor.finding import Finding, Situation, Status
from owctl.figures import rough_size

if TYPE_CHECKING:
    from owctl.engine.connection import Engine


# -- Disk and memory: enough for the stack to start, and to go on.


MEGABYTE = 1_000_000
# (warning below, failed below): images, volumes and logs; `.env`, history and backups.
ENGINE_BYTES = (2_000 * MEGABYTE, 256 * MEGABYTE)
PROJECT_BYTES = (500 * MEGABYTE, 16 * MEGABYTE)
MEMORY_BYTES = (512 * MEGABYTE, 128 * MEGABYTE)
_FEW_FILES = 10_000
_MEMINFO = Path("/proc/meminfo")
_CLEAR_UP = "free some: `df -h`, `docker system df`, `docker image prune`, old backups"


def check_disk(engine: "Engine | None", project_dir: Path | None) -> tuple[Finding, ...]:
    """Judge the disk of the engine, where that is on this machine, and of the project's folder."""
    places: list[tuple[str, Path, tuple[int, int]]] = []
    if project_dir is not None:
        places.append(("the project's folder", project_dir, PROJECT_BYTES))
    if engine is not None and engine.endpoint.is_local:
        root = Path(str(engine.info.get("DockerRootDir") or "/nowhere"))
        places.append(("the engine's data", root, ENGINE_BYTES))
    rows: dict[int, Finding] = {}
    for what, folder, limits in places:
        try:
            device, status = folder.stat().st_dev, os.statvfs(folder)
        except OSError:
            # An engine in a virtual machine has its folder there.
            continue
        # On one disk the engine's need, the last and larger one, speaks for both.
        rows[device] = judge_disk(what, folder, status, limits)
    return tuple(rows.values()) or (Finding("disk", "skipped", "it cannot be seen from here"),)


def judge_disk(
    what: str, folder: Path, status: os.statvfs_result, limits: tuple[int, int]
) -> Finding:
    """Return the verdict on one disk; ``limits`` are bytes: a warning, a failure below them."""
    free = status.f_bavail * status.f_frsize
    detail = f"{rough_size(free)} free for {what} ({folder})"
    verdict = _verdict(free, limits)
    # A file system without a fixed number of files says 0 of 0.
    if status.f_files and status.f_favail < _FEW_FILES and verdict == "ok":
        return Finding(
            "disk", "warning", f"{detail}, but only {status.f_favail} more files fit", _CLEAR_UP
        )
    return Finding("disk", verdict, detail, None if verdict == "ok" else _CLEAR_UP)


def check_memory(engine: "Engine") -> tuple[Finding, ...]:
    """Judge the memory that is available on this machine; elsewhere only the total is known."""
    total = int(engine.info.get("MemTotal") or 0)
    findings = [judge_memory(total, _meminfo() if engine.endpoint.is_local else {})]
    no_effect = "the engine cannot limit a container's memory: the limits have no effect"
    if engine.info.get("MemoryLimit") is False:
        hint = "switch the memory cgroup on (cgroup_enable=memory on the kernel's command line)"
        findings.append(Finding("memory", "warning", no_effect, hint))
    elif engine.is_podman and engine.is_rootless and engine.info.get("CgroupVersion") == "1":
        hint = "a rootless engine limits nothing on cgroup version 1: use version 2, or root's"
        findings.append(Finding("memory", "warning", no_effect, hint))
    return tuple(findings)


def judge_memory(total: int, meminfo: Mapping[str, int]) -> Finding:
    """Return the verdict; ``meminfo`` is /proc/meminfo in bytes, empty if it says nothing here."""
    available = meminfo.get("MemAvailable")
    if available is None or abs(meminfo.get("MemTotal", 0) - total) > total * 0.1:
        return Finding("memory", "ok", f"{rough_size(total)} on the engine's machine")
    verdict = _verdict(available + meminfo.get("SwapFree", 0) // 2, MEMORY_BYTES)
    hint = "stop what is not needed, add memory or swap, or lower the limits in .env"
    return Finding(
        "memory",
        verdict,
        f"{rough_size(available)} of {rough_size(total)} available",
        None if verdict == "ok" else hint,
    )


def _verdict(value: int, limits: tuple[int, int]) -> Status:
    warning, failed = limits
    return "failed" if value < failed else "warning" if value < warning else "ok"


def _meminfo() -> dict[str, int]:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return {}
    found = {}
    for line in lines:
        name, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdigit():
            found[name] = int(number[0]) * 1024
    return found


# -- Folders and files of this machine that containers on another one are to mount.


def check_mounts(situation: Situation, names: Iterable[str]) -> tuple[Finding, ...]:
    """Judge the bind mounts of the named services.

    A path below the project's folder, or the user's own, is meant for this machine: another one
    has an empty folder there, which its engine makes without a word.
    """
    machine = situation.engine.endpoint.machine
    if machine is None:
        return (Finding("mounts", "ok", "the engine is on this machine"),)
    found = [
        f"{name} mounts {source} at {target}"
        for name in names
        for source, target in _own_paths(situation.stack, name)
    ]
    if not found:
        return (Finding("mounts", "ok", f"nothing of this machine's is needed on {machine}"),)
    return tuple(
        Finding(
            "mounts",
            "failed",
            f"{each}, but the engine is on {machine} and sees that machine's files",
            "put the files into the image or into a named volume; a secret or config can have its "
            "`content:` or `environment:` in the compose file, which owctl writes into the container",
        )
        for each in found
    )


def _own_paths(stack: Stack, name: str) -> list[tuple[str, str]]:
    own = [stack.working_dir, Path.home()]
    return [
        (mount.source, mount.target)
        for mount in stack.services[name].mounts
        if mount.type == "bind"
        and mount.source
        and any(Path(mount.source).is_relative_to(folder) for folder in own)
    ]
