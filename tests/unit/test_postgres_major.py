"""An upgrade of PostgreSQL: its journal, its refusals, and what counts as a difference."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from owctl.compose.model import Build, Mount, Service, Stack
from owctl.errors import OwctlError, UsageError
from owctl.postgres.compare import Contents, differences
from owctl.project.upgrade_record import (
    Change,
    Held,
    ImageNote,
    Record,
    Upgrade,
    read_record,
    write_record,
)
from owctl.upgrade.postgres.journal import (
    Journal,
    advance,
    path_of,
    read_journal,
    remove_journal,
    write_journal,
)
from owctl.upgrade.postgres.place import Place, stack_with_image
from owctl.upgrade.postgres.plan import check_versions, refuse_second
from owctl.upgrade.postgres.swap import check_kept, forget_images

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("id", "project", "engine_id", "service", "folder", "new_volume", "old_image")
JOURNAL = Journal(
    **dict.fromkeys(NAMES, "x"),
    volume="data",
    new_image="postgres:17",
    old_major="15",
    new_major="17",
    phase="swapped",
    started_at=f"{BEGUN:%Y-%m-%dT%H:%M:%SZ}",
    running=("postgres", "app"),
)
SERVICE = Service(
    "postgres", image="postgres:17", mounts=(Mount("volume", "/var/lib/postgresql/data", "data"),)
)
PLACE = Place(SERVICE, "data", "", "15", "postgres:15", "sha256:1", "17", "postgres:17", None)


def stack_in(folder: Path) -> Stack:
    return Stack("p", folder, (), (), {"postgres": SERVICE}, {}, {})


def test_the_journal_is_what_was_written(tmp_path: Path) -> None:
    assert read_journal(tmp_path) is None
    write_journal(tmp_path, JOURNAL)
    assert read_journal(tmp_path) == JOURNAL
    assert path_of(tmp_path).stat().st_mode & 0o777 == 0o600
    assert advance(tmp_path, JOURNAL, "undoing", running=()) == read_journal(tmp_path)
    assert [path.name for path in path_of(tmp_path).parent.iterdir()] == [path_of(tmp_path).name]
    remove_journal(tmp_path)
    remove_journal(tmp_path)
    assert read_journal(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 2}', '{"schema": 1, "phase": "lost"}'])
def test_a_damaged_journal(tmp_path: Path, text: str) -> None:
    write_journal(tmp_path, JOURNAL)
    path_of(tmp_path).write_text(text)
    with pytest.raises(OwctlError, match="is damaged"):
        read_journal(tmp_path)
    found = check_kept(tmp_path)
    assert found is not None
    assert found.status == "failed"


def test_what_the_doctor_says_of_it(tmp_path: Path) -> None:
    assert check_kept(tmp_path) is None
    write_journal(tmp_path, JOURNAL)
    assert check_kept(tmp_path, BEGUN + timedelta(days=6)) is None
    kept = check_kept(tmp_path, BEGUN + timedelta(days=8))
    assert kept is not None
    assert kept.status == "warning"
    assert "8 days after the upgrade to 17" in kept.detail
    advance(tmp_path, JOURNAL, "moving")
    cut_off = check_kept(tmp_path, BEGUN)
    assert cut_off is not None
    assert cut_off.status == "failed"


@pytest.mark.parametrize(
    ("phase", "way"), [("swapped", "finish"), ("moving", "resume"), ("undoing", "resume")]
)
def test_there_is_no_second_one(tmp_path: Path, phase: str, way: str) -> None:
    write_journal(tmp_path, replace(JOURNAL, phase=phase))
    with pytest.raises(OwctlError, match="from PostgreSQL 15 to 17") as caught:
        refuse_second(stack_in(tmp_path))
    assert f"owctl upgrade --postgres-major {way}" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("new", "words"),
    [("15", "nothing to upgrade"), ("14", "no way down"), ("17", None), (None, None)],
)
def test_only_upwards(new: str | None, words: str | None) -> None:
    place = replace(PLACE, new_major=new)
    if words is None:
        check_versions(place)
        return
    with pytest.raises(UsageError, match=words):
        check_versions(place)


def test_the_old_image_is_neither_built_nor_held(tmp_path: Path) -> None:
    service = replace(SERVICE, build=Build(str(tmp_path)), held_image="held", pull_policy="always")
    stack = replace(stack_in(tmp_path), services={"postgres": service})
    found = stack_with_image(stack, "postgres", "postgres:15").services["postgres"]
    assert found.image_name("p") == "postgres:15"
    assert (found.build, found.pull_policy) == (None, None)


def test_no_rollback_leads_back_to_the_old_image(tmp_path: Path) -> None:
    note = ImageNote("postgres:15", "sha256:1")
    both = tuple(Change(name, note, note) for name in ("postgres", "app"))
    finished = (Upgrade("1", "upgrade", "then", both), Upgrade("2", "upgrade", "now", both[:1]))
    write_record(tmp_path, Record(finished, {"postgres": Held("postgres:15", note, "why")}))
    forget_images(stack_in(tmp_path), "postgres")
    found = read_record(tmp_path)
    assert [(each.id, each.services) for each in found.finished] == [("1", ("app",))]
    assert found.held == {}


OLD = Contents(
    tables={"d.public.a": (3, "x"), "d.public.b": (1, "y")},
    sequences={"d.public.s": "at 7"},
    objects={"indexes": ["d: a_pkey on a"], "roles": ["web"]},
)


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (OLD, None),
        (replace(OLD, tables={"d.public.a": (3, "x")}), "d.public.b had 1 rows and has no"),
        (
            replace(OLD, tables={**OLD.tables, "d.public.a": (2, "x")}),
            "d.public.a had 3 rows and has 2",
        ),
        (
            replace(OLD, tables={**OLD.tables, "d.public.a": (3, "z")}),
            "d.public.a has the same number of rows, and other content in them",
        ),
        (
            replace(OLD, sequences={"d.public.s": "at 1"}),
            "the sequence d.public.s was at 7 and is at 1",
        ),
        (replace(OLD, objects={"roles": ["web"]}), "indexes: d: a_pkey on a is missing"),
        (replace(OLD, objects={**OLD.objects, "views": ["v"]}), "views: v is new"),
    ],
)
def test_what_counts_as_a_difference(new: Contents, words: str | None) -> None:
    assert differences(OLD, new) == ([words] if words else [])
