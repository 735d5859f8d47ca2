"""JSON columns that say nothing: SQL NULL or JSON's null, as the new backend reads each of them."""

from pathlib import Path

import pytest

from owctl.migrate.convert.column_map import COLUMN_MAP, Converted, Notes
from owctl.migrate.convert.mapping import convert, plan_tables
from owctl.migrate.convert.values import NOTHING
from owctl.migrate.source.database import open_source
from tests.migrate_sources.builder import ADMIN, VERSIONS, Builder
from tests.migrate_sources.targets import TARGETS, options, target_columns

# A NULL in one of these makes the list of everybody fail with HTTP 500.
NEVER_NULL = {
    ("memory", "meta"), ("model", "params"), ("model", "meta"), ("model", "access_control"), ("chat", "meta"),
    ("knowledge", "data"), ("knowledge", "meta"), ("knowledge", "access_control"),
}  # fmt: skip
# Of these it reads SQL NULL as public, and JSON's null as nobody's or everybody's.
POLICIES = {(t, "access_control") for t in ("channel", "note", "prompt", "tool", "file")}


@pytest.mark.parametrize("target", TARGETS)
def test_every_json_column_of_the_target_has_an_entry_with_its_reason(target: str):
    of_target = {
        (table, name)
        for table, columns in target_columns(target).items()
        for name, column in columns.items()
        if column.data_type == "jsonb"
    }
    assert of_target <= set(NOTHING)
    assert all(why for _, why in NOTHING.values())
    assert {where for where, (value, _) in NOTHING.items() if value == b"null"} == NEVER_NULL


@pytest.mark.parametrize("said", ["null", " null ", "", None])
@pytest.mark.parametrize("version", VERSIONS)
def test_what_says_nothing_becomes_what_the_new_backend_reads(
    tmp_path: Path, version: str, said: str | None
):
    builder = Builder(tmp_path / "webui.db", version, constraints=False)
    builder.user(ADMIN)
    fitting = {"channel_member": {"channel_id": "it"}, "message": {"channel_id": "it"},
               "message_reaction": {"message_id": "it"}, "prompt": {"id": 1, "command": "/it"}, "config": {"id": 1}}  # fmt: skip
    for table, columns in COLUMN_MAP.items():
        there = builder.columns[table]
        says_nothing = {
            column.found_in(there): said
            for column in columns
            if (table, column.name) in NOTHING and column.found_in(there) in there
        }
        if table not in ("user", "auth"):
            row = {"id": "it", "user_id": ADMIN, **fitting.get(table, {}), **says_nothing}
            builder.add(table, **{name: value for name, value in row.items() if name in there})
    choice = options(prompts_become_public=True)
    with open_source(builder.close().path) as source:
        for table_map in plan_tables(source, choice):
            for row in convert(source, table_map, choice, Notes()):
                assert isinstance(row, Converted), row
                found = dict(zip(table_map.columns, row.values, strict=True))
                for table, column in NEVER_NULL | POLICIES:
                    # An empty text is no policy: nobody could read such a row before.
                    if table == table_map.target and (said != "" or column != "access_control"):
                        default = {("model", "params"), ("chat", "meta")} & {(table, column)}
                        empty = (
                            (b"null", b"{}")
                            if default and "null" not in (said or "")
                            else (b"null",)
                        )
                        expected = (None,) if (table, column) in POLICIES else empty
                        assert found[column] in expected, (table, column)
