"""A whole demonstration stack: quiesced and back at work, stopped and backed up all the same."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.e2e.conftest import Project

WRITERS = {"rust-backend", "socketio-bridge", "frontend"}


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """The address of a local HTTP server, and the lines that it was asked."""
    lines: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            lines.append(self.requestline)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/check", lines
    server.shutdown()
    server.server_close()
    thread.join()


def parts_of(document: dict) -> list[str]:
    manifest = json.loads((Path(document["path"]) / "manifest.json").read_text())
    return [member["detail"].get("part") for member in manifest["members"]]


def test_quiesced_then_stopped(own_stack: Project, asked: tuple[str, list[str]]) -> None:
    address, lines = asked
    own_stack.succeed("start")
    before = own_stack.status()

    quiesced = json.loads(
        own_stack.succeed("backup", "--quiesce", "--ping", address, "--json").stdout
    )
    assert set(quiesced["quiesced"]) == WRITERS
    assert quiesced["downtime_seconds"] > 0
    assert quiesced["verified"] is True
    assert {"redis", "files"} < set(parts_of(quiesced))
    assert lines == ["GET /check HTTP/1.1"]
    after = own_stack.status()
    for service, row in before.items():
        assert after[service]["state"] == "running"
        moved = after[service]["started_at"] != row["started_at"]
        assert moved == (service in WRITERS), service
    # Through the frontend's proxy, whose backend got a new address.
    own_stack.succeed("health", "--deep")

    own_stack.succeed("stop")
    stopped = json.loads(own_stack.succeed("backup", "--json").stdout)
    assert [m["name"] for m in stopped["members"]] == [m["name"] for m in quiesced["members"]]
    assert stopped["downtime_seconds"] is None
    assert {row["state"] for row in own_stack.status().values()} <= {"absent", "missing", "none"}
    own_stack.succeed("start", "--dry-run")
