"""doctor's look at the backups: how old is the newest good one, and is that too old?"""

import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from owctl.backup import manifest as manifests
from owctl.backup.catalogue import now as verified_now
from owctl.backup.catalogue import write_record
from owctl.backup.freshness import check_backup_disk, check_backups, newest_verified
from owctl.backup.manifest import Manifest, Member
from owctl.backup.schedule.schedule import Schedule, daily, weekly, write_schedule
from owctl.compose.model import Stack
from owctl.figures import readable_age

NOW = datetime(2025, 3, 10, 12, 0, tzinfo=UTC)
ALL = ("db", "files", "redis", "config")


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack("proj", tmp_path, (), (), {}, {}, {})


def text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def make_backup(
    parent: Path,
    age: timedelta,
    *,
    project: str = "proj",
    parts: tuple[str, ...] = ALL,
    verified: bool = True,
) -> str:
    made = NOW - age
    name = f"{made:%Y%m%dT%H%M%SZ}-{len(list(parent.glob('*'))):06x}"
    folder = parent / name
    folder.mkdir(parents=True)
    manifest = Manifest(name, project, text(made), 1, (), stack={"parts": list(parts)})
    (folder / "manifest.json").write_bytes(manifests.dump(manifest))
    if verified:
        write_record(folder, verified_now("ok"))
    return name


