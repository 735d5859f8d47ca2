"""The journal of a restore: whole or not there, and what another owctl makes of it."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from owctl.backup.restore.empty_machine import was_begun
from owctl.backup.restore.journal import (
    ConfigFile,
    Journal,
    VolumeName,
    has_begun_note,
    write_begun_note,
)
from owctl.changeover.journal import journal_paths, refuse_half_done, refuse_second
from owctl.errors import OwctlError
from owctl.postgres.swap import DatabaseNames

# As the version before wrote it: what it does not have is as it was then.
EARLIER = """{
  "schema": 1,
  "id": "0123abcd",
  "project": "owls",
  "engine_id": "ENGINE",
  "phase": "staged",
  "backup_id": "20250131T031500Z-9f3a1c",
  "backup_path": "/somewhere/20250131T031500Z-9f3a1c",
  "parts": ["db", "files"],
  "started_at": "2025-01-31T04:00:00Z",
  "running": ["postgres", "redis"],
  "database": {"service": "postgres", "live": "chats", "staged": "ow_restore_0123abcd", "kept": "ow_before_0123abcd"},
  "volumes": [{"key": "redis_data", "name": "owls_redis_data"}],
  "config": [{"path": ".env", "existed": true}],
  "safety_backup": "/somewhere/else",
  "had_containers": true,
  "other_paths": []
}"""
JOURNAL = Journal(
    id="0123abcd",
    project="owls",
    engine_id="ENGINE",
    phase="staging",
    backup_id="20250131T031500Z-9f3a1c",
    backup_path="/somewhere/20250131T031500Z-9f3a1c",
    parts=("db", "files"),
    started_at="2025-01-31T04:00:00Z",
    running=("postgres", "redis"),
    database=DatabaseNames("postgres", "chats", "ow_restore_0123abcd", "ow_before_0123abcd"),
    volumes=(VolumeName("redis_data", "owls_redis_data"),),
    config=(ConfigFile(".env", True),),
    safety_backup="/somewhere/else",
)


def test_written_and_read(tmp_path: Path) -> None:
    assert Journal.read(tmp_path) is None
    JOURNAL.write(tmp_path)
    assert Journal.read(tmp_path) == JOURNAL
    assert stat.S_IMODE(Journal.path(tmp_path).stat().st_mode) == 0o600
    found = JOURNAL.advance(tmp_path, "swapped", running=())
    assert Journal.read(tmp_path) == found == replace(JOURNAL, phase="swapped", running=())
    assert [path.name for path in Journal.path(tmp_path).parent.iterdir()] == ["restore.json"]
    Journal.remove(tmp_path)
    assert Journal.read(tmp_path) is None


def test_the_journal_takes_over_from_the_note_that_a_restore_was_begun(tmp_path: Path) -> None:
    write_begun_note(tmp_path)
    write_begun_note(tmp_path)
    assert was_begun(tmp_path)
    # Killed right here, both are there; the note alone would replace without asking.
    JOURNAL.write(tmp_path)
    assert not was_begun(tmp_path)
    Journal.remove(tmp_path)
    assert not was_begun(tmp_path)
    assert not has_begun_note(tmp_path)


@pytest.mark.parametrize(
    "change", [{"schema": 2}, {"phase": "sleeping"}, {"volumes": [{"key": "a"}]}, {"parts": None}]
)
def test_one_that_is_not_understood(tmp_path: Path, change: dict[str, object]) -> None:
    JOURNAL.write(tmp_path)
    Journal.path(tmp_path).write_text(json.dumps({**JOURNAL.to_json(), **change}))
    with pytest.raises(OwctlError, match="damaged") as caught:
        Journal.read(tmp_path)
    assert "docs/restore.md" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("phase", "way"),
    [
        ("staging", "owctl restore resume"),
        ("swapping", "owctl restore resume"),
        ("swapped", "owctl restore finish"),
        ("undoing", "owctl restore undo"),
        ("finishing", "owctl restore finish"),
    ],
)
def test_a_second_restore_is_told_the_way_out(phase: str, way: str) -> None:
    with pytest.raises(OwctlError, match="20250131T031500Z-9f3a1c") as caught:
        refuse_second(replace(JOURNAL, phase=phase))
    assert (caught.value.hint or "").startswith(way)


def test_one_that_an_earlier_version_wrote(tmp_path: Path) -> None:
    path = Journal.path(tmp_path)
    path.parent.mkdir()
    path.write_text(EARLIER)
    found = Journal.read(tmp_path)
    assert found == replace(JOURNAL, phase="staged", started=True)
    assert (found.wants_start, found.wants_safety_backup, found.timeout_seconds) == (
        True,
        True,
        None,
    )
    assert path.name == "restore.json"


def test_what_it_was_told_is_written_down(tmp_path: Path) -> None:
    told = replace(JOURNAL, wants_start=False, wants_safety_backup=False, timeout_seconds=7.5)
    told.write(tmp_path)
    assert Journal.read(tmp_path) == told


@pytest.mark.parametrize(
    ("phase", "command", "refused"),
    [
        ("swapping", "start", True),
        ("undoing", "upgrade --postgres-major", True),
        ("swapping", "restore undo", False),
        ("swapping", "clean", False),
        ("staged", "start", False),
        ("swapped", "backup", False),
        ("finishing", "start", False),
    ],
)
def test_who_works_on_half_of_the_data(
    tmp_path: Path, phase: str, command: str, refused: bool
) -> None:
    refuse_half_done(tmp_path, command)
    assert journal_paths(tmp_path) == ()
    replace(JOURNAL, phase=phase).write(tmp_path)
    assert journal_paths(tmp_path) == (Journal.path(tmp_path),)
    if not refused:
        refuse_half_done(tmp_path, command)
        return
    with pytest.raises(OwctlError, match=f"The restore of {JOURNAL.backup_id} was inter") as caught:
        refuse_half_done(tmp_path, command)
    assert caught.value.hint == "owctl restore resume; or owctl restore undo"


def test_half_of_the_data_and_nobody_knows_which(tmp_path: Path) -> None:
    JOURNAL.write(tmp_path)
    Journal.path(tmp_path).write_text("{")
    refuse_half_done(tmp_path, "restore undo")
    with pytest.raises(OwctlError, match="damaged"):
        refuse_half_done(tmp_path, "start")
