"""docs/schemas/: one valid schema for each output, and no output without one."""

import json
from collections.abc import Iterator

import click
import pytest
from jsonschema import Draft202012Validator

from owctl.cli import COMMANDS, cli, run
from tests.json_documents import FOLDER, TABLE, check_document, check_output, own_path, row_of, rows

SCHEMAS = sorted(path.name for path in FOLDER.glob("*.json"))
# Documents that lie on the disk instead of being printed.
ON_DISK = {"backup-manifest.json", "backup-verification.json"}


def printing_json(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The commands below one that have --json."""
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1] if path else "owctl")
        names = [*command.list_commands(context), getattr(command, "default", None)]
        for name in filter(None, names):
            sub = command.get_command(context, name)
            assert sub is not None
            is_default = name == getattr(command, "default", None)
            yield from printing_json(sub, path if is_default else (*path, name))
    elif any("--json" in parameter.opts for parameter in command.params):
        yield path


def test_every_command_that_prints_json_has_a_row():
    found = set(printing_json(cli, ()))
    assert len(found) > 15
    # What `owctl dev` shares with the project's own stack prints the same.
    own = {own_path(path) for path in found}
    assert {path for path in own if not any(row.path == path for row in rows())} == set()


def test_every_schema_is_in_the_table_and_the_other_way_round():
    assert {row.file for row in rows()} | ON_DISK == set(SCHEMAS)
    assert all(name in TABLE.read_text() for name in ON_DISK)
    assert all(row.path[0] in COMMANDS for row in rows())


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid_and_lets_keys_grow(name):
    schema = json.loads((FOLDER / name).read_text())
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["properties"]["schema"] == {"const": 1}
    assert "schema" in schema["required"]
    assert "project" in schema["required"] or name == "backup-verification.json"
    assert schema["additionalProperties"] is True
    assert schema["title"]
    assert schema["description"].endswith(".")


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["-C", "status", "ps", "--json"], "status.json"),
        (["health", "--format", "json", "--watch"], "health-watch.json"),
        (["backup", "--format=json"], "backup.json"),
        (["backup", "create", "--json", "--dry-run"], "backup-dry-run.json"),
        (["backup", "schedule", "--json", "--", "--dry-run"], "backup-schedule.json"),
        (["-p", "x", "-q", "restore", "latest", "--json"], "restore.json"),
        (["restore", "undo", "--json"], "restore-after.json"),
        (["dev", "ps", "--json"], "status.json"),
        (["dev", "env", "--json"], "dev-env.json"),
    ],
)
def test_the_row_of_a_command_line(words, file):
    row = row_of(words)
    assert row is not None
    assert row.file == file


def test_what_does_not_ask_for_json_has_no_row():
    assert row_of(["status"]) is None
    assert row_of(["backup", "schedule", "--daily", "2:00", "--", "--json"]) is None


STATUS = {"schema": 1, "project": "p", "services": [], "held": [], "unfinished_upgrade": None}


@pytest.mark.parametrize(
    "wrong", [{"schema": 2}, {"project": None}, {"services": [{}]}, {"undescribed": 1}]
)
def test_the_check_can_fail(wrong):
    check_document(STATUS, "status.json")
    with pytest.raises(AssertionError, match=r"status\.json"):
        check_document({**STATUS, **wrong}, "status.json")


def test_a_time_that_is_not_utc_fails():
    entry = {
        "schema": 1, "time": "2025-01-31T03:15:00.5Z", "user": "u", "command": "start",
        "arguments": [], "outcome": "done", "exit_code": 0, "duration_ms": 1,
    }  # fmt: skip
    document = {"schema": 1, "project": "p", "entries": [entry]}
    check_output(["history", "--json"], json.dumps(document))
    entry["time"] = "2025-01-31T03:15:00+01:00"
    with pytest.raises(AssertionError, match="does not match"):
        check_output(["history", "--json"], json.dumps(document))


def test_what_lies_on_the_disk_is_as_documented(tmp_path):
    from owctl.backup.catalogue import now, write_record
    from owctl.backup.manifest import Manifest, Member, dump
    from owctl.project.history import FILE as HISTORY_FILE
    from owctl.project.history import FOLDER as HISTORY_FOLDER
    from owctl.project.history import record

    member = Member("config/.env", "configuration", 3, "0" * 64, 3, {"path": "/x/.env"})
    manifest = Manifest(
        "id", "p", "2025-01-31T03:15:00Z", 5, (member,),
        stack={"working_dir": "/x", "parts": ["config"], "quiesced": []},
        encryption={"format": "age", "recipients": ["age1x"]},
    )  # fmt: skip
    (tmp_path / "manifest.json").write_bytes(dump(manifest))
    check_document(json.loads(dump(manifest)), "backup-manifest.json")
    write_record(tmp_path, now("ok", drill=True))
    found = json.loads((tmp_path / "verification.json").read_text())
    check_document(found, "backup-verification.json")
    record(tmp_path, "start", "done", environ={"SUDO_USER": "me"})
    line = (tmp_path / HISTORY_FOLDER / HISTORY_FILE).read_text()
    document = {"schema": 1, "project": "p", "entries": [json.loads(line)]}
    check_document(document, "history.json")


@pytest.mark.parametrize("command", ["start", "stop", "restart"])
def test_a_plan_alone_is_printed_as_json(capsys, command):
    assert run([command, "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "--json goes with --dry-run" in said.err
