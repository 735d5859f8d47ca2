"""A restore into nothing: what is written, what is missing, and what is in the way."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import remove_everything
from engine_helpers import write_compose_file

from owctl.backup.catalogue import look_at
from owctl.backup.create.run import BackupRequest, create_backup
from owctl.backup.restore.empty_machine import (
    check_files,
    is_new,
    restore_anew,
    was_begun,
    write_configuration,
)
from owctl.backup.restore.plan import RestoreRequest
from owctl.backup.restore.source import BackupSource, ConfigContent
from owctl.compose.loader import load
from owctl.compose.model import Build, Service, Stack, Volume
from owctl.engine.connection import Engine
from owctl.engine.execution import run
from owctl.engine.volumes import ensure_volume
from owctl.errors import BackupInvalid, ImageMissing, Interrupted, OwctlError, UsageError
from owctl.lifecycle.services import Services
from owctl.progress import Event, ignore
from owctl.settings import Flags, Settings

pytestmark = pytest.mark.engine
REQUEST = RestoreRequest(timeout_seconds=30)


class Configured:
    """A source that has a configuration, and nothing else."""

    id, created_at, database, volumes = "made-up", "2025-01-31T03:15:00Z", None, ()

    def __init__(self, folder: Path, **files: str) -> None:
        self.paths = (folder / self.id,)
        self.verified = 0
        self.config = tuple(
            ConfigContent(f"config/{name}", None if "elsewhere" in name else name, text.encode)
            for name, text in files.items()
        )

    def verify(self, _: object) -> None:
        self.verified += 1


def test_the_configuration_is_written_once_and_over_nothing(tmp_path: Path):
    files = {".env": "A=secret", "compose.yaml": "services: {}", "sub/more.yaml": "x: 1"}
    source = Configured(tmp_path, **files, **{"elsewhere/x.yaml": "y: 1"})
    for _ in range(2):
        found = write_configuration(tmp_path, source)
        assert found.compose_files == ("compose.yaml", "sub/more.yaml")
        assert found.elsewhere == ("config/elsewhere/x.yaml",)
        assert {name: (tmp_path / name).read_text() for name in files} == files
        modes = [(tmp_path / name).stat().st_mode & 0o777 for name in files]
        # Nothing says who may read them; what is no secret is opened once the stack can be read.
        assert modes == [0o600, 0o600, 0o600]
        assert was_begun(tmp_path)
    (tmp_path / "compose.yaml").write_text("services: {mine: }")
    with pytest.raises(OwctlError, match=r"compose\.yaml is there already"):
        write_configuration(tmp_path, source)
    assert (tmp_path / "compose.yaml").read_text() == "services: {mine: }"


@pytest.mark.parametrize("name", ["../evil.yaml", "/etc/evil.yaml", "a/../../b", ".owctl/x"])
def test_files_that_lead_out_of_the_folder(tmp_path: Path, name: str):
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(BackupInvalid, match="not in the project's folder"):
        write_configuration(folder, Configured(tmp_path, **{"compose.yaml": "", name: "x"}))
    assert list(folder.iterdir()) == []


def test_other_compose_files_than_the_backups(make_stack, sleeper, tmp_path: Path):
    stack: Stack = make_stack(sleeper())
    source = Configured(tmp_path, **{"compose.yaml": "", "compose.demo.yaml": "", ".env": ""})
    with pytest.raises(UsageError, match=r"here, compose\.yaml would be used") as caught:
        check_files(stack, source)
    assert "-f compose.yaml -f compose.demo.yaml restore" in (caught.value.hint or "")
    names = ("compose.yaml", "compose.demo.yaml")
    check_files(replace(stack, config_files=tuple(tmp_path / name for name in names)), source)


def test_images_that_cannot_be_had(engine: Engine, make_stack, project: str, tmp_path: Path):
    built = Service("web", image=f"{project}-web:latest", build=Build(tmp_path / "gone"))
    source = Configured(tmp_path, **{"compose.yaml": ""})
    told: list[object] = []
    stack = make_stack(built, volumes=("data",))
    with pytest.raises(OwctlError, match="Images are missing that are built") as caught:
        restore_anew(engine, stack, source, REQUEST, told.append, project_before="other")
    assert str(tmp_path / "gone") in caught.value.details[0]
    assert "same command goes on" in caught.value.details[-1]
    (warning,) = [each.text for each in told if each.state == "warning"]
    assert f"of the project other; here it is {project}" in warning
    assert source.verified == 1
    assert engine.api.volumes(filters={"name": f"{project}_data"})["Volumes"] in ([], None)

    pulled = make_stack(Service("web", image=f"localhost:1/{project}:none"), volumes=("data",))
    with pytest.raises(ImageMissing) as missing:
        restore_anew(engine, pulled, source, REQUEST)
    assert "same command goes on" in missing.value.details[-1]
    assert is_new(engine, pulled)


def test_what_is_new(engine: Engine, make_stack, sleeper, project: str, tmp_path: Path):
    stack: Stack = make_stack(sleeper(), volumes=("data",))
    assert is_new(engine, stack)
    ensure_volume(engine, stack, Volume("data", f"{project}_data"))
    assert not is_new(engine, stack)
    write_configuration(tmp_path, Configured(tmp_path, **{"compose.yaml": ""}))
    assert is_new(engine, stack)


OLD = """
name: @PROJECT@
services:
  postgres:
    image: owctl-demo-postgres:latest
    environment: {POSTGRES_PASSWORD: correct-horse, POSTGRES_INITDB_ARGS: --no-sync}
    # A level too high: the data lies in the image's own volume.
    volumes: ["postgres_data:/var/lib/postgresql"]
  keeper:
    image: @IMAGE@
    command: sleep 3600
    init: true
    network_mode: none
    stop_grace_period: 1s
    volumes: [/keep]
