"""`owctl backup prune`: what goes, what is proven before, and what is never touched."""

import fcntl
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest
from backup_folders import days_ago, flip_a_bit, make_backup
from test_backup_list_command import folder  # noqa: F401  # the fixture

from owctl.backup import catalogue
from owctl.backup.catalogue import list_backups
from owctl.backup.publish import find_leftovers, partial_folder, remove_backup
from owctl.backup.retention import Rules, plan_prune, prune
from owctl.cli import run
from owctl.errors import BackupInvalid, OwctlError


def names(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir())


def pruned(parent: Path, **rules: int) -> list[str]:
    return prune(plan_prune(parent, "proj", Rules(**rules))).removed


def test_the_oldest_go_and_the_newest_was_read_back(tmp_path):
    made = [make_backup(tmp_path, days_ago(days)) for days in (4, 3, 2, 1)]
    read: list[str] = []
    plan = plan_prune(tmp_path, "proj", Rules(last=2))
    done = prune(plan, lambda event: read.append(event.text))
    assert done.removed == [made[0].name, made[1].name]
    assert names(tmp_path) == [made[2].name, made[3].name]
    assert read.count("verified") == 3


@pytest.mark.parametrize("damage", ["flip", "lose"])
def test_nothing_goes_while_what_would_stay_is_damaged(tmp_path, damage):
    made = [make_backup(tmp_path, days_ago(days)) for days in (3, 2, 1)]
    plan = plan_prune(tmp_path, "proj", Rules(last=1))
    member = made[2] / "volumes" / "data.tar.zst"
    flip_a_bit(member) if damage == "flip" else member.unlink()
    with pytest.raises(BackupInvalid, match="Nothing was removed") as caught:
        prune(plan)
    assert "data.tar.zst" in caught.value.details[0]
    assert len(names(tmp_path)) == 3
    # From now on it does not count, and the one before it is what must stay.
    assert pruned(tmp_path, last=1) == [made[0].name]
    assert names(tmp_path) == [made[1].name, made[2].name]


def test_a_part_is_proven_by_what_holds_as_much(tmp_path):
    old, whole = (make_backup(tmp_path, days_ago(days)) for days in (3, 2))
    make_backup(tmp_path, days_ago(1), parts=("config",))
    flip_a_bit(whole / "postgres.dump.zst")
    with pytest.raises(BackupInvalid, match=whole.name):
        pruned(tmp_path, last=1)
    assert old.is_dir()


def test_other_projects_and_renamed_and_linked_ones_are_left_alone(tmp_path):
    parent = tmp_path / "backups"
    parent.mkdir()
    outside = make_backup(tmp_path / "outside", days_ago(8))
    link = parent / outside.name
    link.symlink_to(outside)
    foreign = make_backup(parent, days_ago(9), project="other")
    renamed = make_backup(parent, days_ago(7)).rename(parent / "before-the-upgrade")
    torn = make_backup(parent, days_ago(6))
    (torn / "manifest.json").write_text("{")
    unverified = make_backup(parent, days_ago(5), verified=False)
    old, new = (make_backup(parent, days_ago(days)) for days in (4, 3))
    plan = plan_prune(parent, "proj", Rules(last=1), remove_broken=True)
    assert prune(plan).removed == [old.name]
    assert plan.others == 1
    for kept in (link, foreign, renamed, torn, unverified, new):
        assert kept.exists()
    assert (outside / "manifest.json").exists()


def test_a_link_that_takes_a_backups_place_is_not_followed(tmp_path):
    outside = make_backup(tmp_path / "outside", days_ago(5))
    old, new = (make_backup(tmp_path / "backups", days_ago(days)) for days in (5, 1))
    plan = plan_prune(tmp_path / "backups", "proj", Rules(last=1))
    shutil.rmtree(old)
    old.symlink_to(outside)
    with pytest.raises(OwctlError, match="could not be removed"):
        prune(plan)
    assert (outside / "postgres.dump.zst").exists()
    assert new.is_dir()


def test_links_in_a_backup_are_removed_and_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    parent = tmp_path / "backups"
    old = make_backup(parent, days_ago(2))
    (old / "out").symlink_to(tmp_path / "precious")
    make_backup(parent, days_ago(1))
    assert pruned(parent, last=1) == [old.name]
    assert (tmp_path / "precious" / "file").exists()


def test_broken_ones_go_only_when_asked_and_never_the_last(tmp_path):
    broken = make_backup(tmp_path, days_ago(2))
    catalogue.write_record(broken, catalogue.now("failed", problem="x"))
    assert prune(plan_prune(tmp_path, "proj", Rules(), remove_broken=True)).removed == []
    make_backup(tmp_path, days_ago(1))
    assert pruned(tmp_path, last=1) == []
    assert prune(plan_prune(tmp_path, "proj", Rules(), remove_broken=True)).removed == [broken.name]


def test_what_another_process_reads_stays(tmp_path):
    old, _ = (make_backup(tmp_path, days_ago(days)) for days in (2, 1))
    reader = os.open(old, os.O_RDONLY)
    fcntl.flock(reader, fcntl.LOCK_SH)
    try:
        found = prune(plan_prune(tmp_path, "proj", Rules(last=1)))
        assert (found.removed, found.busy) == ([], [old.name])
        assert old.is_dir()
    finally:
        os.close(reader)
    assert pruned(tmp_path, last=1) == [old.name]
    assert not remove_backup(old)


