"""Every command of the runbooks is run, in order, on a stack in the state that the page is about."""

import json
import re
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
import socketio

from tests.e2e.conftest import ROOT, Project, free_ports, make_project, remove_project
from tests.e2e.pages import run_page
from tests.e2e.test_migrate_command import old_container as old_container
from tests.e2e.test_migrate_command import source as source
from tests.unit.needed_programs import program

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
RUNBOOKS = "docs/runbooks"
ADDRESS = "admin@example.org"
NAME = "chat.example.org"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, demo_base_image: str) -> Iterator[Project]:
    """The stack that the pages share, in their order; the last two take it elsewhere."""
    project = make_project(tmp_path_factory.mktemp("runbooks"), demo_base_image)
    # A page builds a new version of the backend: others use the image of the demonstration.
    (project.directory / "compose.own.yaml").write_text(
        f"services:\n  rust-backend:\n    image: {project.project}-backend:latest\n"
    )
    files = "compose.yaml:compose.demo.yaml:compose.own.yaml"
    project.succeed("setup", f"--set=COMPOSE_FILE={files}")
    try:
        yield project
    finally:
        remove_project(project.project)
        forget_images(project)


def forget_images(project: Project) -> None:
    """Remove the names of the images that were built for the project, or kept for it."""
    with closing(docker.from_env()) as client:
        for pattern in (f"{project.project}-backend", f"owctl-rollback/{project.project}/*"):
            for image in client.images.list(filters={"reference": pattern}):
                for tag in image.tags:
                    client.images.remove(tag, force=True)


@pytest.fixture
def running(stack: Project) -> Project:
    """The same, running, with an administrator's account."""
    stack.succeed("start", timeout_seconds=900)
    count = "select count(*) from auth where email = 'admin@example.org'"
    if psql(stack, count) == "0":
        psql(stack, "delete from auth", 'delete from "user"')
        stack.succeed("setup", "--set=ENABLE_SIGNUP=true")
        stack.succeed("start")
        account = {"name": "Admin", "email": ADDRESS, "password": "forgotten since"}
        post(stack, "/api/v1/auths/signup", account)
    return stack


def psql(project: Project, *statements: str) -> str:
    words = [word for statement in statements for word in ("-c", statement)]
    return project.succeed("shell", "db", "psql", "-U", "open_webui", "-qAt", *words).stdout.strip()


