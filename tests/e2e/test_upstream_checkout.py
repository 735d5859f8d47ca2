"""owctl in a checkout shaped like upstream's: its own files, container names, default password."""

import hashlib
import json
import re
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import zstandard

from tests.e2e.conftest import (
    ROOT,
    Project,
    free_ports,
    owctl,
    read_environment,
    remove_project,
)

pytestmark = pytest.mark.e2e

UPSTREAM = ROOT / "tests" / "data" / "compose" / "docker-compose.yaml"
CONTAINER_PORTS = {
    "postgres": 5432,
    "redis": 6379,
    "rust-backend": 8080,
    "socketio-bridge": 8081,
    "frontend": 8080,
}
ENV_EXAMPLE = """\
# Copy to .env and change the values.
OPEN_WEBUI_PORT=3000

# Security
WEBUI_SECRET_KEY=your-secret-key-here

# Database
POSTGRES_DB=open_webui
POSTGRES_USER=open_webui
POSTGRES_PASSWORD=open_webui_password

OPENAI_API_KEY=
"""


@pytest.fixture(scope="module")
def checkout(demo_stack: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A folder with upstream's files on the demonstration's images, not set up yet.

    Names and host ports are the test's own; everything else is as upstream wrote it.
    """
    folder = tmp_path_factory.mktemp("checkout") / f"chat-{secrets.token_hex(3)}"
    folder.mkdir()
    ports = dict(zip(CONTAINER_PORTS, free_ports(5), strict=True))
    text = UPSTREAM.read_text()
    text = re.sub(r"\n    build:\n(      .*\n)+", "\n", text)
    for service, port in ports.items():
        text = re.sub(rf"(\n  {service}:\n    image: )\S+", rf"\1owctl-demo-{service}:latest", text)
        text = re.sub(
            rf'(\n  {service}:\n(?:    .*\n)*?    ports:\n      - )"[^"]+"',
            rf'\1"{port}:{CONTAINER_PORTS[service]}"',
            text,
        )
    text = text.replace("container_name: open-webui", f"container_name: {folder.name}")
    (folder / "docker-compose.yaml").write_text(text)
    (folder / "env.example").write_text(ENV_EXAMPLE)
    project = Project(folder, folder.name, ports)
    try:
        yield project
    finally:
        remove_project(project.project)


@pytest.fixture(scope="module")
def running(checkout: Project) -> Project:
    """The checkout after `setup` and `start`."""
    checkout.succeed("setup")
    checkout.environment = read_environment(checkout.directory / ".env")
    checkout.succeed("start")
    return checkout


@pytest.fixture(scope="module")
def uploaded(running: Project) -> tuple[str, bytes]:
    """A file that a user uploaded: its id and its bytes."""
    content = secrets.token_bytes(300_000)
    base = f"http://127.0.0.1:{running.ports['frontend']}"
    with httpx.Client(base_url=base, timeout=30) as client:
        account = client.post(
            "/api/v1/auths/signup",
            json={"name": "A", "email": "a@example.org", "password": "long enough"},
        )
        assert account.status_code == 200, account.text
        token = account.json()["token"]
        answer = client.post(
            "/api/v1/files",
            headers={"Authorization": f"Bearer {token}"},
            files={"file": ("photo.bin", content)},
        )
        assert answer.status_code == 200, answer.text
    assert answer.json()["hash"] == hashlib.md5(content).hexdigest()
    return answer.json()["id"], content


def test_setup_replaces_the_known_defaults_and_leaves_the_rest(running: Project):
    values = running.environment
    assert re.fullmatch(r"[A-Za-z0-9]{32,}", values["WEBUI_SECRET_KEY"])
    assert re.fullmatch(r"[A-Za-z0-9]{32,}", values["POSTGRES_PASSWORD"])
    assert values["OPEN_WEBUI_PORT"] == "3000"
    assert not (running.directory / "compose.yaml").exists()
    assert (running.directory / "env.example").read_text() == ENV_EXAMPLE


def test_the_containers_carry_upstreams_names(running: Project):
    names = {row["container"] for row in running.status().values()}
    assert names == {f"{running.project}-{service}" for service in CONTAINER_PORTS}


def test_all_five_are_healthy_although_one_health_check_cannot_work(running: Project):
    report = json.loads(running.succeed("health", "--json").stdout)
    assert {row["service"]: row["status"] for row in report["services"]} == dict.fromkeys(
        CONTAINER_PORTS, "healthy"
    )


def test_the_deep_checks_hold_there_too(running: Project):
    deep = json.loads(running.succeed("health", "--deep", "--json").stdout)["deep"]
    assert {row["service"] for row in deep} == set(CONTAINER_PORTS) - {"rust-backend"}
    assert {row["status"] for row in deep} == {"healthy"}, deep


def test_the_database_password_is_not_shown_in_the_logs(running: Project):
    masked = running.succeed("logs", "backend")
    assert "DATABASE_URL" in masked.stdout
    assert running.environment["POSTGRES_PASSWORD"] not in masked.stdout
    raw = running.succeed("logs", "--raw", "backend")
    assert running.environment["POSTGRES_PASSWORD"] in raw.stdout


def test_shell_runs_a_query_and_passes_the_exit_code_on(running: Project):
    answer = running.succeed("shell", "db", given="select 6 * 7;\n")
    assert "42" in answer.stdout
    answer = running.succeed("shell", "db", "psql", "-tAc", "select current_user")
    assert answer.stdout == "open_webui\n"
    assert running.owctl("shell", "backend", "sh", "-c", "exit 9").returncode == 9
    assert "PONG" in running.succeed("shell", "cache", given="PING\n").stdout


def test_the_backup_really_holds_the_uploads(running: Project, uploaded: tuple[str, bytes]):
    identity, content = uploaded
    document = json.loads(running.succeed("backup", "--json").stdout)
    assert document["verified"] is True
    folder = Path(document["path"])
    archive = folder / "volumes" / "rust_backend_data.tar.zst"
    with (
        archive.open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as plain,
        tarfile.open(fileobj=plain, mode="r|") as tar,
    ):
        found = {
            Path(member.name).name: extracted.read()
            for member in tar
            if (extracted := tar.extractfile(member)) is not None
        }
    assert found[identity] == content

    dump = folder / "postgres.dump.zst"
    plain_dump = zstandard.ZstdDecompressor().decompressobj().decompress(dump.read_bytes())
    listed = subprocess.run(
        ["docker", "exec", "-i", f"{running.project}-postgres", "pg_restore", "-l"],
        input=plain_dump,
        capture_output=True,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    assert b"TABLE DATA public file" in listed.stdout


def test_another_folder_with_the_same_project_name_is_refused(running: Project, tmp_path: Path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "docker-compose.yaml").write_text(
        (running.directory / "docker-compose.yaml").read_text()
    )
    (other / "env.example").write_text(ENV_EXAMPLE)
    for command in (["setup"], ["start"]):
        result = owctl("-p", running.project, *command, cwd=other)
        assert result.returncode == 1, result.stderr
        assert str(running.directory) in result.stderr
        assert "--adopt" in result.stderr
    assert not (other / ".env").exists()


def test_setup_again_changes_not_a_byte(running: Project):
    before = (running.directory / ".env").read_bytes()
    running.succeed("setup")
    assert (running.directory / ".env").read_bytes() == before


def test_a_lost_env_keeps_the_password_that_the_database_has(running: Project):
    path = running.directory / ".env"
    before = path.read_bytes()
    path.unlink()
    try:
        running.succeed("setup")
        again = read_environment(path)
        assert again["POSTGRES_PASSWORD"] == running.environment["POSTGRES_PASSWORD"]
    finally:
        path.write_bytes(before)


def test_stop_keeps_the_data(running: Project, uploaded: tuple[str, bytes]):
    running.succeed("stop")
    running.succeed("start")
    count = running.succeed("shell", "db", "psql", "-U", "open_webui", "-tAc",
                            "select count(*) from file")  # fmt: skip
    assert count.stdout.strip() == "1"
