"""An upgrade of PostgreSQL: its journal, its refusals, and what counts as a difference."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from owctl import cli
from owctl.changeover.journal import refuse_half_done
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
from owctl.upgrade.postgres.place import Journal, Place, stack_with_image
from owctl.upgrade.postgres.plan import check_versions, refuse_another
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
    assert Journal.read(tmp_path) is None
    JOURNAL.write(tmp_path)
    assert Journal.read(tmp_path) == JOURNAL
    assert Journal.path(tmp_path).stat().st_mode & 0o777 == 0o600
    assert JOURNAL.advance(tmp_path, "undoing", running=()) == Journal.read(tmp_path)
    assert [path.name for path in Journal.path(tmp_path).parent.iterdir()] == [
        Journal.path(tmp_path).name
    ]
    Journal.remove(tmp_path)
    Journal.remove(tmp_path)
    assert Journal.read(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 2}', '{"schema": 1, "phase": "lost"}'])
def test_a_damaged_journal(tmp_path: Path, text: str) -> None:
    JOURNAL.write(tmp_path)
    Journal.path(tmp_path).write_text(text)
    with pytest.raises(OwctlError, match="is damaged"):
        Journal.read(tmp_path)
    found = check_kept(tmp_path)
    assert found is not None
    assert found.status == "failed"


def test_what_the_doctor_says_of_it(tmp_path: Path) -> None:
    assert check_kept(tmp_path) is None
    JOURNAL.write(tmp_path)
    assert check_kept(tmp_path, BEGUN + timedelta(days=6)) is None
    kept = check_kept(tmp_path, BEGUN + timedelta(days=8))
    assert kept is not None
    assert kept.status == "warning"
    assert "8 days after the upgrade to 17" in kept.detail
    JOURNAL.advance(tmp_path, "moving")
    cut_off = check_kept(tmp_path, BEGUN)
    assert cut_off is not None
    assert cut_off.status == "failed"


def test_the_journal_of_an_earlier_version(tmp_path: Path) -> None:
    path = Journal.path(tmp_path)
    path.parent.mkdir()
    path.write_text(
        """{"schema": 1, "id": "x", "project": "x", "engine_id": "x", "phase": "swapped",
        "service": "x", "volume": "data", "folder": "x", "new_volume": "x", "old_major": "15",
        "new_major": "17", "old_image": "x", "new_image": "postgres:17",
        "started_at": "2026-01-01T00:00:00Z", "running": ["postgres", "app"],
        "had_containers": true, "backup": null, "started": false}"""
    )
    assert path.name == "postgres-upgrade.json"
    assert Journal.read(tmp_path) == JOURNAL


@pytest.mark.parametrize(
    ("phase", "command", "refused"),
    [
        ("moving", "start", True),
        ("swapping", "restore resume", True),
        ("undoing", "backup", True),
        ("moving", "upgrade --postgres-major", False),
        ("swapped", "start", False),
        ("preparing", "start", False),
    ],
)
def test_who_works_on_half_an_upgrade(
    tmp_path: Path, phase: str, command: str, refused: bool
) -> None:
    replace(JOURNAL, phase=phase).write(tmp_path)
    if not refused:
        refuse_half_done(tmp_path, command)
        return
    with pytest.raises(OwctlError, match=rf"from PostgreSQL 15 to 17 .*phase {phase}") as caught:
        refuse_half_done(tmp_path, command)
    assert (caught.value.hint or "").startswith("owctl upgrade --postgres-major resume")


@pytest.mark.parametrize("option", ["--no-build", "--no-pull", "--pull", "--no-backup"])
def test_options_of_the_other_upgrade(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["upgrade", "--postgres-major", option, "--dry-run"]) == 2
    assert option in capsys.readouterr().err


@pytest.mark.parametrize(
    ("phase", "way"), [("swapped", "finish"), ("moving", "resume"), ("undoing", "resume")]
)
def test_there_is_no_second_one(tmp_path: Path, phase: str, way: str) -> None:
    replace(JOURNAL, phase=phase).write(tmp_path)
    with pytest.raises(OwctlError, match="from PostgreSQL 15 to 17") as caught:
        refuse_another(stack_in(tmp_path))
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