def post(project: Project, path: str, body: dict[str, str]) -> dict[str, str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{project.ports['rust-backend']}{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def words_of(project: Project, **more: str) -> dict[str, str]:
    """What stands in the pages → what it is for this project."""
    return {"localhost:3000": f"localhost:{project.ports['frontend']}", **more}


def run(page: str, project: Project, words: dict[str, str] | None = None, **options) -> dict:
    return run_page(
        f"{RUNBOOKS}/{page}.md", project.directory, words_of(project) | (words or {}), **options
    )


def test_first_install(stack: Project):
    run("first-install", stack)
    assert json.loads(stack.succeed("backup", "list", "--json").stdout)["backups"]


def test_migrate_from_python(stack: Project, old_container: str):
    stack.succeed("start", timeout_seconds=900)
    run(
        "migrate-from-python",
        stack,
        {"--from-container open-webui": f"--from-container {old_container}"},
    )
    state = ["docker", "inspect", "--format", "{{.State.Status}}", old_container]
    assert subprocess.run(state, capture_output=True, text=True, check=True).stdout == "running\n"


def test_daily_check(running: Project):
    running.succeed("backup")
    run("daily-check", running)


def test_a_service_is_down(running: Project):
    def kill() -> None:
        name = running.status()["rust-backend"]["container"]
        subprocess.run(["docker", "kill", name], capture_output=True, check=True)

    run("a-service-is-down", running, before={"owctl health": kill})


@pytest.fixture
def small_disk(running: Project) -> Iterator[Path]:
    """The folder of the backups on a disk of its own that has room for three."""
    folder = running.directory / "backups"
    aside = running.directory / "backups.aside"
    if folder.exists():
        folder.rename(aside)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()
        if aside.exists():
            aside.rename(folder)


def test_disk_is_full(running: Project, small_disk: Path):
    content = "head -c 3000000 /dev/urandom >/app/data/incompressible"
    running.succeed("shell", "backend", "sh", "-c", content)
    for _ in range(2):
        running.succeed("backup")
    (small_disk / "something").write_bytes(bytes(4_500_000))
    run("disk-is-full", running)
    assert len(json.loads(running.succeed("backup", "list", "--json").stdout)["backups"]) == 2
    running.succeed("shell", "backend", "rm", "/app/data/incompressible")


def test_password_lost(running: Project):
    program("argon2", "argon2")
    environment = running.directory / ".env"

    def change() -> None:
        text = environment.read_text()
        new = re.sub(
            r"(?m)^(POSTGRES_PASSWORD=).*$", r"\g<1>Another1Password2Altogether3Here4", text
        )
        environment.write_text(new)

    def lose() -> None:
        running.succeed("backup")
        environment.unlink()

    copy = 'cp "$(ls -d backups/*/ | tail -n 1)config/.env" .env'
    run("password-lost", running, before={"owctl doctor": change, copy: lose})
    body = {"email": ADDRESS, "password": "a new long password"}
    assert post(running, "/api/v1/auths/signin", body)["role"] == "admin"


def version(project: Project) -> str:
    url = f"http://127.0.0.1:{project.ports['frontend']}/api/version"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)["version"]


def test_upgrade_and_roll_back(running: Project):
    main = running.directory / "demo" / "rust-backend" / "main.py"
    main.write_text(main.read_text().replace('VERSION = "0.0.0-demo"', 'VERSION = "0.0.1-demo"'))
    seen = []
    run(
        "upgrade-and-roll-back",
        running,
        # The other images are everybody's: none of them is built by this test.
        {"owctl upgrade": "owctl upgrade backend"},
        before={
            "owctl rollback --dry-run": lambda: seen.append(version(running)),
            "owctl status": lambda: seen.append(version(running)),
        },
    )
    assert seen == ["0.0.1-demo", "0.0.0-demo"]
    # From here on the new version again: what is kept at an image is nothing that moves along.
    running.succeed("upgrade", "backend", "--yes")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A folder with a certificate for the page's name that signs itself, and its key."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    command += ["-keyout", str(tmp_path / "privkey.pem"), "-out", str(tmp_path / "fullchain.pem")]
    subprocess.run(command, capture_output=True, check=True)
    return tmp_path


@pytest.fixture
def nginx(running: Project, certificate: Path) -> Iterator[tuple[Path, int]]:
    """The configuration of the page in an nginx of the test's own: its file, its port."""
    server = program("nginx", "nginx-light")
    (port,) = free_ports(1)
    text = (ROOT / RUNBOOKS / "https-in-front.md").read_text()
    (block,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    block = block.replace(f"/etc/letsencrypt/live/{NAME}", str(certificate))
    block = block.replace("listen 443", f"listen 127.0.0.1:{port}")
    block = block.replace("127.0.0.1:3000", f"127.0.0.1:{running.ports['frontend']}")
    work = certificate
    configuration = work / "nginx.conf"
    configuration.write_text(
        f"pid {work}/pid;\nerror_log {work}/error.log;\nevents {{}}\n"
        f"http {{ access_log off;\n client_body_temp_path {work}/body;\n"
        f" proxy_temp_path {work}/proxy;\n fastcgi_temp_path {work}/f;\n"
        f" uwsgi_temp_path {work}/u;\n scgi_temp_path {work}/s;\n{block}}}\n"
    )
    try:
        yield configuration, port
    finally:
        stop = [server, "-c", str(configuration), "-s", "stop"]
        subprocess.run(stop, capture_output=True, check=False)


def test_https_in_front(
    running: Project, nginx: tuple[Path, int], certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    configuration, port = nginx
    monkeypatch.setenv("PATH", "/usr/sbin:/sbin", prepend=":")
    trust = f"--cacert {certificate}/fullchain.pem --resolve {NAME}:{port}:127.0.0.1"
    words = {
        "nginx -t": f"nginx -t -c {configuration}",
        "systemctl reload nginx": f"nginx -c {configuration}",
        f"curl -fsS https://{NAME}": f"curl -fsS {trust} https://{NAME}:{port}",
        f"curl -fsS 'https://{NAME}": f"curl -fsS {trust} 'https://{NAME}:{port}",
    }
    run("https-in-front", running, words)
    published = running.status()["frontend"]["ports"]
    assert {entry["host_ip"] for entry in published} == {"127.0.0.1"}
    with connected(port, f"https://{NAME}") as client:
        assert client.transport == "websocket"
    with pytest.raises(socketio.exceptions.ConnectionError):
        connected(port, "https://elsewhere.example.org")


class connected:  # noqa: N801  # reads as what it is
    """A Socket.IO client that came through the proxy by websocket, from a page of an origin."""

    def __init__(self, port: int, origin: str) -> None:
        trust = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
        options = {"sslopt": trust, "origin": origin}
        self.client = socketio.SimpleClient(websocket_extra_options=options)
        address = f"wss://127.0.0.1:{port}"
        self.client.connect(address, transports=["websocket"], wait_timeout=30)

    def __enter__(self):
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()


def elsewhere(project: Project, folder: Path) -> Callable[[], None]:
    """What stands for another machine, on one engine: nothing of the project is left on it."""

    def leave() -> None:
        remove_project(project.project)
        project.directory = folder

    folder.mkdir()
    return leave


def test_move_to_another_server(running: Project, tmp_path: Path):
    users = psql(running, 'select count(*) from "user"')
    new = tmp_path / "new"
    pull = "owctl backup pull /mnt/transfer latest --output fetched"
    run(
        "move-to-another-server",
        running,
        {"/mnt/transfer": str(tmp_path / "transfer")},
        before={pull: elsewhere(running, new)},
        folders={pull: new},
    )
    assert psql(running, 'select count(*) from "user"') == users != "0"


def test_restore_on_a_new_machine(running: Project, tmp_path: Path):
    users = psql(running, 'select count(*) from "user"')
    running.succeed("backup")
    running.succeed("backup", "push", str(tmp_path / "transfer"))
    elsewhere(running, tmp_path / "anew")()
    run("restore-on-a-new-machine", running, {"/mnt/transfer": str(tmp_path / "transfer")})
    assert psql(running, 'select count(*) from "user"') == users != "0"


def test_every_page_is_run_and_listed():
    pages = {path.stem for path in (ROOT / RUNBOOKS).glob("*.md")} - {"README"}
    listed = re.findall(r"\]\((.*?)\.md\)", (ROOT / RUNBOOKS / "README.md").read_text())
    assert pages == set(listed)
    text = Path(__file__).read_text()
    for page in pages:
        assert f'run(\n        "{page}"' in text or f'run("{page}"' in text
        assert len((ROOT / RUNBOOKS / f"{page}.md").read_text().splitlines()) <= 60
