"""The columns of the target at both of its versions, as ``information_schema`` says them."""

import json
import re
from pathlib import Path
from typing import Any

from owctl.migrate.convert.column_map import ColumnInfo, Options

_DATA = Path(__file__).parents[1] / "data"
TARGETS = ("001-006", "001-010")
_TYPE = re.compile(r"varchar\((\d+)\)")


def target_columns(version: str = "001-010") -> dict[str, dict[str, ColumnInfo]]:
    """Return the columns by table of the target's version."""
    schema = json.loads((_DATA / f"target-schema-{version}.json").read_text())
    return {
        table: {name: _column(column) for name, column in content["columns"].items()}
        for table, content in schema.items()
    }


def options(version: str = "001-010", **changes: Any) -> Options:
    """Return options for the target's version."""
    return Options(target_columns=target_columns(version), **changes)


def _column(column: dict[str, Any]) -> ColumnInfo:
    length = _TYPE.fullmatch(column["type"])
    if length:
        return ColumnInfo("character varying", int(length[1]), column["nullable"])
    return ColumnInfo(column["type"], None, column["nullable"])
