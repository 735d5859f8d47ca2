"""Wrong input of many kinds: a clear error, `Try:`, the documented exit code, nothing lost."""

import os
import subprocess
import tempfile
from pathlib import Path

import docker
import pytest

from tests.e2e.conftest import OWCTL, PROJECT_LABEL, clean_environment, owctl

pytestmark = pytest.mark.e2e

SMALL = "services:\n  one:\n    image: owctl-test/none\n"


def assert_clear(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert result.returncode == code, result.stdout + result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    assert result.stderr.startswith("Error: ") or "\nError: " in result.stderr
    assert "Try: " in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def project(directory: Path, text: str = SMALL) -> Path:
    (directory / "compose.yaml").write_text(text)
    return directory


@pytest.mark.parametrize("command", ["start", "stop", "status", "health", "logs", "backup"])
def test_no_engine(tmp_path, command):
    environment = {"DOCKER_HOST": f"unix://{tmp_path}/nowhere.sock"}
    result = owctl(command, cwd=project(tmp_path), environment=environment)
    assert_clear(result, 5, "nowhere.sock")


def test_no_compose_file(tmp_path):
    assert_clear(owctl("start", cwd=tmp_path), 4, "compose file", "owctl setup")


def test_broken_yaml_names_file_and_line(tmp_path):
    directory = project(tmp_path, "services:\n  one:\n    image: [a\n  two: }\n")
    assert_clear(owctl("start", cwd=directory), 4, "compose.yaml:")


def test_every_problem_is_listed_with_its_line(tmp_path):
    text = (
        "services:\n  one:\n    imagee: a\n    image: b\n    ports: ['x']\n    depends_on: [two]\n"
    )
    result = owctl("config", cwd=project(tmp_path, text))
    assert_clear(result, 4, "compose.yaml:3", "compose.yaml:5", "compose.yaml:6", "image")


def test_a_missing_required_variable_names_it(tmp_path):
    directory = project(tmp_path, "services:\n  one:\n    image: ${IMAGE_NAME:?set it in .env}\n")
    assert_clear(owctl("status", cwd=directory), 4, "IMAGE_NAME", "set it in .env")


def test_an_unknown_service_offers_the_nearest(tmp_path):
    directory = project(tmp_path, "services:\n  backend:\n    image: a\n")
    assert_clear(owctl("status", "bakend", cwd=directory), 2, "bakend", "backend")


def test_an_unknown_command_offers_the_nearest(tmp_path):
    assert_clear(owctl("strat", cwd=tmp_path), 2, "strat", "owctl start")


def test_an_unknown_option(tmp_path):
    assert_clear(owctl("start", "--frobnicate", cwd=tmp_path), 2, "--frobnicate")


def test_a_project_folder_that_is_not_there(tmp_path):
    assert_clear(owctl("-C", "nowhere", "start", cwd=tmp_path), 4, "nowhere")


def test_a_compose_file_that_is_not_there(tmp_path):
    assert_clear(owctl("-f", "nowhere.yaml", "start", cwd=tmp_path), 4, "nowhere.yaml")


def test_an_unknown_context(tmp_path):
    result = owctl("--context", "elsewhere", "status", cwd=project(tmp_path))
    assert_clear(result, 5, "elsewhere")


def test_a_broken_env_file_names_the_line(tmp_path):
    directory = project(tmp_path)
    (directory / ".env").write_text("GOOD=1\nBROKEN='no end\n")
    assert_clear(owctl("start", cwd=directory), 4, ".env:2")


def test_an_image_that_cannot_be_had(tmp_path):
    text = "name: owctl-test-noimage\nservices:\n  one:\n    image: localhost:1/none:latest\n"
    result = owctl("start", cwd=project(tmp_path, text))
    assert_clear(result, 1, "localhost:1/none:latest")
    client = docker.from_env()
    label = f"{PROJECT_LABEL}=owctl-test-noimage"
    assert client.networks.list(filters={"label": label}) == []
    client.close()


def test_debug_shows_the_traceback(tmp_path):
    result = owctl("status", "--debug", cwd=tmp_path)
    assert result.returncode == 4
    assert "Traceback" in result.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    directory = project(
        tmp_path,
        "services:\n" + "".join(f"  service-{n}:\n    image: example/{n}\n" for n in range(3000)),
    )
    with subprocess.Popen(
        [str(OWCTL), "config"],
        cwd=directory,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
    assert process.returncode == 0, errors
    assert errors == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_no_permission_on_the_socket(tmp_path):
    directory = project(tmp_path)
    # The folders above are the test user's own: another user needs to get through.
    for folder in (directory, *directory.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    result = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(OWCTL), "status"],
        cwd=directory,
        env=clean_environment(HOME="/nonexistent"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert_clear(result, 5, "you may not use", "docker.sock")


def test_setup_inside_another_project_asks_which_is_meant(tmp_path):
    inner = project(tmp_path) / "inner"
    inner.mkdir()
    assert_clear(owctl("setup", cwd=inner), 2, str(tmp_path), "-C . setup")
    assert not (tmp_path / ".env").exists()
    assert not (inner / ".env").exists()


def test_a_password_that_is_a_services_name_does_not_hide_the_service(tmp_path):
    text = (
        "services:\n  postgres:\n    image: localhost:1/none\n    environment:\n"
        "      POSTGRES_USER: postgres\n      POSTGRES_PASSWORD: postgres\n      OTHER_TOKEN: geheimnis\n"
    )
    result = owctl("config", "--services", cwd=project(tmp_path, text))
    assert result.stdout == "postgres\n"
    shown = owctl("config", cwd=tmp_path).stdout
    assert "POSTGRES_PASSWORD: '***'" in shown
    assert "geheimnis" not in shown


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_state_that_root_made_is_told_and_what_root_makes_now_is_the_users():
    # Not below pytest's folders, which each new run closes to others.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        for folder in ("project", "runtime"):
            (Path(name) / folder).mkdir()
            os.chown(Path(name) / folder, 65534, 65534)
        look_at_state_of_another_user(project(Path(name) / "project"), Path(name) / "runtime")


def look_at_state_of_another_user(directory: Path, runtime: Path) -> None:
    group = Path("/var/run/docker.sock").stat().st_gid

    def as_user(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", f"--groups={group}", *words],
            cwd=directory,
            env=clean_environment(HOME=str(runtime), XDG_RUNTIME_DIR=str(runtime)),
            capture_output=True,
            text=True,
            check=False,
        )

    # As an owctl of before left it: root's first.
    state = directory / ".owctl"
    state.mkdir(mode=0o700)
    for command in (["stop"], ["start", "--no-wait"], ["clean", "--yes"]):
        refused = as_user(str(OWCTL), *command)
        assert_clear(
            refused, 1, f"{state} belongs to root", f"Try: sudo chown -R 65534:65534 {state}"
        )
    assert as_user(str(OWCTL), "status").returncode == 0

    state.rmdir()
    assert owctl("stop", cwd=directory).returncode == 0
    assert {path.stat().st_uid for path in (state, *state.iterdir())} == {65534}
    after = as_user(str(OWCTL), "stop")
    assert after.returncode == 0, after.stderr
    assert len((state / "history.jsonl").read_text().splitlines()) == 2
