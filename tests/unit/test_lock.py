import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from owctl.errors import Locked, OwctlError
from owctl.project.lock import folder_lock, project_lock, runtime_folder

HOLDER = """
import sys
from pathlib import Path
from owctl.project.lock import project_lock
with project_lock("engine", "stack", "start", runtime_dir=Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    with process:
        process.kill()


def test_a_second_owctl_is_told_who_holds_it(tmp_path, holder):
    with (
        pytest.raises(Locked) as caught,
        project_lock("engine", "stack", "stop", runtime_dir=tmp_path),
    ):
        pass
    assert caught.value.exit_code == 8
    assert "Project stack is being changed by `owctl start`" in caught.value.message
    assert f"pid {holder.pid}" in caught.value.message
    assert "--lock-wait" in (caught.value.hint or "")


def test_other_projects_and_other_engines_are_free(tmp_path, holder):
    with (
        project_lock("engine", "other", "stop", runtime_dir=tmp_path),
        project_lock("other", "stack", "stop", runtime_dir=tmp_path),
        folder_lock(tmp_path, "setup", runtime_dir=tmp_path),
    ):
        assert len(list(tmp_path.glob("*.json"))) == 4


def test_a_killed_holder_leaves_nothing_in_the_way(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with project_lock("engine", "stack", "stop", runtime_dir=tmp_path):
        assert len(list(tmp_path.glob("*.json"))) == 1
    assert not list(tmp_path.glob("*.json"))


def test_what_a_killed_holder_wrote_is_not_taken_for_the_present_one(tmp_path, holder):
    (details,) = tmp_path.glob("*.json")
    details.write_text('{"pid": 4194999, "command": "old", "user": "u", "since": "then"}')
    with (
        pytest.raises(Locked, match="by another owctl"),
        project_lock("engine", "stack", "stop", runtime_dir=tmp_path),
    ):
        pass


def test_waiting_takes_over_when_the_holder_ends(tmp_path, holder):
    assert holder.stdin is not None
    threading.Timer(0.2, holder.stdin.close).start()
    started = time.monotonic()
    with project_lock("engine", "stack", "stop", wait_seconds=20, runtime_dir=tmp_path):
        assert time.monotonic() - started < 15


def test_waiting_ends(tmp_path, holder):
    started = time.monotonic()
    with (
        pytest.raises(Locked),
        project_lock("engine", "stack", "stop", wait_seconds=0.2, runtime_dir=tmp_path),
    ):
        pass
    assert time.monotonic() - started >= 0.2


def test_an_error_inside_lets_go(tmp_path):
    with pytest.raises(ZeroDivisionError), project_lock("e", "p", "start", runtime_dir=tmp_path):
        raise ZeroDivisionError
    with project_lock("e", "p", "start", runtime_dir=tmp_path):
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with (
        pytest.raises(OwctlError, match="Cannot make a lock in") as caught,
        project_lock("e", "p", "start", runtime_dir=blocked / "owctl"),
    ):
        pass
    assert "XDG_RUNTIME_DIR" in (caught.value.hint or "")


def test_a_session_does_not_move_the_lock(tmp_path):
    usual = runtime_folder({})
    assert runtime_folder({"XDG_RUNTIME_DIR": f"/run/user/{os.geteuid()}"}) == usual
    assert runtime_folder({"XDG_RUNTIME_DIR": "/nonexistent"}) == usual
    assert runtime_folder({"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "owctl"
    if os.geteuid() == 0:
        assert usual == Path("/run/owctl")
