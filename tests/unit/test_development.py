"""The development stack's files and name, and the environment of a backend outside of it."""

from pathlib import Path

import pytest

from owctl.compose.loader import load
from owctl.context import Context
from owctl.errors import ConfigurationError
from owctl.project.development import backend_environment, development_settings
from owctl.project.upgrade_record import Held, ImageNote, Record, write_record
from owctl.settings import Flags, Settings

ROOT = Path(__file__).parents[2]
SECRETS = "WEBUI_SECRET_KEY=w\nPOSTGRES_PASSWORD=pw-1\nREDIS_PASSWORD=pw-2\n"


def folder(tmp_path: Path, files: dict[str, str]) -> Path:
    made = tmp_path / "Chat"
    made.mkdir()
    for name, text in files.items():
        (made / name).write_text(text)
    return made


def settings_of(
    directory: Path, environ: dict[str, str] | None = None, *, tools: bool = False, **flags: object
) -> Settings:
    return development_settings(Flags(**flags), environ or {}, directory, tools=tools)  # type: ignore[arg-type]


PLAIN = "services: {a: {image: x}}\n"
NAMED = "name: mine-dev\n" + PLAIN


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    made = tmp_path / "open-webui-rust"
    made.mkdir()
    for name in ("docker-compose.yaml", "docker-compose.dev.yaml"):
        (made / name).write_bytes((ROOT / "tests" / "data" / "compose" / name).read_bytes())
    (made / ".env").write_text(SECRETS)
    return made


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    made = tmp_path / "shipped"
    made.mkdir()
    for path in (ROOT / "compose").glob("*.yaml"):
        (made / path.name).write_bytes(path.read_bytes())
    (made / ".env").write_text(SECRETS)
    return made


def names(settings: Settings) -> list[str]:
    return [path.name for path in settings.compose_files]


def test_an_upstream_checkout_has_its_own_file_and_the_folders_name(upstream: Path):
    settings = settings_of(upstream)
    assert names(settings) == ["docker-compose.dev.yaml"]
    assert load(settings).project == "open-webui-rust-dev"
    assert set(load(settings).services) == {"postgres", "redis", "socketio-bridge"}
    tools = load(settings_of(upstream, tools=True))
    assert {"pgadmin", "redis-commander"} < set(tools.services)


def test_owctls_own_files_say_the_name(shipped: Path):
    settings = settings_of(shipped)
    assert names(settings) == ["compose.dev.yaml"]
    assert load(settings).project == "open-webui-rust-dev"
    (shipped / ".env").write_text(SECRETS + "COMPOSE_FILE=compose.yaml:compose.demo.yaml\n")
    settings = settings_of(shipped)
    assert names(settings) == ["compose.dev.yaml", "compose.demo.dev.yaml"]
    assert load(settings).project == "open-webui-rust-demo-dev"


def test_a_name_from_outside_gets_the_suffix_and_that_of_p_is_taken_as_it_is(shipped: Path):
    assert load(settings_of(shipped, {"COMPOSE_PROJECT_NAME": "owls"})).project == "owls-dev"
    assert load(settings_of(shipped, project_name="other")).project == "other"


def test_two_stacks_never_share_a_name(tmp_path: Path):
    made = folder(tmp_path, {"compose.yaml": NAMED, "compose.dev.yaml": NAMED})
    with pytest.raises(ConfigurationError, match="Both stacks of this folder") as caught:
        settings_of(made)
    assert "mine-dev" in caught.value.message
    with pytest.raises(ConfigurationError, match="Both stacks of this folder"):
        settings_of(made, project_name="mine-dev")
    assert settings_of(made, project_name="else").project_name == "else"


def test_a_folder_without_a_development_stack_is_told_so(tmp_path: Path):
    made = folder(tmp_path, {"compose.yaml": PLAIN})
    with pytest.raises(ConfigurationError, match=r"no compose\.dev\.yaml"):
        settings_of(made)
    (made / "compose.override.yaml").write_text(PLAIN)
    (made / "compose.override.dev.yaml").write_text(PLAIN)
    with pytest.raises(ConfigurationError, match=r"no compose\.dev\.yaml"):
        settings_of(made)
    (made / "compose.dev.yaml").write_text(PLAIN)
    assert names(settings_of(made)) == ["compose.dev.yaml", "compose.override.dev.yaml"]


def test_files_can_be_named_and_a_development_file_can_be_alone(tmp_path: Path):
    made = folder(tmp_path, {"docker-compose.dev.yaml": PLAIN})
    assert names(settings_of(made)) == ["docker-compose.dev.yaml"]
    (made / "own.yaml").write_text(PLAIN)
    settings = settings_of(made, files=(Path("own.yaml"),))
    assert names(settings) == ["own.yaml"]
    assert load(settings).project == "chat-dev"


def test_the_backends_environment_has_the_addresses_of_this_machine(shipped: Path):
    (shipped / ".env").write_text(SECRETS + "DEV_POSTGRES_PORT=15432\nDEV_RUST_PORT=9090\n")
    context = Context({}, shipped)
    found = backend_environment(context.stack, context.development.stack)
    assert found["DATABASE_URL"] == "postgresql://open_webui:pw-1@127.0.0.1:15432/open_webui"
    assert found["REDIS_URL"] == "redis://:pw-2@127.0.0.1:6379"
    assert found["SOCKETIO_BRIDGE_URL"] == "http://127.0.0.1:8081"
    assert (found["HOST"], found["PORT"], found["ENV"]) == ("0.0.0.0", "9090", "development")
    assert not [name for name, value in found.items() if value.startswith("/app/")]


def test_the_backends_environment_in_an_upstream_checkout(upstream: Path):
    context = Context({}, upstream)
    found = backend_environment(context.stack, context.development.stack)
    assert "@127.0.0.1:5432/" in found["DATABASE_URL"]
    assert found["REDIS_URL"] == "redis://127.0.0.1:6379"
    assert found["PORT"] == "8080"


def test_a_stack_without_the_backend_has_no_environment_for_it(tmp_path: Path):
    made = folder(tmp_path, {"compose.yaml": PLAIN, "compose.dev.yaml": NAMED})
    context = Context({}, made)
    with pytest.raises(ConfigurationError, match="no service rust-backend"):
        backend_environment(context.stack, context.development.stack)


def test_an_upgrade_of_the_projects_stack_is_none_of_the_development_stack(shipped: Path):
    context = Context({}, shipped)
    image = context.development.stack.services["socketio-bridge"].image
    assert image is not None
    note = ImageNote(image, "sha256:old", kept_as="owctl-rollback/p/bridge:old")
    write_record(shipped, Record(held={"socketio-bridge": Held(image, note, "rolled back")}))
    own, development = Context({}, shipped), Context({}, shipped).development
    assert own.stack.services["socketio-bridge"].held_image is not None
    assert development.stack.services["socketio-bridge"].held_image is None