volumes: {postgres_data: }
"""


@pytest.fixture
def gone(engine: Engine, project: str, base_image: str, tmp_path: Path) -> tuple[Stack, Path]:
    """A stack of which its files and a backup are left."""
    text = OLD.replace("@PROJECT@", project).replace("@IMAGE@", base_image)
    write_compose_file(tmp_path, text)
    stack = load(Settings.load(Flags(), os.environ, tmp_path))
    services = Services(engine, stack, ignore, 60)
    services.start(stack.services)
    said = run(engine, f"{project}-keeper-1", ["sh", "-c", "echo mine > /keep/a"])
    assert said.exit_code == 0
    services.server().ask("CREATE TABLE t AS SELECT generate_series(1, 500)")
    made = create_backup(engine, stack, BackupRequest())
    volumes = [each.name for each in made.manifest.members if each.kind == "volume"]
    # The database's own volumes are not archived: it is dumped.
    assert volumes == ["volumes/keeper-keep.tar.zst"]
    remove_everything(engine, project)
    return stack, made.path


def test_the_same_again_after_an_interrupt(engine: Engine, gone: tuple[Stack, Path]):
    stack, backup = gone
    services = Services(engine, stack, ignore, 60)

    def restore(moment: str = "") -> None:
        def receive(event: Event) -> None:
            if moment and (event.kind == moment or event.text.startswith(moment)):
                raise KeyboardInterrupt

        restore_anew(engine, stack, BackupSource(look_at(backup)), REQUEST, receive)

    # While the database starts, is loaded, and put in place.
    for moment in ("ready", "loading", "putting the restored one"):
        with pytest.raises(Interrupted) as caught:
            restore(moment)
        assert any("The same command goes on" in line for line in caught.value.details), moment
        assert services.running() == ()
        assert is_new(engine, stack)
    restore()
    assert services.running() == ("postgres", "keeper")
    assert services.server().ask("SELECT count(*) FROM t") == [["500"]]
    kept = run(engine, f"{stack.project}-keeper-1", ["cat", "/keep/a"])
    assert kept.stdout == b"mine\n"
    assert not was_begun(stack.working_dir)


def test_what_was_started_since_is_not_replaced_unasked(
    engine: Engine, make_stack, sleeper, tmp_path: Path
):
    write_configuration(tmp_path, Configured(tmp_path, **{"compose.yaml": ""}))
    stack: Stack = make_stack(sleeper())
    assert is_new(engine, stack)
    Services(engine, stack, ignore, 30).start(["web"])
    assert not is_new(engine, stack)
