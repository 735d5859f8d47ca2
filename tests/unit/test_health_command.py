"""What `owctl health` prints, and that Ctrl-C ends it at once."""

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

from owctl.commands.health_table import table_of
from owctl.health.result import HealthReport, ServiceHealth
from owctl.ui.table import Cell, render
from tests.unit.health_servers import serve, silent


def row(service: str, container: str | None, status: Any, detail: str) -> ServiceHealth:
    latency = 5000.4 if container else None
    probe = "socketio" if container else None
    return ServiceHealth(service, container, None, None, status, probe, None, latency, detail)


def test_a_line_of_80_columns_holds_what_matters() -> None:
    long = "answers, refuses the login: no pg_hba.conf entry for host 172.17.0.1, user web, chat"
    rows = (
        row("socketio-bridge", "demo-socketio-bridge-1", "unhealthy", long),
        row("rust-backend", "demo-rust-backend-1", "healthy", "HTTP 200"),
        row("rust-backend", "demo-rust-backend-2", "starting", "connection refused"),
        row("frontend", None, "missing", "there is no container"),
    )
    columns, cells = table_of(HealthReport("demo", datetime.now(UTC), 1.0, rows))
    plain = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in line] for line in cells]
    lines = render(columns, plain, width=80, color=False).splitlines()
    assert max(map(len, lines)) <= 80
    firsts = [line.split()[:4] for line in lines]
    assert firsts[1] == ["socketio-bridge", "unhealthy", "socketio", "5000"]
    assert ["rust-backend-1", "healthy", "socketio", "5000"] in firsts
    assert ["rust-backend-2", "starting", "socketio", "5000"] in firsts
    assert ["frontend", "missing", "-", "-"] in firsts


def test_ctrl_c_does_not_wait_for_a_probe_that_hangs() -> None:
    code = (
        "import sys; from owctl.health import wire; from owctl.health.parallel import at_once;"
        "at_once([lambda: wire.probe_redis('127.0.0.1', int(sys.argv[1]), timeout_seconds=60)])"
    )
    with serve(silent) as server:
        command = [sys.executable, "-c", code, str(server.port)]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + 20
            while not any(server.requests):
                assert time.monotonic() < deadline
                server.stopping.wait(0.01)
            interrupted = time.monotonic()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
    assert time.monotonic() - interrupted < 5
    assert process.returncode == -signal.SIGINT
