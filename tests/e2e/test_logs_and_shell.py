"""``owctl logs`` and ``owctl shell`` on the services of a real stack."""

import json
import secrets

import pytest

from tests.e2e.conftest import Project

pytestmark = pytest.mark.e2e


def test_piped_sql_stops_at_the_first_error(demo_stack: Project):
    table = f"owctl_test_{secrets.token_hex(4)}"
    script = (
        f"create table {table} (number int);\ninsert into {table} values (1);\n"
        f"select nothing from {table};\ninsert into {table} values (2);\n"
    )
    result = demo_stack.owctl("shell", "db", given=script)
    assert result.returncode == 3
    assert "psql:<stdin>:3: ERROR:" in result.stderr
    counted = demo_stack.succeed("shell", "db", given=f"select 'rows', count(*) from {table};\n")
    assert "rows     |     1" in counted.stdout
    demo_stack.succeed("shell", "db", "psql", "-c", f"drop table {table}")


def test_levels_of_real_services(demo_stack: Project):
    mark = f"owctl_test_{secrets.token_hex(4)}"
    assert demo_stack.owctl("shell", "db", given=f"select\n {mark};\n").returncode == 3
    shown = demo_stack.succeed(
        "logs", "--no-prefix", "--level", "error+", "--tail", "3", "db"
    ).stdout
    error, statement, more = shown.splitlines()
    assert f'ERROR:  column "{mark}" does not exist' in error
    assert "STATEMENT:  select" in statement
    assert more.strip() == f"{mark};"
    shown = demo_stack.succeed("logs", "--json", "redis").stdout
    levels = {
        document["message"]: document["level"] for document in map(json.loads, shown.splitlines())
    }
    assert all(levels.values())
    [ready] = [
        level for message, level in levels.items() if "Ready to accept connections" in message
    ]
    assert ready == "info"
