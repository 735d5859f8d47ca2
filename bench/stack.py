"""The project that both tools are measured on: a random name, free ports, gone afterwards."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.timing import CommandFailed, Sample, run_timed

ROOT = Path(__file__).resolve().parent.parent
RIVAL = Path(__file__).resolve().parent / "rival"
OWCTL = Path(sys.executable).parent / "owctl"
PROJECT_LABEL = "com.docker.compose.project"
PORTS = ("OPEN_WEBUI_PORT", "RUST_PORT", "SOCKETIO_PORT", "POSTGRES_PORT", "REDIS_PORT")
HTTP_PORTS = PORTS[:3]
FAST = {"DATABASE_INTERVAL": "500ms", "APPLICATION_INTERVAL": "500ms", "RETRIES": "60"}
ANSWER_PATIENCE_SECONDS = 5


def clean_environment(docker_config: Path | str) -> dict[str, str]:
    """Return the environment of a user who has set nothing for compose or owctl."""
    foreign = ("COMPOSE_", "OWCTL_", "POSTGRES_", "REDIS_", "WEBUI_", "OPEN_WEBUI_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    for name in (*PORTS, "COLUMNS"):
        kept.pop(name, None)
    return kept | {"DOCKER_CONFIG": str(docker_config), "NO_COLOR": "1"}


class Stack:
    """A project in a folder of its own. A context manager: leaving it removes all that it made."""

    def __init__(
        self, environment: Mapping[str, str], compose_file: str, **settings: str | int
    ) -> None:
        self.prefix = f"owctl-bench-{secrets.token_hex(4)}"
        self.environment = dict(environment)
        self._folder = tempfile.TemporaryDirectory(prefix="owctl-bench-")
        self.folder = Path(self._folder.name) / self.prefix
        self.folder.mkdir()
        (self.folder / "docker-compose.yaml").write_text((RIVAL / compose_file).read_text())
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        values = {
            "BENCH_PREFIX": self.prefix,
            "COMPOSE_PROJECT_NAME": self.prefix,
            "POSTGRES_PASSWORD": secrets.token_hex(16),
            "WEBUI_SECRET_KEY": secrets.token_hex(32),
            **self.ports,
            **settings,
        }
        env_file = self.folder / ".env"
        env_file.touch(mode=0o600)
        env_file.write_text("".join(f"{key}={value}\n" for key, value in values.items()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.remove()
        self._folder.cleanup()

    def owctl(self, *arguments: str) -> Sample:
        """Run the installed owctl in the project's folder."""
        return self.timed(OWCTL, *arguments)

    def compose(self, *arguments: str) -> Sample:
        """Run docker compose in the project's folder."""
        return self.timed("docker", "compose", *arguments)

    def timed(self, *command: str | Path) -> Sample:
        """Run a command in the project's folder."""
        return run_timed(command, cwd=self.folder, environment=self.environment)

    def output(self, *command: str | Path) -> str:
        """Run a command, unmeasured, and return what it prints. Raises CommandFailed."""
        result = subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise CommandFailed(f"{command} exited with {result.returncode}: {result.stderr}")
        return result.stdout

    def ids(self, kind: str) -> list[str]:
        """Return the ids of the project's things of a kind: container, network or volume."""
        everything = ("--all", "--no-trunc") if kind == "container" else ()
        label = f"label={PROJECT_LABEL}={self.prefix}"
        return sorted(
            self.output("docker", kind, "ls", "-q", *everything, "--filter", label).split()
        )

    def check_answers(self) -> None:
        """Make sure that what was called ready is: all three answer. Raises CommandFailed."""
        deadline = time.monotonic() + ANSWER_PATIENCE_SECONDS
        for name in HTTP_PORTS:
            while not _answers(self.ports[name]):
                if time.monotonic() > deadline:
                    raise CommandFailed(f"{name} does not answer, though it was called ready")
                time.sleep(0.1)

    def remove(self) -> None:
        """Remove everything that carries the project's label."""
        if found := self.ids("container"):
            self._docker("container", "rm", "-f", "-v", *found)
        for kind in ("network", "volume"):
            if found := self.ids(kind):
                self._docker(kind, "rm", *found)

    def _docker(self, *arguments: str) -> None:
        self.output("docker", *arguments)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, below those that the kernel hands out by itself."""
    found: list[int] = []
    while len(found) < count:
        port = 15000 + secrets.randbelow(15000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def missing_images(environment: Mapping[str, str]) -> list[str]:
    """Return the demonstration's images that are not on this machine."""
    services = ("postgres", "redis", "rust-backend", "socketio-bridge", "frontend")
    names = [f"owctl-demo-{service}:latest" for service in services]
    return [name for name in names if not _has(["docker", "image", "inspect", name], environment)]


def _has(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    return (
        subprocess.run(command, env=dict(environment), capture_output=True, check=False).returncode
        == 0
    )
