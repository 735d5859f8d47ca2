"""The journal of a restore: whole or not there, and what another owctl makes of it."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from owctl.backup.restore.begun_note import has_begun_note, write_begun_note
from owctl.backup.restore.empty_machine import was_begun
from owctl.backup.restore.journal import (
    ConfigFile,
    Journal,
    VolumeName,
    advance,
    path_of,
    read_journal,
    remove_journal,
    write_journal,
)
from owctl.backup.restore.plan import refuse_second
from owctl.errors import OwctlError
from owctl.postgres.swap import DatabaseNames

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
    assert read_journal(tmp_path) is None
    write_journal(tmp_path, JOURNAL)
    assert read_journal(tmp_path) == JOURNAL
    assert stat.S_IMODE(path_of(tmp_path).stat().st_mode) == 0o600
    found = advance(tmp_path, JOURNAL, "swapped", running=())
    assert read_journal(tmp_path) == found == replace(JOURNAL, phase="swapped", running=())
    assert [path.name for path in path_of(tmp_path).parent.iterdir()] == ["restore.json"]
    remove_journal(tmp_path)
    assert read_journal(tmp_path) is None


def test_the_journal_takes_over_from_the_note_that_a_restore_was_begun(tmp_path: Path) -> None:
    write_begun_note(tmp_path)
    write_begun_note(tmp_path)
    assert was_begun(tmp_path)
    # Killed right here, both are there; the note alone would replace without asking.
    write_journal(tmp_path, JOURNAL)
    assert not was_begun(tmp_path)
    remove_journal(tmp_path)
    assert not was_begun(tmp_path)
    assert not has_begun_note(tmp_path)


@pytest.mark.parametrize(
    "change", [{"schema": 2}, {"phase": "sleeping"}, {"volumes": [{"key": "a"}]}, {"parts": None}]
)
def test_one_that_is_not_understood(tmp_path: Path, change: dict[str, object]) -> None:
    write_journal(tmp_path, JOURNAL)
    path_of(tmp_path).write_text(json.dumps({**JOURNAL.to_json(), **change}))
    with pytest.raises(OwctlError, match="damaged") as caught:
        read_journal(tmp_path)
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
