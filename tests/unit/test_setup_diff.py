"""`owctl setup --diff`: what is new from owctl, told from what the user changed."""

import json
import subprocess
from pathlib import Path

import pytest
from needed_programs import program

from owctl.cli import run
from owctl.project.setup_diff import SHIPPED, read_record
from owctl.project.setup_plan import COMPOSE_FILE, EXAMPLE_FILE, SCALE_COMPOSE_FILE, example_text

NOWHERE = {"DOCKER_HOST": "tcp://127.0.0.1:1"}
MINE = "      # a line of mine\n"


class Place:
    """A folder that `owctl setup` wrote, and what an older owctl would have left in it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        assert run(["-C", str(folder), "setup"]) == 0
        capsys.readouterr()

    def text(self, name: str = COMPOSE_FILE) -> str:
        return (self.folder / name).read_text()

    def write(self, text: str, name: str = COMPOSE_FILE) -> None:
        (self.folder / name).write_text(text)

    def was_shipped(self, text: str, name: str = COMPOSE_FILE, version: str = "0.0.9") -> None:
        """Have the record say that an older owctl shipped this."""
        path = SHIPPED.path(self.folder)
        document = json.loads(path.read_text())
        document["texts"][name] = text
        document["owctl_version"] = version
        path.write_text(json.dumps(document))

    def diff(self, code: int, *options: str) -> str:
        assert run(["-C", str(self.folder), "setup", "--diff", *options]) == code
        self.said = self.capsys.readouterr()
        return self.said.out

    def document(self, code: int) -> dict:
        return json.loads(self.diff(code, "--json"))

    def status(self, code: int, name: str = COMPOSE_FILE) -> str:
        return {file["path"]: file["status"] for file in self.document(code)["files"]}[name]

    def patched(self) -> None:
        """Take over what is shown, as the page says it."""
        patch = self.diff(1)
        done = subprocess.run(
            [program("patch", "patch"), "-p1"], cwd=self.folder, input=patch, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + patch


@pytest.fixture
def place(tmp_path, monkeypatch, capsys):
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    return Place(tmp_path, capsys)


def older(text: str) -> str:
    """The file as an older owctl may have shipped it: lines were changed, added and removed since."""
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:20], "# an old line\n", *lines[20:60], *lines[63:100], lines[100].upper(),
                    *lines[101:]])  # fmt: skip


def test_nothing_differs_after_setup(place):
    assert place.diff(0) == ""
    assert "nothing to take over" in place.said.err
    assert {file["status"] for file in place.document(0)["files"]} == {"same"}


def test_what_owctl_changed_is_a_patch_that_leads_to_what_it_ships(place):
    shipped = place.text()
    place.write(older(shipped))
    place.was_shipped(older(shipped))
    assert place.status(1) == "owctl"
    assert "0.0.9" in place.diff(1) + place.said.err
    place.patched()
    assert place.text() == shipped
    assert place.diff(0) == ""


def test_what_the_user_changed_is_no_difference(place):
    place.write(place.text().replace("services:\n", "services:\n" + MINE))
    assert place.status(0) == "you"
    assert place.diff(0) == ""


def test_where_both_changed_only_owctls_part_is_shown_and_taken(place):
    shipped = place.text()
    mine = older(shipped).replace("services:\n", "services:\n" + MINE)
    place.write(mine)
    place.was_shipped(older(shipped))
    assert place.status(1) == "both"
    assert "mine" not in place.diff(1)
    place.patched()
    assert place.text() == shipped.replace("services:\n", "services:\n" + MINE)
    assert place.status(0) == "you"


def test_a_change_that_was_taken_by_hand_is_not_shown_again(place):
    shipped = place.text()
    place.was_shipped(older(shipped))
    place.write(older(shipped).replace("# an old line\n", "") + "# the end\n")
    shown = place.diff(1)
    assert "an old line" not in shown
    assert "@@" in shown


def test_without_a_record_everything_is_shown(place):
    SHIPPED.path(place.folder).unlink()
    place.write(place.text().replace("services:\n", "services:\n" + MINE))
    assert place.status(1) == "unknown"
    assert f"-{MINE}" in place.diff(1)
    assert "not on record" in place.said.err
    assert "patch would undo yours" in place.said.err


def test_a_file_that_is_new_is_shown_and_one_that_was_removed_is_not(place):
    text = place.text(SCALE_COMPOSE_FILE)
    (place.folder / SCALE_COMPOSE_FILE).unlink()
    assert place.diff(0) == ""
    path = SHIPPED.path(place.folder)
    document = json.loads(path.read_text())
    del document["texts"][SCALE_COMPOSE_FILE]
    path.write_text(json.dumps(document))
    assert "--- /dev/null" in place.diff(1)
    place.patched()
    assert place.text(SCALE_COMPOSE_FILE) == text


def test_new_variables_and_defaults_of_the_environment(place):
    before = place.text(".env")
    base = example_text().replace("OPEN_WEBUI_PORT=3000", "OPEN_WEBUI_PORT=2999")
    base = base.replace("ENABLE_API_KEY=true\n", "").replace(
        "# WEBUI_URL=http://localhost:3000\n", ""
    )
    place.was_shipped(base + "GONE_SINCE=1\n", EXAMPLE_FILE)
    mine = before.replace("OPEN_WEBUI_PORT=3000", "OPEN_WEBUI_PORT=2999")
    mine = mine.replace("ENABLE_API_KEY=true\n", "").replace(
        "# WEBUI_URL=http://localhost:3000\n", ""
    )
    place.write(mine + "GONE_SINCE=1\n", ".env")
    found = {each["name"]: each for each in place.document(1)["variables"]}
    assert found["ENABLE_API_KEY"]["status"] == "new"
    assert found["WEBUI_URL"] == {
        "name": "WEBUI_URL", "status": "new", "default": None, "before": None,
    }  # fmt: skip
    assert (found["OPEN_WEBUI_PORT"]["before"], found["OPEN_WEBUI_PORT"]["default"]) == (
        "2999",
        "3000",
    )
    assert found["GONE_SINCE"]["status"] == "dropped"
    assert len(found) == 4
    place.patched()
    after = place.text(".env")
    assert "OPEN_WEBUI_PORT=3000\n" in after
    assert "\n# Whether people can make API keys.\nENABLE_API_KEY=true\n" in after
    assert after.startswith(mine.partition("OPEN_WEBUI_PORT")[0])
    assert place.diff(0) == ""


def test_a_value_of_the_users_own_is_no_old_default(place):
    place.was_shipped(example_text().replace("PORT=3000", "PORT=2999"), EXAMPLE_FILE)
    place.write(place.text(".env").replace("PORT=3000", "PORT=8000"), ".env")
    assert place.diff(0) == ""


def test_secrets_are_never_shown(place):
    secret = "S3cretOfTheUser4711"
    lines = place.text(".env").splitlines(keepends=True)
    lines = [f"POSTGRES_PASSWORD={secret}\n" if "POSTGRES_PASSWORD=" in x else x for x in lines]
    place.write("".join(lines[:-6]), ".env")
    SHIPPED.path(place.folder).unlink()
    place.write(place.text().replace("services:\n", f"# {secret}\nservices:\n"))
    for options in ((), ("--json",)):
        shown = place.diff(1, *options) + place.said.err
        assert secret not in shown
        assert "***" in shown


def test_nothing_is_changed_by_looking(place):
    place.write(older(place.text()))
    before = {path: path.read_bytes() for path in place.folder.rglob("*") if path.is_file()}
    place.diff(0)
    place.was_shipped(older(place.text()))
    before[SHIPPED.path(place.folder)] = SHIPPED.path(place.folder).read_bytes()
    place.diff(1)
    assert {p: p.read_bytes() for p in place.folder.rglob("*") if p.is_file()} == before


def test_setup_again_remembers_what_was_taken_over(place):
    place.was_shipped(older(place.text()))
    assert run(["-C", str(place.folder), "setup"]) == 0
    record = read_record(place.folder)
    assert record is not None
    assert record.texts[COMPOSE_FILE] == place.text()


def test_compose_files_of_somebody_else(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DOCKER_HOST", NOWHERE["DOCKER_HOST"])
    (tmp_path / "docker-compose.yaml").write_text("services:\n  a:\n    image: b\n")
    assert run(["-C", str(tmp_path), "setup"]) == 0
    assert not SHIPPED.path(tmp_path).exists()
    assert run(["-C", str(tmp_path), "setup", "--diff"]) == 0
    assert "not owctl's" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [(["--demo"], 2, "only looks"), (["--set", "A=b"], 2, "only looks"), ([], 2, "was not set up")],
)
def test_what_cannot_be_compared(tmp_path, capsys, words, code, says):
    assert run(["-C", str(tmp_path), "setup", "--diff", *words]) == code
    assert says in capsys.readouterr().err


def test_a_damaged_record_says_so(place):
    SHIPPED.path(place.folder).write_text("{}")
    assert place.diff(1) == ""
    assert "damaged" in place.said.err
