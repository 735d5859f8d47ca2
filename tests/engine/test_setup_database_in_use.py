"""`owctl setup` where the project already has containers or a database volume on the engine."""

import json
from pathlib import Path

import pytest

from owctl.cli import run
from owctl.engine.connection import Engine
from owctl.engine.naming import VOLUME_OWNER
from owctl.environment.dotenv import read_environment_file
from owctl.errors import OwctlError
from owctl.project.ownership import ForeignProject, check_owner, remember_adoption

pytestmark = pytest.mark.engine

PREFIX = "com.docker.compose."
COMPOSE = """\
services:
  postgres:
    image: postgres:16-alpine
    environment:
      POSTGRES_DB: ${POSTGRES_DB:-open_webui}
      POSTGRES_USER: ${POSTGRES_USER:-open_webui}
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:-open_webui_password}
    volumes:
      - postgres_data:/var/lib/postgresql/data
  rust-backend:
    image: backend
    environment:
      WEBUI_SECRET_KEY: ${WEBUI_SECRET_KEY:-}
volumes:
  postgres_data:
"""
EXAMPLE = """\
POSTGRES_DB=openwebui
POSTGRES_USER=postgres
POSTGRES_PASSWORD=postgres
WEBUI_SECRET_KEY=
DATABASE_URL=postgresql://postgres:postgres@postgres:5432/openwebui
"""


class Place:
    """A project's folder, and what is put on the engine for it."""

    def __init__(self, engine: Engine, image: str, project: str, folder: Path) -> None:
        self.engine, self.image, self.project, self.folder = engine, image, project, folder

    def container(self, service: str, *, working_dir: Path | None = None, **environment: str):
        labels = {
            PREFIX + "project": self.project,
            PREFIX + "service": service,
            PREFIX + "container-number": "1",
            PREFIX + "oneoff": "False",
            PREFIX + "config-hash": "0",
            PREFIX + "project.working_dir": str(working_dir or self.folder),
        }
        self.engine.api.create_container(
            self.image,
            ["true"],
            name=f"{self.project}-{service}-1",
            environment=environment,
            labels=labels,
        )

    def volume(self, **labels: str) -> str:
        name = f"{self.project}_postgres_data"
        own = {PREFIX + "project": self.project, PREFIX + "volume": "postgres_data"}
        self.engine.api.create_volume(name, labels={**own, **labels})
        return name

    def env(self) -> dict[str, str]:
        return read_environment_file(self.folder / ".env", {}).values

    def setup(self, *words: str) -> int:
        return run(["-C", str(self.folder), "setup", *words])


