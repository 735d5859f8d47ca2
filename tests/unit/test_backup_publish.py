"""All or nothing: what is left after success, failure, a kill, and who may clean up."""

import multiprocessing
import os
import signal
import stat
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from owctl.backup.member_file import MemberFile, write_small
from owctl.backup.publish import new_id, partial_folder
from owctl.errors import OwctlError


def hold(parent: Path, backup_id: str, pipe: Connection) -> None:
    with partial_folder(parent, backup_id) as backup:
        (backup.folder / "member").write_text("half")
        pipe.send("ready")
        signal.pause()


def start_holder(parent: Path, backup_id: str) -> multiprocessing.Process:
    # Not fork: the lock's descriptor must be the child's alone.
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=hold, args=(parent, backup_id, theirs))
    process.start()
    theirs.close()
    assert ours.poll(30)
    assert ours.recv() == "ready"
    ours.close()
    return process


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill_and_fail(parent: Path, error: type[BaseException]) -> None:
    with partial_folder(parent, "one") as backup:
        write_small(backup.folder, "a", b"b")
        raise error("x")


def stop(process: multiprocessing.Process) -> None:
    process.kill()
    process.join(30)
    process.close()


def test_published_whole_and_private(tmp_path: Path) -> None:
    parent = tmp_path / "backups"
    with partial_folder(parent, "one") as backup:
        write_small(backup.folder, "config/deep/.env", b"SECRET=1\n")
        assert not (parent / "one").exists()
        path = backup.publish()
    assert path == parent / "one"
    assert names(parent) == ["one"]
    assert sorted(p.name for p in path.rglob("*")) == [".env", "config", "deep"]
    for entry in [parent, path, *path.rglob("*")]:
        expected = 0o700 if entry.is_dir() else 0o600
        assert stat.S_IMODE(entry.stat().st_mode) == expected, entry


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OwctlError])
def test_nothing_is_left_of_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "earlier").mkdir()
    with pytest.raises(error):
        fill_and_fail(tmp_path, error)
    assert names(tmp_path) == ["earlier"]


def test_leaving_without_publishing_leaves_nothing(tmp_path: Path) -> None:
    with partial_folder(tmp_path, "one"):
        pass
    assert names(tmp_path) == []


def test_a_killed_runs_leftover_goes_a_running_ones_stays(tmp_path: Path) -> None:
    running = start_holder(tmp_path, "running")
    killed = start_holder(tmp_path, "killed")
    stop(killed)
    (tmp_path / "no-lock.partial").mkdir()
    (tmp_path / "whole").mkdir()
    try:
        with partial_folder(tmp_path, "mine"):
            assert names(tmp_path) == ["mine.partial", "running.partial", "whole"]
    finally:
        stop(running)
    with partial_folder(tmp_path, "mine"):
        assert names(tmp_path) == ["mine.partial", "whole"]


def test_an_existing_name_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "data").write_text("old")
    with pytest.raises(OwctlError), partial_folder(tmp_path, "one") as backup:
        backup.publish()
    assert (tmp_path / "one" / "data").read_text() == "old"
    assert names(tmp_path) == ["one"]


def test_a_parent_that_is_no_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OwctlError, match="Cannot write"), partial_folder(tmp_path / "file", "one"):
        pass


def test_ids_sort_by_time() -> None:
    early = new_id(datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC))
    late = new_id(datetime(2025, 1, 2, 3, 4, 6, tzinfo=UTC))
    assert early.startswith("20250102T030405Z-")
    assert early < late
    assert new_id(datetime.now(UTC)) != new_id(datetime.now(UTC))


def write_to_a_full_disk(folder: Path) -> None:
    with MemberFile(folder, "member") as file:
        file._file.close()
        # /dev/full takes nothing, whatever is written.
        file._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
        file.write(os.urandom(4 << 20))
        file.finish()


def test_a_full_disk_is_said_as_such(tmp_path: Path) -> None:
    with pytest.raises(OwctlError) as caught:
        write_to_a_full_disk(tmp_path)
    assert "no space is left" in caught.value.message
    assert caught.value.hint
