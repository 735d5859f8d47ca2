"""Readers and disks of messages that go away: the work goes on to its end, and the exit code tells how."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import OWCTL, Project, clean_environment

FULL = Path("/dev/full")


def until_one_line(project: Project, *arguments: str, stderr: bool) -> int:
    """Run owctl into a pipe whose reader takes one line and leaves; return the exit code."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [OWCTL, *arguments],
        cwd=project.directory,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer if stderr else subprocess.DEVNULL,
    )
    os.close(writer)
    with os.fdopen(reader) as lines:
        lines.readline()
    return process.wait(240)


def into_full_disk(
    project: Project, *arguments: str, stream: str
) -> subprocess.CompletedProcess[str]:
    """Run owctl with one of its streams on a disk that is full."""
    with FULL.open("w") as full:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}
        return subprocess.run(
            [OWCTL, *arguments],
            cwd=project.directory,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=240,
            check=False,
            **streams,
        )


def running(project: Project) -> set[str]:
    return {name for name, row in project.status().items() if row["state"] == "running"}


def test_work_goes_on_to_its_end(own_stack: Project) -> None:
    assert until_one_line(own_stack, "start", stderr=True) == 0
    everything = set(own_stack.status())
    assert running(own_stack) == everything
    assert len(everything) == 5

    assert until_one_line(own_stack, "backup", "--quiesce", stderr=True) == 0
    assert running(own_stack) == everything
    assert until_one_line(own_stack, "restore", "latest", "--yes", stderr=True) == 0
    assert running(own_stack) == everything
    status = json.loads(own_stack.succeed("restore", "status", "--json").stdout)
    assert status["restore"]["phase"] == "swapped"
    own_stack.succeed("restore", "finish", "--yes")

    assert into_full_disk(own_stack, "restart", "redis", stream="stderr").returncode == 0
    assert running(own_stack) == everything

    # What a script reads did not arrive, and it is told so; the work is done all the same.
    lost = into_full_disk(own_stack, "backup", "--json", stream="stdout")
    assert lost.returncode == 1
    assert "Error: Cannot write the results to stdout: No space left on device" in lost.stderr
    backups = json.loads(own_stack.succeed("backup", "list", "--json").stdout)["backups"]
    assert len(backups) == 3  # that of before the restore is one

    assert until_one_line(own_stack, "stop", stderr=True) == 0
    assert running(own_stack) == set()


@pytest.mark.parametrize("command", ["config", "--help"])
def test_results_of_reading(own_stack: Project, command: str) -> None:
    assert until_one_line(own_stack, command, stderr=False) == 0
    lost = into_full_disk(own_stack, command, stream="stdout")
    assert lost.returncode == 1
    assert lost.stderr.splitlines() == [
        "Error: Cannot write the results to stdout: No space left on device",
        "Try: the same command with its output where there is room: df -h",
    ]
    assert into_full_disk(own_stack, command, stream="stderr").returncode == 0
