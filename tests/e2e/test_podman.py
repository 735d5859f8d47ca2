"""Debian's Podman, root's and a user's own, behind its docker interface."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import Project, make_project
from tests.e2e.podman_service import PodmanService
from tests.unit.needed_programs import program

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="makes users and mounts: root only"),
]
SERVICES = ("postgres", "redis", "rust-backend")
PACKAGES = {
    "podman": "podman",
    "newuidmap": "uidmap",
    "slirp4netns": "slirp4netns",
    "fuse-overlayfs": "fuse-overlayfs",
    "catatonit": "catatonit",
    "runc": "runc",
}


@dataclass
class OnPodman:
    """A part of the demonstration stack that runs on Podman."""

    service: PodmanService
    project: Project

    def owctl(self, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {"DOCKER_HOST": self.service.host, "DOCKER_BUILDKIT": "0"}
        done = self.project.owctl(*arguments, environment=environment)
        log = (self.service.home / "service.log").read_text()[-2000:]
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}\n{log}"
        return done

    def inside(self, service: str, script: str) -> str:
        name = f"{self.project.project}-{service}-1"
        return self.service.podman("exec", "--user=0", name, "sh", "-c", script)


@pytest.fixture(scope="module", params=["root", "rootless"])
def podman(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    demo_base_image: str,
    demo_stack: Project,
) -> Iterator[OnPodman]:
    """The started services; ``demo_stack`` has the images built."""
    for name, package in PACKAGES.items():
        program(name, package)
    images = [f"owctl-demo-{name}:latest" for name in SERVICES]
    with PodmanService(images, rootless=request.param == "rootless") as service:
        project = make_project(tmp_path_factory.mktemp("podman"), demo_base_image)
        here = OnPodman(service, project)
        here.owctl("start", *SERVICES)
        yield here


def test_what_runs_is_seen_and_asked(podman):
    rows = json.loads(podman.owctl("status", "--json").stdout)["services"]
    assert {row["service"] for row in rows if row["state"] == "running"} == set(SERVICES)
    health = json.loads(podman.owctl("health", *SERVICES, "--deep", "--json").stdout)
    assert {row["status"] for row in health["services"]} == {"healthy"}
    assert {row["probe"] for row in health["services"]} == {"postgres", "redis", "http"}
    assert {row["status"] for row in health["deep"]} == {"healthy"}


def test_the_doctor_calls_it_by_its_name(podman):
    checks = {
        check["check"]: check
        for check in json.loads(podman.owctl("doctor", "--json").stdout)["checks"]
    }
    assert checks["engine"]["detail"].startswith("Podman 4.")
    assert checks["password"]["status"] == "ok"
    limits = [c["detail"] for c in checks.values() if "limits have no effect" in c["detail"]]
    on_version_1 = not Path("/sys/fs/cgroup/cgroup.controllers").exists()
    assert bool(limits) == (podman.service.rootless and on_version_1)


def test_another_start_changes_nothing(podman):
    assert "nothing changed" in podman.owctl("start", *SERVICES).stderr


def test_what_changed_is_built_and_replaced(podman):
    """And a port for everybody, at 0.0.0.0, is reached: else it would not get ready."""
    folder = podman.project.directory / "built"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM localhost/owctl-demo-redis\nCOPY note /note\n")
    (folder / "note").write_text("from here\n")
    extra = podman.project.directory / "extra.yaml"
    port, image = podman.project.ports["frontend"], podman.project.project
    extra.write_text(
        f"services:\n  redis:\n    image: {image}\n    build: built\n"
        f"    environment: {{ADDED: here}}\n    ports: !override ['0.0.0.0:{port}:6379']\n"
    )
    started = podman.owctl("-f", "compose.yaml", "-f", extra, "start", "--build", "redis")
    assert f":{port}" in started.stdout
    assert podman.inside("redis", "echo $ADDED; cat /note") == "here\nfrom here\n"
    assert "configuration" in podman.owctl("start", "redis").stdout


def test_logs_and_commands(podman):
    assert "Ready to accept connections" in podman.owctl("logs", "redis").stdout
    assert podman.owctl("shell", "redis", "redis-cli", "--version").stdout.startswith("redis-cli")
    assert podman.owctl("shell", "redis", "sh", "-c", "exit 9", code=9).returncode == 9


def test_a_backup_keeps_whose_each_file_is(podman):
    made = (
        "cd /app/data && mkdir -p dev/a && echo one >dev/a/file && ln dev/a/file again && "
        "ln -s again link && chown 1234:56 dev/a/file && chown -h 12:34 link && chmod 640 again && "
        "touch -h -d @1000000000 link dev/a"
    )
    podman.inside("rust-backend", made)
    look = "cd /app/data && find . -name '.owctl*' -prune -o -exec stat -c '%n %u:%g %a %F %Y' {} + | sort"
    before = podman.inside("rust-backend", f"{look}; cat again")
    backup = json.loads(podman.owctl("backup", "--json").stdout)
    assert backup["verified"] is True
    podman.inside("rust-backend", "cd /app/data && rm -r dev again link && touch new")
    podman.owctl("restore", backup["id"], "--only", "files", "--no-safety-backup", "--yes")
    assert podman.inside("rust-backend", f"{look}; cat again") == before


def test_two_at_once_meet_the_same_lock(podman):
    """Podman says another identity each time it is asked; the lock has to know it all the same."""
    from owctl.engine.connection import Engine

    environ = {"DOCKER_HOST": podman.service.host}
    with Engine.connect(None, environ) as one, Engine.connect(None, environ) as other:
        assert one.engine_id == other.engine_id
