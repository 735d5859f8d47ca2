"""The small parts of backup: sizes, space, named files, configuration, the command's options."""

import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from owctl.backup.create.origin import configuration_files, store_configuration
from owctl.backup.create.volumes import NamedFiles
from owctl.backup.inventory import Inventory, MountPoint, VolumeSource
from owctl.commands.backup.create import chosen_parts
from owctl.compose.loader import load
from owctl.compose.model import Stack
from owctl.errors import OwctlError, UsageError
from owctl.figures import readable
from owctl.settings import Flags, Settings
from owctl.volumes import space


def inventory(**mounts: str) -> Inventory:
    container = cast("Any", SimpleNamespace(raw={"Config": {"WorkingDir": "/app"}}))
    volumes = tuple(
        VolumeSource(name, f"p_{name}", (MountPoint(container, path),))
        for name, path in mounts.items()
    )
    return Inventory((), None, volumes)


def stack(folder: Path, *files: Path) -> Stack:
    return Stack("p", folder, files, (), {}, {}, {})


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (123_456_789, "123 MB"), (4e12, "4.0 TB")],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert readable(size) == text


def test_what_cannot_fit_is_refused_early(tmp_path: Path) -> None:
    space.check_estimate(tmp_path, database_bytes=1000, files_bytes=1000)
    with pytest.raises(OwctlError, match="not enough space") as caught:
        space.check_estimate(tmp_path, database_bytes=0, files_bytes=10**17)
    assert "--output" in (caught.value.hint or "")


def test_named_files_are_crossed_off() -> None:
    paths = ["/app/data/uploads/a", "data/uploads/b", "/app/data/../data/c", "/app/data/deep/d"]
    named = NamedFiles(inventory(data="/app/data", deep="/app/data/deep"), paths)
    for name in ("uploads/a", "uploads/b", "c", "uploads/more"):
        named.in_volume("p_data")(name)
    assert "1 of 4 files" in (named.warning() or "")
    assert (named.warning() or "").endswith(": d")
    named.in_volume("p_deep")("d")
    assert named.warning() is None


def test_named_files_outside_of_every_volume_are_missing() -> None:
    named = NamedFiles(inventory(data="/app/data"), ["s3://bucket/x", "/app/database/y"])
    assert "2 of 2 files" in (named.warning() or "")
    named.in_volume("p_other")("x")
    assert "2 of 2 files" in (named.warning() or "")


def test_configuration_keeps_its_paths(tmp_path: Path) -> None:
    project, other = tmp_path / "project", tmp_path / "other"
    files = [
        project / "compose.yaml",
        project / "env" / ".env",
        other / ".env",
        other / "x" / ".env",
    ]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(file))
    named = dict(configuration_files(stack(project, *files, files[0])))
    assert named == {
        "config/compose.yaml": files[0],
        "config/env/.env": files[1],
        "config/elsewhere/.env": files[2],
        "config/elsewhere/2-.env": files[3],
    }
    (tmp_path / "backup").mkdir()
    members = list(store_configuration(stack(project, *files), tmp_path / "backup", print))
    for member in members:
        stored = (tmp_path / "backup" / member.name).read_text()
        assert stored == member.detail["path"] == str(named[member.name])


def test_configuration_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OwctlError, match="Cannot read"):
        list(store_configuration(stack(tmp_path, tmp_path / "gone.yaml"), tmp_path, print))


NAMING = """
services:
  web:
    image: web
    env_file: [web.env, {path: /nowhere/absent.env, required: false}]
    secrets: [token]
    configs: [settings, folder, inline]
secrets:
  token: {file: secrets/token}
  unused: {file: secrets/unused}
configs:
  settings: {file: ../settings.json}
  folder: {file: folder}
  inline: {content: text}
"""


def test_files_that_the_compose_files_name_are_stored(tmp_path: Path) -> None:
    project, warnings = tmp_path / "project", []
    for name in ("web.env", "secrets/token", "secrets/unused", "../settings.json", "folder/x"):
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"A={name}")
    (project / "compose.yaml").write_text(NAMING)
    loaded = load(Settings.load(Flags(), {}, project))
    (tmp_path / "backup").mkdir()
    members = list(store_configuration(loaded, tmp_path / "backup", warnings.append))
    assert [member.name for member in members] == [
        "config/compose.yaml",
        "config/web.env",
        "config/secrets/token",
        "config/elsewhere/settings.json",
    ]
    stored = tmp_path / "backup" / "config" / "secrets" / "token"
    assert stored.read_text() == "A=secrets/token"
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    (warning,) = warnings
    assert "folder" in warning
    assert "is no file" in warning


def test_parts() -> None:
    assert chosen_parts(None) == {"db", "files", "redis", "config"}
    assert chosen_parts("db, files") == {"db", "files"}
    for text in ("", ",", "db,everything"):
        with pytest.raises(UsageError):
            chosen_parts(text)
