"""Folders for a while: private, gone with their owner, and removed by the next one after a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from owctl.scratch_folder import ScratchFolder, remove_abandoned

HOLDER = """
import sys
from pathlib import Path
from owctl.scratch_folder import ScratchFolder

folder = ScratchFolder("owctl-test-", Path(sys.argv[1]))
(folder.path / "webui.db").write_text("secret")
print(folder.path, flush=True)
sys.stdin.read()
"""


def test_it_is_private_and_goes_with_the_block(tmp_path):
    with ScratchFolder("owctl-test-", tmp_path) as path:
        assert path.parent == tmp_path
        assert path.name.startswith("owctl-test-")
        assert path.stat().st_mode & 0o777 == 0o700
        (path / "deep").mkdir()
        (path / "deep" / "file").touch()
        assert list(tmp_path.iterdir()) == [path]
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_removed_twice(tmp_path):
    folder = ScratchFolder("owctl-test-", tmp_path)
    folder.remove()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    folder.remove()
    os.fstat(descriptor)
    os.close(descriptor)


def test_what_a_killed_owctl_left_is_removed_and_what_a_living_one_holds_is_not(tmp_path):
    other = tmp_path / "owctl-other-1"
    other.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        held = Path(holder.stdout.readline().strip())
        with ScratchFolder("owctl-test-", tmp_path) as mine:
            assert sorted(tmp_path.iterdir()) == sorted([other, held, mine])
        holder.send_signal(signal.SIGKILL)
    assert held.exists()
    with ScratchFolder("owctl-test-", tmp_path) as mine:
        assert sorted(tmp_path.iterdir()) == sorted([other, mine])


def test_a_link_is_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / "owctl-test-x").symlink_to(precious)
    remove_abandoned("owctl-test-", tmp_path)
    assert precious.is_dir()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        ScratchFolder("owctl-test-", tmp_path / "nowhere")