def remove_and_die(backup: Path) -> None:
    def die(path: Path) -> None:
        (path / "manifest.json").unlink()
        os.kill(os.getpid(), signal.SIGKILL)

    shutil.rmtree = die  # type: ignore[assignment]
    remove_backup(backup)


def test_a_kill_in_the_middle_leaves_nothing_that_looks_like_a_backup(tmp_path):
    old, new = (make_backup(tmp_path, days_ago(days)) for days in (2, 1))
    child = multiprocessing.get_context("spawn").Process(target=remove_and_die, args=(old,))
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    assert [each.path for each in list_backups(tmp_path)] == [new]
    left = tmp_path / (old.name + ".removing")
    assert find_leftovers(tmp_path) == [left]
    with partial_folder(tmp_path, "20250101T000000Z-eeeeee"):
        assert not left.exists()


def test_a_leftover_that_cannot_be_looked_into_stops_no_backup(tmp_path, monkeypatch):
    (tmp_path / "20250101T000000Z-aaaaaa.partial").mkdir()

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        assert find_leftovers(tmp_path) == []
    assert len(find_leftovers(tmp_path)) == 1


def test_the_command_shows_asks_and_removes(folder, capsys):  # noqa: F811
    backups = folder / "backups"
    made = [make_backup(backups, days_ago(days)) for days in (4, 3, 2)]
    arguments = ["backup", "prune", "--keep-last", "1"]
    assert run([*arguments, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [(line.split()[0], line.split()[5]) for line in lines[1:4]] == [
        (made[2].name, "keep"),
        (made[1].name, "remove"),
        (made[0].name, "remove"),
    ]
    assert "2 backups would be removed" in lines[4]
    assert run(arguments) == 2
    assert "--yes" in capsys.readouterr().err
    assert run([*arguments, "--json"]) == 2
    assert capsys.readouterr().out == ""
    assert len(names(backups)) == 3
    assert run([*arguments, "--yes", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["removed"] == [made[0].name, made[1].name]
    assert found["freed_bytes"] > 0
    assert names(backups) == [made[2].name]
    history = (folder / ".owctl" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["command"] for line in history] == ["backup prune"]
    assert run([*arguments, "--yes"]) == 0
    assert "Nothing to remove" in capsys.readouterr().out


def test_the_command_clears_leftovers_away(folder, capsys):  # noqa: F811
    make_backup(folder / "backups", days_ago(1))
    (folder / "backups" / "20250101T000000Z-bbbbbb.removing").mkdir()
    assert run(["backup", "prune", "--keep-last", "1", "--yes"]) == 0
    assert len(names(folder / "backups")) == 1


def test_without_a_rule_or_a_backup(folder, capsys):  # noqa: F811
    assert run(["backup", "prune"]) == 2
    assert "No rule" in capsys.readouterr().err
    assert run(["backup", "prune", "--keep-last", "0"]) == 2
    assert run(["backup", "prune", "--keep-daily", "7", "--yes"]) == 0
    (folder / "compose.yaml").write_text("services: [")
    assert run(["backup", "prune", "--keep-daily", "7", "--yes"]) == 4


def test_a_damaged_keeper_is_7(folder, capsys):  # noqa: F811
    make_backup(folder / "backups", days_ago(2))
    flip_a_bit(make_backup(folder / "backups", days_ago(1)) / "config" / ".env")
    assert run(["backup", "prune", "--keep-last", "1", "--yes"]) == 7
    assert "config/.env" in capsys.readouterr().err
    assert len(names(folder / "backups")) == 2


def test_an_empty_database_pushes_nothing_out_that_has_accounts(folder, capsys):  # noqa: F811
    backups = folder / "backups"
    good = [make_backup(backups, days_ago(days)) for days in (9, 8)]
    empty = [make_backup(backups, days_ago(days), empty=True) for days in (3, 2, 1)]
    assert run(["backup", "prune", "--keep-last", "1", "--yes"]) == 0
    assert names(backups) == [good[1].name, empty[2].name]
    assert f"{empty[2].name} has no accounts" in capsys.readouterr().err
    # Once there is data again, the rules are the rules.
    new = make_backup(backups, days_ago(0.1))
    assert pruned(backups, last=1) == [good[1].name, empty[2].name]
    assert names(backups) == [new.name]


def test_one_of_the_future_does_not_count_and_is_said(folder, capsys):  # noqa: F811
    backups = folder / "backups"
    old, new = (make_backup(backups, days_ago(days)) for days in (2, 1))
    future = make_backup(backups, days_ago(-2000))
    assert run(["backup", "prune", "--keep-last", "1", "--yes"]) == 0
    assert names(backups) == sorted([new.name, future.name])
    assert f"not removed: {future.name}" in capsys.readouterr().err
    assert run(["backup", "prune", "--keep-last", "1", "--dry-run", "--json"]) == 0
    by_id = {each["id"]: each for each in json.loads(capsys.readouterr().out)["backups"]}
    assert by_id[future.name]["condition"] == "future"
    assert old.name not in by_id
    assert run(["backup", "list"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].startswith(new.name)
    assert "in future" in shown[2]
    assert f"{future.name} is dated in the future" in shown[3]
