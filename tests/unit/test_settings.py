"""Where the project is, which files it has, and what its variables are."""

from pathlib import Path

import pytest

from owctl.errors import ConfigurationError
from owctl.settings import Flags, Settings


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_nearest_folder_upwards(tmp_path: Path) -> None:
    write(tmp_path, compose__yaml="", compose__override__yaml="", __env="A=1\n")
    write(tmp_path / "sub" / "deeper", __env="A=unrelated\n")
    settings = Settings.load(Flags(), {}, tmp_path / "sub" / "deeper")
    assert settings.project_dir == tmp_path
    assert [p.name for p in settings.compose_files] == ["compose.yaml", "compose.override.yaml"]
    assert settings.environment == {"A": "1"}
    assert settings.environment_files == (tmp_path / ".env",)


def test_compose_file_variable_moves_the_project_as_in_compose(tmp_path: Path) -> None:
    env = "COMPOSE_FILE=sub/a.yaml:b.yaml\nA=root\nB=root\nCOMPOSE_PROFILES=x, y\n"
    write(tmp_path, __env=env, b__yaml="")
    write(tmp_path / "sub", a__yaml="", __env="A=sub\nC=$B\nCOMPOSE_PROJECT_NAME=named\n")
    settings = Settings.load(Flags(), {}, tmp_path)
    assert settings.project_dir == tmp_path / "sub"
    assert settings.compose_files == (tmp_path / "sub/a.yaml", tmp_path / "b.yaml")
    assert (settings.environment["A"], settings.environment["C"]) == ("root", "root")
    assert settings.project_name == "named"
    assert settings.profiles == ("x", "y")


def test_process_environment_wins(tmp_path: Path) -> None:
    write(tmp_path, compose__yaml="", __env="A=file\nB=$A\n")
    settings = Settings.load(Flags(), {"A": "from-process"}, tmp_path)
    assert settings.environment == {"A": "from-process", "B": "from-process"}
    assert "from-process" not in repr(settings)


def test_later_environment_files_win(tmp_path: Path) -> None:
    write(tmp_path, compose__yaml="", one="A=1\nB=1\n", two="A=2\nC=$B\n", __env="D=no\n")
    flags = Flags(environment_files=(Path("one"), Path("two")))
    settings = Settings.load(flags, {}, tmp_path)
    assert settings.environment == {"A": "2", "B": "1", "C": "1"}
    same = Settings.load(Flags(), {"COMPOSE_ENV_FILES": "one,two"}, tmp_path)
    assert same.environment.keys() == {"A", "B", "C", "COMPOSE_ENV_FILES"}


def test_flags_win(tmp_path: Path) -> None:
    write(tmp_path / "p", compose__yaml="", other__yaml="")
    environ = {"COMPOSE_PROJECT_NAME": "e", "COMPOSE_PROFILES": "e", "COMPOSE_FILE": "e.yaml"}
    flags = Flags(
        files=(Path("p/other.yaml"),), project_name="f", profiles=("f",), context="remote"
    )
    settings = Settings.load(flags, environ, tmp_path)
    assert settings.project_dir == tmp_path / "p"
    assert settings.compose_files == (tmp_path / "p/other.yaml",)
    assert (settings.project_name, settings.profiles) == ("f", ("f",))
    assert settings.docker_context == "remote"
    moved = Settings.load(Flags(project_dir=Path("p")), {}, tmp_path)
    assert moved.project_dir == tmp_path / "p"


def test_links_keep_the_name_that_was_typed(tmp_path: Path) -> None:
    write(tmp_path / "real", compose__yaml="")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert Settings.load(Flags(), {}, tmp_path / "link").project_dir == tmp_path / "link"


def test_nothing_there_yet(tmp_path: Path) -> None:
    settings = Settings.load(Flags(project_dir=Path()), {}, tmp_path)
    assert (settings.project_dir, settings.compose_files) == (tmp_path, ())


def test_every_problem_at_once(tmp_path: Path) -> None:
    write(tmp_path, __env="bad line\nA='x\n")
    flags = Flags(files=(Path("a.yaml"), Path("n" * 300)))
    with pytest.raises(ConfigurationError) as raised:
        Settings.load(flags, {}, tmp_path)
    messages = [problem.message for problem in raised.value.problems]
    assert messages == [
        "compose file not found",
        "compose file not found",
        "is not of the form NAME=value",
        "the quoted value of A has no end",
    ]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        Settings.load(Flags(project_dir=Path("no")), {}, tmp_path)


def loaded(folder: Path, **environ: str) -> Settings:
    return Settings.load(Flags(), environ, folder)


def test_names_are_looked_for_in_the_order_of_compose(tmp_path: Path) -> None:
    names = ("docker-compose.yaml", "docker-compose.yml", "compose.override.yaml")
    for name in (*names, "compose.override.yml"):
        (tmp_path / name).write_text("services: {}")
    settings = loaded(tmp_path)
    assert [f.name for f in settings.compose_files] == [
        "docker-compose.yml",
        "compose.override.yml",
    ]
    assert [f.name for f in settings.ignored_files] == [
        "docker-compose.yaml",
        "compose.override.yaml",
    ]


def test_a_compose_file_above_wins_over_an_env_file_here(tmp_path: Path) -> None:
    here = tmp_path / "sub"
    here.mkdir()
    (tmp_path / "compose.yaml").write_text("services: {}")
    (tmp_path / ".env").write_text("V=above\n")
    (here / ".env").write_text("V=here\nCOMPOSE_FILE=other.yaml\n")
    (here / "other.yaml").write_text("services: {}")
    settings = loaded(here)
    assert settings.project_dir == tmp_path
    assert settings.environment["V"] == "above"
    (tmp_path / "compose.yaml").unlink()
    settings = loaded(here)
    assert settings.compose_files == (here / "other.yaml",)
    assert settings.environment["V"] == "here"


def test_the_env_file_is_that_of_the_first_compose_file(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "compose.yaml").write_text("services: {}")
    (folder / ".env").write_text("V=project\n")
    (tmp_path / ".env").write_text("V=here\nW=here\n")
    settings = loaded(tmp_path, COMPOSE_FILE="project/compose.yaml")
    assert settings.environment_files == (folder / ".env",)
    # An .env that names the files is read as well, and first.
    (tmp_path / ".env").write_text("V=here\nCOMPOSE_FILE=project/compose.yaml\n")
    settings = loaded(tmp_path)
    assert settings.environment_files == (tmp_path / ".env", folder / ".env")
    assert settings.environment["V"] == "here"


def test_the_env_file_can_be_switched_off(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {}")
    (tmp_path / ".env").write_text("V=1\n")
    assert "V" in loaded(tmp_path).environment
    assert "V" not in loaded(tmp_path, COMPOSE_DISABLE_ENV_FILE="true").environment
