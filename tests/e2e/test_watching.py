"""`owctl top` and `owctl stats` on the whole stack: five services on a terminal of 80 by 24."""

import json

import pytest

from tests.e2e.conftest import OWCTL, PORT_VARIABLES, Project, clean_environment
from tests.screen import Screen

pytestmark = pytest.mark.e2e

SERVICES = ("postgres", "redis", "rust-backend", "socketio-bridge", "frontend")


def test_the_whole_stack_on_one_screen(demo_stack: Project):
    before = demo_stack.status()["frontend"]["started_at"]
    with Screen(
        [OWCTL, "top"], demo_stack.directory, environment=clean_environment(PATH="/usr/bin:/bin")
    ) as screen:
        screen.see("healthy, 5 of 5", "newest log lines")
        screen.wait_until(
            lambda: (
                [line.split()[:2] for line in screen.lines[2:7]]
                == [[service, "healthy"] for service in SERVICES]
            ),
            "five healthy services",
        )
        for service, line in zip(SERVICES, screen.lines[2:7], strict=True):
            assert str(demo_stack.ports[service]) in line
            assert "MiB" in line
        assert set(PORT_VARIABLES) == set(SERVICES)

        screen.type("/front\r")
        screen.wait_until(
            lambda: screen.lines[3].startswith("frontend:"), "one row, and its detail"
        )
        screen.type("r")
        screen.see("Restart frontend? y/n")
        screen.type("y")
        screen.see("frontend was restarted in", timeout_seconds=120)

        screen.type("\x1b")
        screen.wait_until(lambda: screen.lines[2].startswith("postgres"), "all rows again")
        screen.type("\x1b[Hs")
        screen.see("open_webui=#")
        screen.type("select 6 * 7 as answer;\r")
        screen.see("42", "(1 row)")
        screen.type("\\q\r")
        screen.see("SERVICE", "socketio-bridge", "↑↓ select")

        screen.type("q")
        assert screen.exit_code() == 0
        assert screen.is_restored()
        for secret in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "WEBUI_SECRET_KEY"):
            assert demo_stack.environment[secret].encode() not in screen.written
    assert demo_stack.status()["frontend"]["started_at"] != before
    history = json.loads(demo_stack.succeed("history", "--json").stdout)["entries"]
    assert any(entry["command"] == "restart" for entry in history)


def test_a_live_table_ends_with_ctrl_c(demo_stack: Project):
    with Screen([OWCTL, "stats"], demo_stack.directory, environment=clean_environment()) as screen:
        screen.see("SERVICE", "CPU", "RX/S", "Ctrl-C ends", *SERVICES)
        # The second round has something to compare with.
        screen.see("%", "0 B")
        screen.type("\x03")
        assert screen.exit_code() == 130
    assert "Traceback" not in screen.text
