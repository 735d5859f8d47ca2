"""The shipped HTTP health check: the same verdict with curl, with wget and with bash alone."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.e2e

COMPOSE = Path(__file__).parents[2] / "compose" / "compose.yaml"
SERVICES = {"rust-backend": "PORT", "socketio-bridge": "SOCKETIO_PORT", "frontend": "PORT"}


class Answer(BaseHTTPRequestHandler):
    """Answers /health with the status that the server was told, and nothing else."""

    def do_GET(self) -> None:
        assert self.path == "/health"
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def check(service: str, client: str, folder: Path, port: int) -> int:
    """Run a service's check with nothing but a shell, bash and one client to be found."""
    program = shutil.which(client)
    if program is None:
        pytest.skip(f"{client} is not installed")
    for name in ("sh", "bash", client):
        link = folder / name
        if not link.exists():
            link.symlink_to(shutil.which(name))
    kind, script = yaml.safe_load(COMPOSE.read_text())["services"][service]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    environment = {"PATH": str(folder), SERVICES[service]: str(port)}
    command = ["/bin/sh", "-c", script.replace("$$", "$")]
    return subprocess.run(command, env=environment, timeout=30, capture_output=True).returncode


@pytest.mark.parametrize("client", ["curl", "wget", "bash"])
@pytest.mark.parametrize("service", list(SERVICES))
def test_the_check_tells_a_good_answer_from_a_bad_one(
    service: str, client: str, tmp_path: Path, server: ThreadingHTTPServer
) -> None:
    server.status = 200
    assert check(service, client, tmp_path, server.server_port) == 0
    server.status = 503
    assert check(service, client, tmp_path, server.server_port) != 0


@pytest.mark.parametrize("client", ["curl", "wget", "bash"])
def test_the_check_fails_where_nobody_listens(
    client: str, tmp_path: Path, server: ThreadingHTTPServer
) -> None:
    port = server.server_port
    server.server_close()
    assert check("frontend", client, tmp_path, port) != 0
