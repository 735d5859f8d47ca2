"""The configuration's part of a restore: file by file, resumable, and back again."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from owctl.backup.access import Access, file_access, folder_access
from owctl.backup.create.origin import store_configuration
from owctl.backup.restore.configuration import (
    differing_files,
    discard_files,
    folder_of,
    session_key_differs,
    stage_files,
    swap_files,
    swap_files_back,
)
from owctl.backup.restore.empty_machine import open_configuration, write_configuration
from owctl.backup.restore.source import ConfigContent
from owctl.compose.model import Stack
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


SECRET, CONFIG, ENVIRONMENT = "secrets/api_key.txt", "conf/nginx.conf", "web.env"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


class Stored:
    """A source whose configuration is what a backup of a stack stored."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        folder.mkdir()
        self.warnings: list[str] = []
        self.config = tuple(
            ConfigContent(
                member.name,
                path := member.name.removeprefix("config/"),
                (folder / member.name).read_bytes,
                file_access(path, member.detail),
                folder_access(member.detail),
            )
            for member in store_configuration(stack, folder, self.warnings.append)
        )

    def of_an_old_backup(self) -> "Stored":
        self.config = tuple(replace(each, access=None, folders={}) for each in self.config)
        return self


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    top = tmp_path / "before"
    for name, bits in ((SECRET, 0o600), (CONFIG, 0o664), (ENVIRONMENT, 0o640), (".env", 0o644)):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
        (top / name).chmod(bits)
    (top / "compose.yaml").write_text("services: {}")
    (top / "compose.yaml").chmod(0o644)
    (top / "secrets").chmod(0o710)
    (top / "conf").chmod(0o755)
    files = tuple(top / name for name in (SECRET, CONFIG, ENVIRONMENT))
    spec = {
        "secrets": {"key": {"file": str(files[0])}},
        "configs": {"nginx": {"file": str(files[1])}},
    }
    return Stack(
        "proj",
        top,
        (top / "compose.yaml",),
        (top / ".env",),
        {},
        {},
        {},
        named_files=files,
        spec=spec,
    )


def moved(stack: Stack, folder: Path) -> Stack:
    """The same stack, read from another folder."""

    def there(path: Path | str) -> Path:
        return folder / Path(path).relative_to(stack.working_dir)

    spec = {
        section: {k: {"file": str(there(v["file"]))} for k, v in entries.items()}
        for section, entries in stack.spec.items()
    }
    return replace(
        stack,
        working_dir=folder,
        config_files=tuple(map(there, stack.config_files)),
        environment_files=tuple(map(there, stack.environment_files)),
        spec=spec,
    )


def test_files_come_back_into_an_empty_folder_as_they_were(stack: Stack, tmp_path: Path) -> None:
    source, folder = Stored(stack, tmp_path / "backup"), tmp_path / "after"
    folder.mkdir()
    write_configuration(folder, source)
    open_configuration(moved(stack, folder), source)
    found = {name: mode(folder / name) for name in (SECRET, CONFIG, ENVIRONMENT, "compose.yaml")}
    assert found == {SECRET: 0o600, CONFIG: 0o664, ENVIRONMENT: 0o640, "compose.yaml": 0o644}
    # What has the passwords of the whole stack is for no stranger, whatever it was.
    assert mode(folder / ".env") == 0o640
    assert (mode(folder / "secrets"), mode(folder / "conf")) == (0o710, 0o755)


def test_of_an_old_backup_only_what_is_no_secret_can_be_read(stack: Stack, tmp_path: Path) -> None:
    source, folder = Stored(stack, tmp_path / "backup").of_an_old_backup(), tmp_path / "after"
    folder.mkdir()
    write_configuration(folder, source)
    names = (SECRET, CONFIG, ENVIRONMENT, ".env", "compose.yaml")
    assert {mode(folder / name) for name in names} == {0o600}
    open_configuration(moved(stack, folder), source)
    assert {mode(folder / name) for name in (SECRET, ENVIRONMENT, ".env")} == {0o600}
    assert {mode(folder / name) for name in (CONFIG, "compose.yaml")} == {0o644}
    assert mode(folder / "secrets") == 0o700


def test_a_restore_gives_mode_and_owner_and_undo_gives_them_back(
    stack: Stack, tmp_path: Path
) -> None:
    # Whoever is not root has one owner to give only.
    stranger, group = (4321, 4322) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    source, folder = Stored(stack, tmp_path / "backup"), tmp_path / "after"
    (folder / "conf").mkdir(parents=True)
    (folder / CONFIG).write_text("mine")
    (folder / CONFIG).chmod(0o606)
    os.chown(folder / CONFIG, stranger, group)
    before = owner(stack.working_dir / CONFIG)
    files = stage_files(folder, ID, source.config)
    swap_files(folder, ID, files)
    assert (mode(folder / CONFIG), owner(folder / CONFIG)) == (0o664, before)
    assert (mode(folder / SECRET), mode(folder / "secrets")) == (0o600, 0o710)
    swap_files_back(folder, ID, files)
    assert (mode(folder / CONFIG), owner(folder / CONFIG)) == (0o606, (stranger, group))
    assert (folder / CONFIG).read_text() == "mine"
    assert not (folder / SECRET).exists()


def test_a_restore_of_an_old_backup_makes_no_secret_readable(stack: Stack, tmp_path: Path) -> None:
    source, folder = Stored(stack, tmp_path / "backup").of_an_old_backup(), tmp_path / "after"
    folder.mkdir()
    swap_files(folder, ID, stage_files(folder, ID, source.config))
    assert (mode(folder / SECRET), mode(folder / "secrets")) == (0o600, 0o700)


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"mode": "0600"},
        {"mode": "4755", "uid": 0, "gid": 0},
        {"mode": 384, "uid": 0, "gid": 0},
        {"mode": "0600", "uid": -1, "gid": 0},
        {"mode": "0600", "uid": True, "gid": 0},
        {"mode": "0600", "uid": 0, "gid": "0"},
    ],
)
def test_what_a_manifest_cannot_mean_is_unknown(detail: dict[str, object]) -> None:
    assert file_access("x", detail) is None
    assert folder_access({"folders": {"x": detail}}) == {}
    assert folder_access({"folders": [detail]}) == {}


def test_a_folder_can_be_used_by_its_owner() -> None:
    found = folder_access({"folders": {"x": {"mode": "0055", "uid": 1, "gid": 2}}})
    assert found == {"x": Access(0o755, 1, 2)}
