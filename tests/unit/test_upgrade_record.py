"""The record of upgrades: what it holds, and what of it counts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from owctl.errors import OwctlError
from owctl.lifecycle.actions import missing_image
from owctl.project.upgrade_record import (
    Change,
    Held,
    ImageNote,
    Record,
    UnderWay,
    Upgrade,
    finish,
    hold_images,
    path_of,
    read_record,
    release_images,
    write_record,
)
from tests.unit.test_lifecycle_plan import service, stack

OLD = ImageNote("app:latest", "sha256:old", kept_as="owctl-rollback/p/web:old", version="1")
NEW = ImageNote("app:latest", "sha256:new", digest="sha256:d")
HELD = Held("app:latest", OLD, "rolled back")


def upgrade(identity: str, *services: str) -> Upgrade:
    changes = tuple(Change(name, OLD, NEW) for name in services)
    return Upgrade(identity, "upgrade", "2026-01-01T00:00:00Z", changes, "backup", ("t.c text",))


def test_a_record_reads_back_as_it_was_written(tmp_path: Path):
    assert read_record(tmp_path) == Record()
    record = Record(
        finished=(upgrade("1", "web"), upgrade("2", "db")),
        held={"web": HELD},
        under_way=UnderWay(replace(upgrade("3", "web"), columns=None), "replacing", {"a": None}),
    )
    write_record(tmp_path, Record())
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    assert path_of(tmp_path).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(schema=2),
        lambda document: document["under_way"].update(phase="dancing"),
        lambda document: document.pop("held"),
        lambda document: document.update(finished=7),
    ],
)
def test_a_damaged_record_is_refused_by_name(tmp_path: Path, change):
    write_record(tmp_path, Record(under_way=UnderWay(upgrade("1", "web"), "returning", {})))
    document = json.loads(path_of(tmp_path).read_text())
    change(document)
    path_of(tmp_path).write_text(json.dumps(document))
    with pytest.raises(OwctlError, match=r"upgrade\.json, is damaged"):
        read_record(tmp_path)


def test_a_service_is_held_while_the_files_name_the_same_image():
    files = stack(service("web", image="app:latest"), service("db"))
    held = hold_images(files, Record(held={"web": HELD, "gone": HELD}))
    assert held.services["web"].image_name("p") == "owctl-rollback/p/web:old"
    assert held.services["web"].declared_image("p") == "app:latest"
    assert held.services["db"] == files.services["db"]
    assert release_images(held) == files
    # Another image in the files is a decision.
    other = stack(service("web", image="app:2"))
    assert hold_images(other, Record(held={"web": HELD})) == other
    # What is not on record any more is not held any more.
    assert hold_images(held, Record()) == files


def test_of_the_finished_those_stay_that_a_service_can_be_rolled_back_to():
    record = Record()
    for each in (upgrade("1", "web", "db"), upgrade("2", "web"), upgrade("3", "web")):
        record = finish(record, each, {})
    assert [each.id for each in record.finished] == ["1", "3"]
    newest = record.newest_of("db")
    assert newest is not None
    assert newest.id == "1"
    assert record.newest_of("redis") is None
    assert record.kept_names == {"owctl-rollback/p/web:old"}


def test_a_held_image_that_is_gone_says_how_to_go_on():
    held = hold_images(stack(service("web", image="app:latest")), Record(held={"web": HELD}))
    error = missing_image(held.services["web"], "owctl-rollback/p/web:old", "p")
    assert "went back to" in error.message
    assert error.hint is not None
    assert "owctl upgrade web" in error.hint
    assert "app:latest" in error.hint


def test_what_was_interrupted_says_what_ends_it():
    assert "`owctl upgrade` goes on with it" in upgrade("1", "web").unfinished
    back = replace(upgrade("1", "web"), kind="rollback")
    assert "`owctl rollback` goes on with it" in back.unfinished