def schedule(age: timedelta, **fields: object) -> Schedule:
    plain = Schedule(
        "proj", daily("02:00"), "crontab", ("owctl",), None, (), text(NOW - age), line="0 2 * * *"
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def judge(stack: Stack) -> tuple[str, str]:
    finding, *_ = check_backups(None, stack, stack.working_dir, NOW)
    assert finding.check == "backups"
    assert finding.hint or finding.status != "warning"
    return finding.status, finding.detail


def test_only_whole_verified_backups_of_the_project_count(tmp_path: Path):
    good = make_backup(tmp_path, timedelta(days=9))
    make_backup(tmp_path, timedelta(days=4), verified=False)
    make_backup(tmp_path, timedelta(days=3), project="other")
    make_backup(tmp_path, timedelta(days=2), parts=("db",))
    (tmp_path / "20250310T110000Z-aaaaaa").mkdir()
    newest = newest_verified(tmp_path, "proj")
    assert newest is not None
    assert newest.backup.id == good
    assert newest.age_seconds(NOW) == 9 * 86400
    config_only = newest_verified(tmp_path, "proj", {"db"})
    assert config_only is not None
    assert config_only.age_seconds(NOW) == 2 * 86400


def test_without_a_schedule_an_old_backup_is_fine(stack: Stack):
    name = make_backup(stack.working_dir / "backups", timedelta(days=400))
    assert judge(stack) == ("ok", f"{name} is verified, 400 days old")


def test_a_backup_that_lacks_something_is_named(stack: Stack):
    parent = stack.working_dir / "backups"
    name = make_backup(parent, timedelta(days=1))
    path = parent / name / "manifest.json"
    document = json.loads(path.read_text())
    document["stack"]["lacks"] = [{"kind": "database", "name": "further", "why": "it is another"}]
    path.write_text(json.dumps(document))
    write_record(parent / name, verified_now("ok"))
    assert judge(stack) == ("warning", f"{name} is verified, 24 hours old, but lacks further")


def test_a_schedule_is_kept_or_late(stack: Stack):
    parent = stack.working_dir / "backups"
    write_schedule(stack.working_dir, schedule(timedelta(days=30)))
    assert judge(stack)[0] == "warning"
    make_backup(parent, timedelta(hours=31))
    status, detail = judge(stack)
    assert status == "warning"
    assert "31 hours old" in detail
    assert "every day at 02:00" in detail
    # A day and six hours of grace, for a run that takes long or was made up for.
    make_backup(parent, timedelta(hours=29))
    assert judge(stack)[0] == "ok"


def test_a_schedule_owes_nothing_for_the_time_before_it(stack: Stack):
    make_backup(stack.working_dir / "backups", timedelta(days=20))
    write_schedule(stack.working_dir, schedule(timedelta(hours=2)))
    assert judge(stack)[0] == "ok"
    write_schedule(stack.working_dir, schedule(timedelta(days=6), timing=weekly("sun", "2:00")))
    assert judge(stack)[0] == "ok"
    write_schedule(stack.working_dir, schedule(timedelta(days=8), timing=weekly("sun", "2:00")))
    assert judge(stack)[0] == "warning"


def test_the_folder_and_the_parts_of_the_schedule_count(stack: Stack, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    make_backup(stack.working_dir / "backups", timedelta(hours=1))
    mine = schedule(timedelta(days=30), parent=str(elsewhere), parts=("db",))
    write_schedule(stack.working_dir, mine)
    assert judge(stack)[0] == "warning"
    make_backup(elsewhere, timedelta(hours=1), parts=("config",))
    assert judge(stack)[0] == "warning"
    make_backup(elsewhere, timedelta(hours=1), parts=("db",))
    assert judge(stack)[0] == "ok"
    # One of another project in the same folder is nobody's business here.
    write_schedule(stack.working_dir, replace(mine, project="other"))
    assert judge(stack)[0] == "ok"


def test_what_cannot_be_read_is_said(stack: Stack):
    assert judge(stack) == ("skipped", "no verified backup; is there data? Needs the engine")
    (stack.working_dir / ".owctl").mkdir()
    (stack.working_dir / ".owctl" / "schedule.json").write_text("{")
    status, detail = judge(stack)
    assert status == "warning"
    assert "schedule.json is damaged" in detail


def test_an_age_in_words():
    ages = {0: "0 seconds", 59: "59 seconds", 61: "a minute", 7000: "117 minutes"}
    ages |= {7200: "2 hours", 93600: "26 hours", 172800: "2 days"}
    assert {seconds: readable_age(seconds) for seconds in ages} == ages


def test_a_backup_of_the_future_is_no_young_one_and_is_said(stack: Stack) -> None:
    parent = stack.working_dir / "backups"
    real = make_backup(parent, timedelta(hours=30))
    ahead = make_backup(parent, timedelta(days=-2000))
    write_schedule(stack.working_dir, schedule(timedelta(days=9)))
    newest = newest_verified(parent, "proj", now=NOW)
    assert newest is not None
    assert newest.backup.id == real
    status, detail = judge(stack)
    assert status == "ok"
    assert real in detail
    (_, future) = check_backups(None, stack, stack.working_dir, NOW)
    assert future.status == "warning"
    assert ahead in future.detail
    # Two days on, it must not have kept the doctor quiet.
    status, detail = next(
        (f.status, f.detail)
        for f in check_backups(None, stack, stack.working_dir, NOW + timedelta(days=2))
    )
    assert status == "warning"
    assert "old" in detail


def test_with_none_but_of_the_future_there_is_one_and_its_age_is_not_told(stack: Stack) -> None:
    ahead = make_backup(stack.working_dir / "backups", timedelta(days=-2000))
    newest = newest_verified(stack.working_dir / "backups", "proj", now=NOW)
    assert newest is not None
    assert (newest.backup.id, newest.backup.is_future) == (ahead, True)
    write_schedule(stack.working_dir, schedule(timedelta(days=9)))
    assert judge(stack)[0] == "warning"


class Disk(NamedTuple):
    """What statvfs says that matters here."""

    f_bavail: int
    f_frsize: int = 1
    f_files: int = 0
    f_favail: int = 0


def test_the_disk_of_the_backups_has_room_for_one_more(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = stack.working_dir / "backups"
    name = make_backup(parent, timedelta(days=1))
    member = Member("db", "database", 10**10, "0" * 64, 1)
    manifest = replace(manifests.read(parent / name), members=(member,))
    (parent / name / "manifest.json").write_bytes(manifests.dump(manifest))
    for free, status in ((20 * 10**9, None), (10**10, "warning"), (10**7, "warning")):
        monkeypatch.setattr("os.statvfs", lambda _, free=free: Disk(free))
        found = check_backup_disk("proj", stack.working_dir)
        assert [each.status for each in found] == ([status] if status else [])
        assert all("the newest has 10.0 GB" in each.detail for each in found)


def test_another_disk_of_the_backups_is_looked_at(stack: Stack) -> None:
    # A file system of its own on every Linux, which is never the one of a test's folder.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        there = Path(elsewhere) / "not yet made"
        write_schedule(stack.working_dir, schedule(timedelta(days=1), parent=str(there)))
        (found,) = check_backup_disk("proj", stack.working_dir)
        assert elsewhere in found.detail
