"""`owctl backup list` and `verify` without an engine: what they show, say and write down."""

import json
import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from backup_folders import days_ago, flip_a_bit, make_backup, sqlite_member

from owctl.backup import catalogue
from owctl.backup.drill import check_sqlite_member
from owctl.cli import run
from owctl.figures import age

COMPOSE = "services: {web: {image: web}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "runtime").mkdir()
    for name in ("COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    project = tmp_path / "proj"
    project.mkdir()
    (project / "compose.yaml").write_text(COMPOSE)
    monkeypatch.chdir(project)
    monkeypatch.setenv("PWD", str(project))
    return project


def document(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_the_newest_is_on_top_and_broken_ones_are_shown(folder, capsys):
    backups = folder / "backups"
    old = make_backup(backups, days_ago(9), parts=("db", "config"), label="before the upgrade")
    catalogue.write_record(old, catalogue.now("ok", drill=True))
    damaged = make_backup(backups, days_ago(5))
    catalogue.write_record(damaged, catalogue.now("failed", problem="a bit flipped"))
    torn = make_backup(backups, days_ago(4))
    (torn / "config" / ".env").unlink()
    empty = backups / f"{days_ago(3):%Y%m%dT%H%M%SZ}-cccccc"
    empty.mkdir()
    new = make_backup(backups, days_ago(0.5), verified=False)
    assert run(["backup", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:6]] == [
        path.name for path in (new, empty, torn, damaged, old)
    ]
    assert "12 h" in lines[1]
    assert "  all " in lines[1]
    assert "  no" in lines[1]
    assert "db, config" in lines[5]
    assert "drill, " in lines[5]
    assert "before the upgrade" in lines[5]
    assert sum("BROKEN" in line for line in lines) == 3
    why = "\n".join(lines[6:])
    assert f"{damaged.name} is broken: a bit flipped" in why
    assert f"{torn.name} is broken: config/.env is missing." in why
    assert f"{empty.name} is broken: " in why


def test_what_lacks_something_is_not_called_all(folder, capsys):
    made = make_backup(folder / "backups", days_ago(1), verified=False)
    path = made / "manifest.json"
    manifest = json.loads(path.read_text())
    why = "The database further of postgres (3 tables) is not in the backup."
    manifest["stack"]["lacks"] = [{"kind": "database", "name": "further", "why": why}]
    path.write_text(json.dumps(manifest))
    assert run(["backup", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  not all " in lines[1]
    assert f"{made.name} is not all: {why}" in " ".join(lines[2:])


def test_the_table_fits_into_80_columns(folder, capsys):
    made = make_backup(folder / "backups", days_ago(300), parts=("db", "files", "config"))
    catalogue.write_record(made, catalogue.now("ok", drill=True))
    assert run(["backup", "list"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_the_document(folder, capsys):
    made = make_backup(folder / "backups", datetime(2025, 1, 31, 3, 15, tzinfo=UTC), label="x")
    assert run(["backup", "list", "--json"]) == 0
    found = document(capsys)
    assert (found["schema"], found["project"]) == (1, "proj")
    (backup,) = found["backups"]
    assert backup["id"] == "20250131T031500Z-aaaaaa"
    assert backup["path"] == str(made)
    assert backup["created_at"] == "2025-01-31T03:15:00Z"
    assert backup["parts"] == ["db", "files", "redis", "config"]
    assert (backup["tables"], backup["rows"], backup["label"]) == (2, 11, "x")
    assert (backup["verified"], backup["drilled"], backup["problem"]) == (True, False, None)
    assert backup["verified_at"]
    assert len(backup["members"]) == 3
    assert backup["size_bytes"] == sum(each["size_bytes"] for each in backup["members"])


def test_without_backups_with_broken_files_and_in_another_folder(folder, capsys):
    assert run(["backup", "list"]) == 0
    assert "There are no backups" in capsys.readouterr().err
    (folder / "compose.yaml").write_text("services: [")
    make_backup(folder / "elsewhere", days_ago(1))
    assert run(["-p", "proj", "backup", "list", "--json", "--output", "elsewhere"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert "Warning: " in captured.err
    assert found["project"] == "proj"
    assert len(found["backups"]) == 1


def test_leftovers_are_hinted_at(folder, capsys):
    (folder / "backups" / "20250101T000000Z-aaaaaa.partial").mkdir(parents=True)
    (folder / "backups" / "20250101T000000Z-bbbbbb.removing").mkdir()
    assert run(["backup", "list"]) == 0
    message = capsys.readouterr().err
    assert "aaaaaa.partial" in message
    assert "bbbbbb.removing" in message


def test_a_sound_backup_is_verified_and_that_is_kept(folder, capsys):
    made = make_backup(folder / "backups", days_ago(1), verified=False)
    assert run(["backup", "verify"]) == 0
    assert f"{made.name} is sound" in capsys.readouterr().out
    record = catalogue.read_record(made)
    assert record is not None
    assert (record.status, record.drill) == ("ok", False)


def test_a_drill_goes_on_counting(folder, capsys):
    made = make_backup(folder / "backups", days_ago(1))
    catalogue.write_record(made, catalogue.now("ok", drill=True))
    assert run(["backup", "verify", "--json"]) == 0
    assert document(capsys)["backups"][0]["status"] == "ok"
    record = catalogue.read_record(made)
    assert record is not None
    assert record.drill


def test_every_damaged_member_is_named(folder, capsys):
    make_backup(folder / "backups", days_ago(2))
    made = make_backup(folder / "backups", days_ago(1))
    flip_a_bit(made / "postgres.dump.zst")
    (made / "volumes" / "data.tar.zst").unlink()
    (made / "stray").touch()
    assert run(["backup", "verify", "--json"]) == 7
    captured = capsys.readouterr()
    assert "stray" in captured.err
    assert "postgres.dump.zst" in captured.err
    assert "volumes/data.tar.zst is missing" in captured.err
    (backup,) = json.loads(captured.out)["backups"]
    assert backup["status"] == "failed"
    assert len(backup["problems"]) == 2
    assert backup["extra_files"] == ["stray"]
    record = catalogue.read_record(made)
    assert record is not None
    assert record.status == "failed"
    # The newest is the newest, damaged or not.
    assert run(["backup", "verify"]) == 7
    capsys.readouterr()
    assert run(["backup", "verify", "--all", "--json"]) == 7
    assert [each["status"] for each in document(capsys)["backups"]] == ["failed", "ok"]


def test_a_backup_of_a_newer_owctl_is_not_called_damaged_for_nothing(folder, capsys):
    made = make_backup(folder / "backups", days_ago(1))
    text = (made / "manifest.json").read_text().replace('"schema": 1', '"schema": 2')
    (made / "manifest.json").write_text(text)
    assert run(["backup", "verify"]) == 7
    message = capsys.readouterr().err
    assert "schema 2" in message
    assert "Try: a newer owctl" in message


def test_a_verdict_is_given_where_nothing_can_be_written(folder, capsys):
    made = make_backup(folder / "backups", days_ago(1), verified=False)
    # In the way of the record; it works for root, too, whom no mode keeps out.
    (made / "verification.json").mkdir()
    assert run(["backup", "verify"]) == 0
    captured = capsys.readouterr()
    assert "is sound" in captured.out
    assert "Warning: What was found is not kept." in captured.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_verdict_is_given_on_a_read_only_medium(folder, capsys):
    made = make_backup(folder / "backups", days_ago(1), verified=False)
    subprocess.run(["mount", "--bind", made, made], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", made], check=True)
        assert run(["backup", "verify"]) == 0
    finally:
        subprocess.run(["umount", made], check=True)
    captured = capsys.readouterr()
    assert "is sound" in captured.out
    assert "Read-only file system" in captured.err
    assert catalogue.read_record(made) is None


def test_what_cannot_be_meant_is_a_usage_error(folder, capsys):
    assert run(["backup", "verify"]) == 2
    assert run(["backup", "verify", "20250101", "--all"]) == 2
    make_backup(folder / "backups", days_ago(1))
    assert run(["backup", "verify", "1999"]) == 2
    assert "no backup 1999" in capsys.readouterr().err


def test_a_drill_needs_the_engine(folder, capsys):
    make_backup(folder / "backups", days_ago(1))
    assert run(["backup", "verify", "--drill"]) == 5


def test_a_stored_sqlite_database_is_checked(tmp_path):
    folder = tmp_path / "backup"
    folder.mkdir()
    member = sqlite_member(folder, tmp_path, rows=500)
    assert check_sqlite_member(folder, member) == []
    fewer = replace(member, detail={"rows": {"chat": 499}})
    assert "rows" in check_sqlite_member(folder, fewer)[0]
    (tmp_path / ".owctl-drill-killed").mkdir()
    flip_a_bit(folder / member.name)
    assert member.name in check_sqlite_member(folder, member)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup"]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2025-01-31T12:00:00Z", "0 s"),
        ("2025-01-31T11:58:30Z", "1 min"),
        ("2025-01-31T10:00:01Z", "119 min"),
        ("2025-01-31T10:00:00Z", "2 h"),
        ("2025-01-29T12:00:01Z", "47 h"),
        ("2025-01-29T12:00:00Z", "2 d"),
        ("2025-01-31T12:09:00Z", "0 s"),
        ("2026-01-01T00:00:00Z", "in future"),
        ("2025-01-30T12:00:00", "24 h"),
        ("yesterday", "?"),
    ],
)
def test_ages(moment, expected):
    assert age(moment, datetime(2025, 1, 31, 12, tzinfo=UTC)) == expected
