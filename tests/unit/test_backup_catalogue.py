"""Which backups there are, which of them is meant, and what is known of each."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from backup_folders import days_ago, make_backup

from owctl.backup import catalogue, manifest
from owctl.backup.catalogue import find_backup, list_backups, next_order
from owctl.backup.manifest import Manifest
from owctl.backup.restore.legacy import Wanted
from owctl.errors import UsageError


def make(parent: Path, name: str, created_at: str = "2025-01-01T00:00:00Z") -> Path:
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(
        manifest.dump(
            Manifest(id=name, project="p", created_at=created_at, duration_ms=1, members=())
        )
    )
    return folder


def test_oldest_first_with_broken_ones_and_without_anything_else(tmp_path: Path) -> None:
    make(tmp_path, "20250103T000000Z-aaaaaa", "2025-01-03T00:00:00Z")
    make(tmp_path, "20250101T000000Z-bbbbbb", "2025-01-01T00:00:00Z")
    make(tmp_path, "a-copy", "2025-01-04T00:00:00Z")
    (tmp_path / "20250102T000000Z-cccccc").mkdir()
    make(tmp_path, "20250105T000000Z-dddddd.partial")
    (tmp_path / "notes").mkdir()
    (tmp_path / "db_backup_20250101_000000.sql").touch()
    found = list_backups(tmp_path)
    assert [each.id[-6:] for each in found] == ["bbbbbb", "cccccc", "aaaaaa", "a-copy"]
    assert found[1].manifest is None
    assert "manifest.json" in str(found[1].problem)
    assert list_backups(tmp_path / "missing") == []


def test_a_record_counts_for_the_manifest_that_was_verified(tmp_path: Path) -> None:
    folder = make(tmp_path, "20250101T000000Z-aaaaaa")
    assert not list_backups(tmp_path)[0].is_verified
    catalogue.write_record(folder, catalogue.now("ok", drill=True))
    (found,) = list_backups(tmp_path)
    assert found.is_verified
    assert found.verification is not None
    assert found.verification.drill
    assert (folder / "verification.json").stat().st_mode & 0o777 == 0o600
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes() + b" ")
    assert not list_backups(tmp_path)[0].is_verified
    catalogue.write_record(folder, catalogue.now("failed", problem="a bit"))
    assert not list_backups(tmp_path)[0].is_verified


@pytest.mark.parametrize("text", ["", "[]", "{", '{"status": "ok"}'])
def test_a_damaged_record_is_none(tmp_path: Path, text: str) -> None:
    folder = make(tmp_path, "20250101T000000Z-aaaaaa")
    (folder / "verification.json").write_text(text)
    assert catalogue.read_record(folder) is None


def test_what_a_user_may_call_a_backup(tmp_path: Path) -> None:
    parent = tmp_path / "backups"
    first = make(parent, "20250101T000000Z-aaaaaa", "2025-01-01T00:00:00Z")
    second = make(parent, "20250102T000000Z-bbbbbb", "2025-01-02T00:00:00Z")
    for reference, expected in {
        first.name: first,
        "20250101": first,
        "latest": second,
        str(first): first,
        f"backups/{second.name}": second,
    }.items():
        assert find_backup(parent, reference, tmp_path).path == expected
    catalogue.write_record(second, catalogue.now("failed", problem="x"))
    assert find_backup(parent, "latest", tmp_path).path == first
    for reference, words in {
        "2025": "2 backups",
        "1999": "no backup 1999",
        "./nothing": "no folder",
    }.items():
        with pytest.raises(UsageError, match=words):
            find_backup(parent, reference, tmp_path)
    with pytest.raises(UsageError, match="no backup in"):
        find_backup(tmp_path / "empty", "latest", tmp_path)


def test_the_latest_to_restore_is_the_project_s_own(tmp_path: Path) -> None:
    parent = tmp_path / "backups"
    own = make_backup(parent, days_ago(2), project="ours")
    others = make_backup(parent, days_ago(1), project="theirs", digits="bbbbbb")
    wanted = Wanted(("latest",), tmp_path)
    assert wanted.find(parent, "ours").paths == (own,)
    assert wanted.find(parent, "theirs").paths == wanted.find(parent, None).paths == (others,)
    with pytest.raises(UsageError, match="no backup in"):
        wanted.find(parent, "somebody-else")


NOW = datetime(2026, 5, 1, 3, 0, 0, 250_000, tzinfo=UTC)


def seconds(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def test_latest_is_no_backup_of_the_future_while_there_is_another(tmp_path: Path) -> None:
    make(tmp_path, "20310101T000000Z-ffffff", "2131-01-01T00:00:00Z")
    assert find_backup(tmp_path, "latest", tmp_path).id.endswith("ffffff")
    make(tmp_path, "20260501T030000Z-aaaaaa", seconds(NOW))
    assert find_backup(tmp_path, "latest", tmp_path).id.endswith("aaaaaa")
    assert [each.is_future for each in list_backups(tmp_path)] == [True, False]


def test_two_clocks_that_differ_by_minutes_make_no_future(tmp_path: Path) -> None:
    make(tmp_path, "20260501T030000Z-aaaaaa", seconds(NOW))
    make(tmp_path, "20260501T030500Z-bbbbbb", seconds(NOW + timedelta(minutes=5)))
    found = list_backups(tmp_path, NOW)
    assert [each.id[-6:] for each in found] == ["aaaaaa", "bbbbbb"]
    assert not any(each.is_future for each in found)


def test_old_ones_of_one_second_stand_in_the_order_of_their_writing(tmp_path: Path) -> None:
    for place, digits in enumerate(("cccccc", "aaaaaa", "bbbbbb")):
        folder = make(tmp_path, f"20250101T000000Z-{digits}")
        os.utime(folder / "manifest.json", (1_000_000 + place, 1_000_000 + place))
    assert [each.id[-6:] for each in list_backups(tmp_path)] == ["cccccc", "aaaaaa", "bbbbbb"]


@pytest.mark.parametrize(
    "step",
    [timedelta(), timedelta(milliseconds=1), timedelta(minutes=-4), timedelta(hours=-1)],
    ids=["no time", "a millisecond", "ntp", "daylight"],
)
def test_the_order_is_that_of_making_whatever_the_clock_does(
    tmp_path: Path, step: timedelta
) -> None:
    made = []
    moment = NOW
    # Random digits that would order them the other way round.
    for digits in ("cccccc", "bbbbbb", "aaaaaa"):
        order = next_order(tmp_path, "p", moment)
        folder = tmp_path / f"{moment:%Y%m%dT%H%M%SZ}-{digits}"
        folder.mkdir()
        document = Manifest(folder.name, "p", seconds(moment), 1, (), ordered_at=order.isoformat())
        (folder / "manifest.json").write_bytes(manifest.dump(document))
        assert manifest.read(folder).order == order
        made.append(folder.name)
        moment += step
    assert [each.id for each in list_backups(tmp_path, NOW + timedelta(days=1))] == made


def test_a_clock_that_was_wrong_by_years_carries_no_other_along(tmp_path: Path) -> None:
    make(tmp_path, "20310101T000000Z-ffffff", "2031-01-01T00:00:00Z")
    assert next_order(tmp_path, "p", NOW) == NOW
    # And what a manifest from elsewhere says of its own place is believed for a day only.
    far = Manifest("x", "p", seconds(NOW), 1, (), ordered_at="2031-01-01T00:00:00Z")
    assert far.order == NOW.replace(microsecond=0)