@pytest.fixture
def place(engine, base_image, project, tmp_path, monkeypatch):
    folder = tmp_path / project
    folder.mkdir()
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for name in ("POSTGRES_PASSWORD", "WEBUI_SECRET_KEY", "REDIS_PASSWORD", "COMPOSE_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    return Place(engine, base_image, project, folder)


@pytest.fixture
def checkout(place):
    (place.folder / "docker-compose.yaml").write_text(COMPOSE)
    (place.folder / "env.example").write_text(EXAMPLE)
    return place


def test_a_project_that_is_not_there_gets_new_secrets(checkout, capsys):
    (checkout.folder / ".env").write_text("POSTGRES_PASSWORD=changeme\n")
    (checkout.folder / ".env").chmod(0o600)
    assert checkout.setup("--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["project"] == checkout.project
    assert result["generated"] == ["WEBUI_SECRET_KEY", "POSTGRES_PASSWORD"]
    assert result["notes"] == []
    assert len(checkout.env()["POSTGRES_PASSWORD"]) >= 32


def test_a_new_env_takes_what_the_containers_use(checkout, capsys):
    checkout.container(
        "postgres",
        POSTGRES_PASSWORD="it's in use",
        POSTGRES_USER="open_webui",
        POSTGRES_DB="open_webui",
    )
    checkout.container("rust-backend", WEBUI_SECRET_KEY="signs-the-sessions")

    assert checkout.setup("--json") == 0

    result = json.loads(capsys.readouterr().out)
    assert result["generated"] == []
    env = checkout.env()
    assert env["POSTGRES_PASSWORD"] == "it's in use"
    assert (env["POSTGRES_USER"], env["POSTGRES_DB"]) == ("open_webui", "open_webui")
    assert env["WEBUI_SECRET_KEY"] == "signs-the-sessions"
    assert env["DATABASE_URL"].startswith("postgresql://postgres:it%27s%20in%20use@")


def test_a_volume_alone_keeps_the_compose_files_default(checkout, capsys):
    name = checkout.volume()
    assert checkout.setup() == 0
    env = checkout.env()
    assert env["POSTGRES_PASSWORD"] == "open_webui_password"
    assert (env["POSTGRES_USER"], env["POSTGRES_DB"]) == ("open_webui", "open_webui")
    message = capsys.readouterr().err
    assert name in message
    assert "widely known" in message


def test_a_volume_alone_keeps_what_env_says_to_the_byte(checkout, capsys):
    checkout.volume()
    path = checkout.folder / ".env"
    path.write_text("POSTGRES_PASSWORD=postgres\nWEBUI_SECRET_KEY=chosen-by-hand\n")
    path.chmod(0o600)
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert checkout.setup() == 0
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_volume_with_a_password_that_nobody_knows_is_an_error(place, capsys):
    place.volume()
    assert run(["-C", str(place.folder), "-p", place.project, "setup"]) == 4
    message = capsys.readouterr().err
    assert "password is not known" in message
    assert "--set POSTGRES_PASSWORD" in message
    assert not list(place.folder.iterdir())

    words = ["-C", str(place.folder), "-p", place.project, "setup"]
    assert run([*words, "--set", "POSTGRES_PASSWORD=the-old-one"]) == 0
    assert place.env()["POSTGRES_PASSWORD"] == "the-old-one"


def test_the_password_of_a_database_cannot_be_set_to_another(checkout, capsys):
    checkout.container("postgres", POSTGRES_PASSWORD="in-use-already")
    assert checkout.setup("--set", "POSTGRES_PASSWORD=another") == 4
    assert "another" not in capsys.readouterr().err.replace("another value", "")
    assert not (checkout.folder / ".env").exists()
    assert checkout.setup("--set", "POSTGRES_PASSWORD=in-use-already") == 0


def test_a_lost_env_of_ours_comes_back_with_its_secrets(place, capsys):
    words = ["-C", str(place.folder), "-p", place.project, "setup"]
    assert run(words) == 0
    before = place.env()
    place.volume()
    place.container("postgres", POSTGRES_PASSWORD=before["POSTGRES_PASSWORD"])
    place.container("redis", REDIS_PASSWORD=before["REDIS_PASSWORD"])
    place.container("rust-backend", WEBUI_SECRET_KEY=before["WEBUI_SECRET_KEY"])
    (place.folder / ".env").unlink()

    assert run(words) == 0

    assert place.env() == before


def test_a_project_of_another_folder_is_refused_until_adopted(checkout, tmp_path, capsys):
    other = tmp_path / "other"
    checkout.container("postgres", working_dir=other, POSTGRES_PASSWORD="of-the-other")

    assert checkout.setup() == 1
    message = capsys.readouterr().err
    assert str(other) in message
    assert "--adopt" in message
    assert "does not exist any more" in message
    assert not (checkout.folder / ".env").exists()

    assert checkout.setup("--adopt") == 0
    assert checkout.env()["POSTGRES_PASSWORD"] == "of-the-other"


def test_another_name_is_a_way_out(checkout, tmp_path, capsys):
    checkout.container("postgres", working_dir=tmp_path, POSTGRES_PASSWORD="of-the-other")
    assert run(["-C", str(checkout.folder), "-p", f"{checkout.project}-2", "setup"]) == 0
    assert len(checkout.env()["POSTGRES_PASSWORD"]) >= 32
    assert checkout.env()["COMPOSE_PROJECT_NAME"] == f"{checkout.project}-2"


def test_links_to_a_folder_are_the_folder(place, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(place.folder)
    place.container("postgres", working_dir=link)
    check_owner(place.engine, place.project, place.folder, adopt=False)
    check_owner(place.engine, place.project, link, adopt=False)


def test_a_volume_that_names_its_folder_has_an_owner(place, tmp_path):
    place.volume(**{VOLUME_OWNER: str(tmp_path)})
    with pytest.raises(ForeignProject) as caught:
        check_owner(place.engine, place.project, place.folder, adopt=False)
    assert isinstance(caught.value, OwctlError)
    assert caught.value.exit_code == 1
    check_owner(place.engine, place.project, tmp_path, adopt=False)
    owners = check_owner(place.engine, place.project, place.folder, adopt=True)
    assert owners == (str(tmp_path),)
    # The volume's label stays as it is, so the folder remembers.
    remember_adoption(place.folder, place.project, owners)
    check_owner(place.engine, place.project, place.folder, adopt=False)


def test_a_plain_volume_has_none(place):
    place.volume()
    check_owner(place.engine, place.project, place.folder, adopt=False)
