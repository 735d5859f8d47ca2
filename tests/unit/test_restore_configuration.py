"""The configuration's part of a restore: file by file, resumable, and back again."""

from pathlib import Path

import pytest

from owctl.backup.restore.configuration import (
    differing_files,
    discard_files,
    folder_of,
    session_key_differs,
    stage_files,
    swap_files,
    swap_files_back,
)
from owctl.backup.restore.source import ConfigContent
from owctl.errors import BackupInvalid
from owctl.project import private_file

ID = "0123abcd"


def content(path: str | None, text: str) -> ConfigContent:
    return ConfigContent(f"config/{path or 'elsewhere/x'}", path, text.encode)


NEW = (
    content(".env", "WEBUI_SECRET_KEY=new\n"),
    content("compose.yaml", "services: {new: }\n"),
    content("conf/extra.yaml", "new\n"),
    content(None, "never written"),
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".env").write_text("WEBUI_SECRET_KEY=old\n")
    (tmp_path / "compose.yaml").write_text("services: {old: }\n")
    (tmp_path / "compose.yaml").chmod(0o640)
    return tmp_path


def texts(project: Path) -> dict[str, str]:
    names = (".env", "compose.yaml", "conf/extra.yaml")
    return {name: (project / name).read_text() for name in names if (project / name).exists()}


def test_there_and_back(project: Path) -> None:
    before = texts(project)
    files = stage_files(project, ID, NEW)
    assert [(file.path, file.existed) for file in files] == [
        (".env", True),
        ("compose.yaml", True),
        ("conf/extra.yaml", False),
    ]
    assert texts(project) == before
    for _ in range(2):
        swap_files(project, ID, files)
        assert set(texts(project).values()) == {each.read().decode() for each in NEW[:3]}
    assert (project / ".env").stat().st_mode & 0o777 == 0o600
    assert (project / "compose.yaml").stat().st_mode & 0o777 == 0o640
    for _ in range(2):
        swap_files_back(project, ID, files)
        assert texts(project) == before
    assert (project / "compose.yaml").stat().st_mode & 0o777 == 0o640
    discard_files(project, ID)
    discard_files(project, ID)
    assert not folder_of(project, ID).exists()


@pytest.mark.parametrize("moves", [0, 1, 2])
@pytest.mark.parametrize("way", ["on", "back"])
def test_interrupted_between_two_files(
    project: Path, monkeypatch: pytest.MonkeyPatch, moves: int, way: str
) -> None:
    before = texts(project)
    files = stage_files(project, ID, NEW)
    done: list[Path] = []

    def sync(folder: Path) -> None:
        # It is called when a file has come to its place; the previous ones go below .owctl.
        if ".owctl" not in folder.parts:
            done.append(folder)
        if len(done) > moves:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(private_file, "sync_folder", sync)
        with pytest.raises(KeyboardInterrupt):
            swap_files(project, ID, files)
    if way == "on":
        swap_files(project, ID, files)
        assert set(texts(project).values()) == {each.read().decode() for each in NEW[:3]}
    swap_files_back(project, ID, files)
    assert texts(project) == before


def test_a_link_stays_one(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("secrets") / "env"
    target.write_text("WEBUI_SECRET_KEY=linked\n")
    (project / ".env").unlink()
    (project / ".env").symlink_to(target)
    files = stage_files(project, ID, NEW[:1])
    # The folder of secrets may be a disk of its own.
    swap_files(project, ID, files)
    assert (project / ".env").is_symlink()
    assert target.read_text() == "WEBUI_SECRET_KEY=new\n"
    swap_files_back(project, ID, files)
    assert target.read_text() == "WEBUI_SECRET_KEY=linked\n"


def test_a_folder_that_leads_away(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    away = tmp_path_factory.mktemp("away")
    (project / "conf").symlink_to(away)
    with pytest.raises(BackupInvalid, match="not in the project's folder"):
        stage_files(project, ID, NEW)
    assert list(away.iterdir()) == []


def test_what_differs(project: Path) -> None:
    same = content("compose.yaml", "services: {old: }\n")
    assert differing_files(project, (NEW[0], same, *NEW[2:])) == [".env", "conf/extra.yaml"]
    assert session_key_differs(project, NEW)
    assert not session_key_differs(project, (content(".env", "WEBUI_SECRET_KEY='old'\nA=1\n"),))
    assert not session_key_differs(project, NEW[1:])
