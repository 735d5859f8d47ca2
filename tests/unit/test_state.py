"""The state of a project: whole or not there, its owner's, and clear where it is somebody else's."""

import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from owctl.backup import catalogue
from owctl.backup.create import interlude_record
from owctl.backup.manifest import MANIFEST_NAME
from owctl.backup.member_file import write_small
from owctl.backup.publish import partial_folder
from owctl.backup.restore.configuration import stage_files
from owctl.backup.restore.source import ConfigContent
from owctl.backup.schedule.schedule import Schedule, daily, now_text, write_schedule
from owctl.errors import OwctlError
from owctl.migrate.folder import new_folder, write_document
from owctl.project import history, private_file, setup_diff, upgrade_record
from owctl.project.ownership import remember_adoption
from owctl.project.setup_diff import SHIPPED
from owctl.project.state import StateFile

NOTE = StateFile[str](
    "note.json",
    parse=lambda document: str(document["text"]),
    render=lambda text: {"text": text},
    damaged="The note, {path}, is damaged ({kind}: {error}).",
    remedy="rm {path}",
    cannot="Cannot {action} the note, {path}",
)
OWNER = (12345, 12346)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def owner_of(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


def test_written_read_and_removed(tmp_path: Path) -> None:
    assert NOTE.read(tmp_path) is None
    assert not NOTE.exists(tmp_path)
    NOTE.remove(tmp_path)
    assert list(tmp_path.iterdir()) == []

    NOTE.write(tmp_path, "ä {braces}")
    NOTE.write(tmp_path, "second")

    assert NOTE.exists(tmp_path)
    assert NOTE.read(tmp_path) == "second"
    assert json.loads(NOTE.path(tmp_path).read_text()) == {"schema": 1, "text": "second"}
    assert [path.name for path in (tmp_path / ".owctl").iterdir()] == ["note.json"]
    NOTE.remove(tmp_path)
    NOTE.remove(tmp_path)
    assert NOTE.read(tmp_path) is None


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        NOTE.write(tmp_path, "first")
        NOTE.path(tmp_path).chmod(0o644)
        NOTE.write(tmp_path, "second")
    finally:
        os.umask(old)
    assert mode_of(tmp_path / ".owctl") == 0o700
    assert mode_of(NOTE.path(tmp_path)) == 0o600


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_crash_before_the_file_has_its_name_leaves_the_old_one(tmp_path: Path, call: str) -> None:
    NOTE.write(tmp_path, "old")
    script = f"""
import os, pathlib
from tests.unit.test_state import NOTE
def die(*_):
    os._exit(9)
{"os.fsync" if call == "fsync" else "pathlib.Path.replace"} = die
NOTE.write(pathlib.Path({str(tmp_path)!r}), "new")
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == 9
    assert NOTE.read(tmp_path) == "old"
    NOTE.write(tmp_path, "newest")
    assert NOTE.read(tmp_path) == "newest"


def test_file_and_folders_are_synced_before_write_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    real = os.fsync

    def watch(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(private_file.os, "fsync", watch)
    NOTE.write(tmp_path, "text")

    folder = tmp_path / ".owctl"
    assert [path if path.is_dir() else path.parent for path in synced] == [tmp_path, folder, folder]
    # The file before it has its name, the name afterwards.
    assert synced[1].name.startswith(".note.json.owctl-")
    synced.clear()
    NOTE.remove(tmp_path)
    assert synced == [folder]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"text": "no schema"}', '{"schema": 2, "text": ""}', '{"schema": 1}'],
)
def test_one_that_is_damaged_says_what_to_do(tmp_path: Path, text: str) -> None:
    NOTE.write(tmp_path, "")
    path = NOTE.path(tmp_path)
    path.write_text(text)
    with pytest.raises(OwctlError, match=r"The note, .* is damaged \(\w+: .+\)\.") as caught:
        NOTE.read(tmp_path)
    assert caught.value.hint == f"rm {path}"


def test_a_full_disk_keeps_the_old_one_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    NOTE.write(tmp_path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(private_file.os, "fsync", full)
        with pytest.raises(OwctlError, match=r"Cannot write the note, .*: No space left") as caught:
            NOTE.write(tmp_path, "new")
    assert "free some space" in (caught.value.hint or "")
    assert NOTE.read(tmp_path) == "old"
    assert [path.name for path in (tmp_path / ".owctl").iterdir()] == ["note.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_first_belongs_to_the_folders_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, *OWNER)
    NOTE.write(tmp_path, "first")
    NOTE.write(tmp_path, "second")
    assert owner_of(tmp_path / ".owctl") == OWNER
    assert owner_of(NOTE.path(tmp_path)) == OWNER


def publish_backup(folder: Path) -> None:
    with partial_folder(folder / "backups", "20250101T000000Z-aaaaaa") as backup:
        (backup.folder / "volumes").mkdir(mode=0o700)
        write_small(backup.folder, "volumes/uploads.tar", b"")
        (backup.folder / MANIFEST_NAME).touch(mode=0o600)
        catalogue.write_record(backup.publish(), catalogue.now("ok"))


def migrate(folder: Path) -> None:
    migration = new_folder(folder)
    write_document(migration / "journal.json", {})


def interlude(folder: Path) -> None:
    changed = interlude_record.Changed("id", "p-web-1", "web")
    interlude_record.write_record(folder, interlude_record.Record("p", "e", stopped=(changed,)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    "write",
    [
        lambda folder: history.record(folder, "start", "done"),
        lambda folder: remember_adoption(folder, "p", ["/elsewhere"]),
        lambda folder: upgrade_record.write_record(folder, upgrade_record.Record()),
        lambda folder: SHIPPED.write(folder, setup_diff.Record("1", {})),
        lambda folder: write_schedule(
            folder, Schedule("p", daily("02:00"), "crontab", ("owctl",), None, (), now_text())
        ),
        lambda folder: stage_files(folder, "id", [ConfigContent(".env", ".env", lambda: b"")]),
        interlude,
        publish_backup,
        migrate,
    ],
)
def test_all_that_root_makes_first_is_the_users_alone(
    tmp_path: Path, write: Callable[[Path], object]
) -> None:
    os.chown(tmp_path, *OWNER)
    write(tmp_path)
    made = list(tmp_path.rglob("*"))
    assert made
    assert {path: owner_of(path) for path in made} == dict.fromkeys(made, OWNER)
    assert {path: mode_of(path) & 0o077 for path in made} == dict.fromkeys(made, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_where_nothing_can_be_given_away_it_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    os.chown(tmp_path, *OWNER)
    monkeypatch.setattr(os, "chown", refuse)
    NOTE.write(tmp_path, "on a share that maps root to nobody")
    publish_backup(tmp_path)
    assert owner_of(NOTE.path(tmp_path)) == (0, 0)
    assert NOTE.exists(tmp_path)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that other users reach: pytest's own are closed to them by each new run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


CALLS = {
    "NOTE.read(folder)": "Cannot read {folder}/.owctl/note.json: ",
    "NOTE.exists(folder)": "Cannot read {folder}/.owctl/note.json: ",
    "NOTE.write(folder, 'x')": "Cannot write the note, {folder}/.owctl/note.json: ",
    "NOTE.remove(folder)": "Cannot remove the note, {folder}/.owctl/note.json: ",
    "check_folder(folder)": "Cannot read {folder}/.owctl: ",
}


def as_other(folder: Path, *calls: str) -> list[list[str]]:
    """Return for each call how it ended for another user: its error's kind, code, message, hint."""
    # All is imported before, as that user may not read where owctl lies.
    script = f"""
import json, os, pathlib
from owctl.errors import OwctlError
from owctl.project.state import check_folder
from tests.unit.test_state import NOTE
os.setgroups([]); os.setgid({OWNER[1]}); os.setuid({OWNER[0]})
folder = pathlib.Path({str(folder)!r})
ends = []
for call in {calls!r}:
    try:
        ends.append([str(eval(call))])
    except OwctlError as error:
        ends.append([type(error).__name__, str(error.exit_code), error.message, error.hint])
print(json.dumps(ends))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_root_made_is_told_with_the_way_out(shared: Path) -> None:
    NOTE.write(shared, "root's")
    os.chown(shared, *OWNER)

    way_out = f"sudo chown -R 12345:12346 {shared}/.owctl"
    why = f"Permission denied; {shared}/.owctl belongs to root, this is user 12345."
    for end, what in zip(as_other(shared, *CALLS), CALLS.values(), strict=True):
        assert end == ["StateRefused", "1", what.format(folder=shared) + why, way_out]
    subprocess.run(way_out.split()[1:], check=True)
    assert as_other(shared, *CALLS) == [["root's"], ["True"], ["None"], ["None"], ["None"]]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_single_file_that_root_made_is_named(shared: Path) -> None:
    os.chown(shared, *OWNER)
    NOTE.write(shared, "root's")
    os.chown(NOTE.path(shared), 0, 0)

    refused, looked = as_other(shared, "NOTE.read(folder)", "check_folder(folder)")

    assert refused[0] == "StateRefused"
    assert f"{NOTE.path(shared)} belongs to root" in refused[2]
    assert refused[3] == f"sudo chown -R 12345:12346 {shared}/.owctl"
    assert looked == ["None"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_in_somebody_elses_project_it_is_theirs_to_run(shared: Path) -> None:
    NOTE.write(shared, "root's")
    (end,) = as_other(shared, "NOTE.read(folder)")
    assert end[3] == f"the command as root, who owns {shared}"
