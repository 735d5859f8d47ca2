"""A restore of the database: all or nothing, a way back from everywhere, and what is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from backup_project import Project

from owctl.backup import manifest as manifests
from owctl.backup.catalogue import look_at
from owctl.backup.create.run import BackupRequest, create_backup
from owctl.backup.manifest import MANIFEST_NAME, Manifest
from owctl.backup.restore.journal import Journal
from owctl.backup.restore.plan import RestoreRequest, plan_restore
from owctl.backup.restore.run import (
    RestoreOutcome,
    finish_restore,
    resume_restore,
    run_restore,
    undo_restore,
)
from owctl.backup.restore.source import BackupSource
from owctl.engine.connection import Engine
from owctl.engine.containers import inspect_container, remove_container
from owctl.engine.execution import open_exec
from owctl.errors import BackupInvalid, ImageMissing, Interrupted, OwctlError
from owctl.lifecycle.services import Services
from owctl.progress import Event, Receiver, ignore

pytestmark = pytest.mark.engine
REQUEST = RestoreRequest(parts=frozenset({"db"}), safety_backup=False, timeout_seconds=60)
STATE = "SELECT count(*), md5(string_agg(c::text, '' ORDER BY id)) FROM chat c"


@pytest.fixture(scope="module")
def stack(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(engine, tmp_path_factory.mktemp("folder"))
    try:
        project.start_database()
        request = BackupRequest(parts=frozenset({"db", "config"}))
        project.backup = create_backup(engine, project.stack, request).path
        project.before = project.sql(STATE)
        project.sql("DELETE FROM chat WHERE id < '5'; UPDATE chat SET chat = '{}' WHERE id > '9';")
        project.after = project.sql(STATE)
        yield project
    finally:
        project.remove()


@pytest.fixture
def project(engine: Engine, stack: Project) -> Iterator[Project]:
    """The project as it is after the backup; undone afterwards, whatever a test began."""
    yield stack
    journal = Journal.read(stack.folder)
    if journal is not None:
        undo_restore(engine, stack.stack, journal, timeout_seconds=60)
    assert_untouched(stack)


def assert_untouched(project: Project) -> None:
    assert project.sql(STATE) == project.after
    assert project.sql("SELECT datname FROM pg_database WHERE datname LIKE 'ow\\_%'") == ""
    assert not Journal.path(project.folder).exists()


def restore(
    project: Project,
    backup: Path | None = None,
    request: RestoreRequest = REQUEST,
    receive: Receiver = ignore,
) -> RestoreOutcome:
    source = BackupSource(look_at(backup or project.backup))
    plan = plan_restore(project.engine, project.stack, source, request, receive)
    return run_restore(project.engine, project.stack, plan, request, receive)


def edited(project: Project, folder: Path, edit: Callable[[Manifest], Manifest]) -> Path:
    """Copy the backup with another manifest."""
    copy = folder / project.backup.name
    copy.mkdir()
    for path in project.backup.iterdir():
        if path.name not in (MANIFEST_NAME, "config", "verification.json"):
            (copy / path.name).symlink_to(path)
    manifest = manifests.read(project.backup)
    members = tuple(member for member in manifest.members if member.kind == "database")
    document = manifests.dump(edit(replace(manifest, members=members)))
    (copy / MANIFEST_NAME).write_bytes(document)
    return copy


def with_detail(manifest: Manifest, **values: object) -> Manifest:
    (member,) = manifest.members
    return replace(manifest, members=(replace(member, detail={**member.detail, **values}),))


def when(text: str, act: Callable[[], None]) -> Receiver:
    """Return a receiver that acts once, when the database's progress begins with the text."""
    acted: list[bool] = []

    def receive(event: Event) -> None:
        if not event.kind and event.text.startswith(text) and not acted:
            acted.append(True)
            act()

    return receive


def raise_(error: BaseException) -> None:
    raise error


def test_there_back_and_to_stay(engine: Engine, project: Project) -> None:
    outcome = restore(project)
    assert project.sql(STATE) == project.before
    assert outcome.rows == {"public.user": 50, "public.chat": 2000, "public.file": 2}
    assert outcome.kept_database_bytes
    with pytest.raises(OwctlError, match="not finished yet") as caught:
        restore(project)
    assert "owctl restore finish" in (caught.value.hint or "")

    journal = Journal.read(project.folder)
    undo_restore(engine, project.stack, journal, timeout_seconds=60)
    assert_untouched(project)

    restore(project)
    journal = Journal.read(project.folder)
    assert journal is not None
    # As after a kill between the swap and the start of the services.
    journal = replace(journal, running=(*journal.running, "web"))
    told: list[Event] = []
    finish_restore(engine, project.stack, journal, told.append, timeout_seconds=60)
    warnings = [event.text for event in told if event.state == "warning"]
    assert warnings == ["Ran before the restore, and not now: web (owctl start)."]
    assert project.sql(STATE) == project.before
    assert project.sql("SELECT datname FROM pg_database WHERE datname LIKE 'ow\\_%'") == ""
    project.sql("DELETE FROM chat WHERE id < '5'; UPDATE chat SET chat = '{}' WHERE id > '9';")


def test_a_safety_backup_first(project: Project) -> None:
    outcome = restore(project, request=replace(REQUEST, safety_backup=True))
    path = Path(outcome.journal.safety_backup or "")
    manifest = manifests.read(path)
    assert manifest.label == f"before restore of {project.backup.name}"
    rows = next(m for m in manifest.members if m.kind == "database").detail["rows"]
    assert f"{rows['public.chat']}|" == project.after[: len(f"{rows['public.chat']}|")]


def test_a_safety_backup_that_fails(project: Project) -> None:
    blocker = project.folder / "backups"
    aside = blocker.rename(project.folder / "aside")
    blocker.write_text("no folder")
    try:
        with pytest.raises(OwctlError, match="safety backup failed") as caught:
            restore(
                project,
                aside / project.backup.name,
                replace(REQUEST, safety_backup=True),
            )
    finally:
        blocker.unlink()
        aside.rename(blocker)
    assert "Everything is as it was before." in caught.value.details
    assert_untouched(project)


def test_a_row_that_was_lost_on_the_way(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dump is what its hash says, and lacks a row that the manifest counted."""
    backup = edited(
        project,
        tmp_path,
        lambda m: with_detail(m, rows={**m.members[0].detail["rows"], "public.chat": 2001}),
    )
    with pytest.raises(BackupInvalid, match=r"public\.chat has 2000 rows"):
        restore(project, backup)
    # Were it not found by reading, it would be found by counting.
    monkeypatch.setattr(BackupSource, "verify", lambda *_: None)
    with pytest.raises(BackupInvalid, match="2000 rows after loading") as caught:
        restore(project, backup)
    assert "Everything is as it was before." in caught.value.details
    assert_untouched(project)


def test_a_member_that_is_damaged(project: Project, tmp_path: Path) -> None:
    backup = edited(project, tmp_path, lambda m: m)
    dump = backup / "postgres.dump.zst"
    data = bytearray(dump.read_bytes())
    data[len(data) // 2] ^= 1
    dump.unlink()
    dump.write_bytes(data)
    process = run_cli(project, str(backup), "--yes")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 7, stderr
    record = json.loads((backup / "verification.json").read_text())
    assert record["status"] == "failed"
    assert_untouched(project)


def test_a_newer_postgresql(project: Project, tmp_path: Path) -> None:
    backup = edited(project, tmp_path, lambda m: with_detail(m, server_version_number=990001))
    with pytest.raises(OwctlError, match="PostgreSQL 99") as caught:
        restore(project, backup)
    assert "image" in (caught.value.hint or "")
    assert_untouched(project)


def test_too_little_room(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BackupSource, "verify", lambda *_: None)
    backup = edited(
        project,
        tmp_path,
        lambda m: replace(m, members=(replace(m.members[0], content_size_bytes=10**15),)),
    )
    with pytest.raises(OwctlError, match=r"1000\.0 TB are needed .* are free"):
        restore(project, backup)
    assert_untouched(project)


def test_a_part_that_the_backup_lacks(project: Project) -> None:
    with pytest.raises(OwctlError, match="lacks files") as caught:
        restore(project, request=replace(REQUEST, parts=frozenset({"db", "files"})))
    assert (caught.value.hint or "").endswith("--only db,config")


def test_without_a_yes(project: Project) -> None:
    process = run_cli(project, project.backup.name)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--yes" in stderr
    assert_untouched(project)


def everything_in(terminal: int) -> str:
    """Return what was written to a terminal; one reading returns 4 kB of it, at most."""
    os.set_blocking(terminal, False)
    shown = b""
    with suppress(BlockingIOError):
        while True:
            shown += os.read(terminal, 1 << 16)
    return shown.decode()


def test_a_no_on_the_terminal(project: Project) -> None:
    ours, theirs = os.openpty()
    try:
        os.write(ours, b"n\n")
        with run_cli(project, project.backup.name, stdin=theirs, stderr=theirs) as process:
            assert process.wait(timeout=60) == 1
        shown = everything_in(ours)
    finally:
        os.close(ours)
        os.close(theirs)
    assert f"Replace db of {project.name} by {project.backup.name}?" in shown
    assert "2052 rows" in shown
    assert_untouched(project)


def test_what_the_engine_would_start_again_is_removed(engine: Engine, project: Project) -> None:
    services = Services(engine, project.stack, ignore, timeout_seconds=60)
    states = {}
    for policy in ("unless-stopped", "always"):
        identity = project.start("redis", RestartPolicy={"Name": policy})
        assert set(services.running()) == {"postgres", "redis"}
        services.stop(keep={"postgres"})
        container = inspect_container(engine, identity)
        states[policy] = None if container is None else container.state
        remove_container(engine, identity, force=True)
    assert states == {"unless-stopped": "exited", "always": None}
    assert services.running() == ("postgres",)


def test_an_image_without_which_the_stack_would_stay_down(engine: Engine, project: Project) -> None:
    """Its tag is gone; the container is there, and runs."""
    identity = project.start("rust-backend")
    before = project.stack
    reference = f"localhost:1/{project.name}:gone"
    backend = replace(before.services["rust-backend"], image=reference)
    stack = replace(before, services={**before.services, "rust-backend": backend})
    source = BackupSource(look_at(project.backup))
    plan = plan_restore(engine, stack, source, REQUEST)
    with pytest.raises(ImageMissing, match="rust-backend could not be started again") as caught:
        run_restore(engine, stack, plan, REQUEST)
    assert reference in caught.value.message
    container = inspect_container(engine, identity)
    assert container is not None
    assert f"docker tag {container.image_id} {reference}" in str(caught.value.hint)
    assert caught.value.details[-1] == "Nothing was restored, and nothing stopped."
    container = inspect_container(engine, identity)
    assert container is not None
    assert container.is_running
    remove_container(engine, identity, force=True)
    assert_untouched(project)


@pytest.mark.parametrize("moment", ["loading", "counting", "putting the restored one"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OwctlError("anything")])
def test_an_error_before_the_end(project: Project, moment: str, error: BaseException) -> None:
    receive = when(moment, lambda: raise_(error))
    expected = Interrupted if isinstance(error, KeyboardInterrupt) else OwctlError
    with pytest.raises(expected) as caught:
        restore(project, receive=receive)
    told = " ".join((caught.value.message, *caught.value.details))
    assert "verything is as it was before." in told
    assert_untouched(project)


def test_a_client_that_writes_all_the_while(engine: Engine, project: Project) -> None:
    argv = ["psql", "-X", "-q", "-U", "web", "chats"]
    with open_exec(engine, project.containers["postgres"], argv, stdin=True) as client:
        client.write(b"BEGIN; DELETE FROM chat; SELECT 'begun';\n")
        assert b"begun" in next(iter(client))[1]
        restore(project)
        assert project.sql(STATE) == project.before


def run_cli(
    project: Project,
    *arguments: str,
    stdin: int = subprocess.DEVNULL,
    stderr: int = subprocess.PIPE,
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "owctl", "-C", str(project.folder), "-p", project.name]
    words = (
        []
        if arguments[0] in ("undo", "finish", "resume")
        else ["--no-safety-backup", "--only", "db"]
    )
    return subprocess.Popen(
        [*command, "restore", *arguments, *words],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def kill_at(project: Project, moment: Callable[[str], bool], what: str = "", *options: str) -> str:
    """Kill a restore once the text of its journal says so; returns the phase that it is left in."""
    process = run_cli(project, what or project.backup.name, "--yes", *options)
    journal = Journal.path(project.folder)

    # Without a pause: some phases are over in milliseconds.
    while not (journal.exists() and moment(journal.read_text())):
        assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate(timeout=60)
    found = Journal.read(project.folder)
    assert found is not None
    return found.phase


@pytest.mark.parametrize("phase", ["staging", "staged", "swapping", "swapped"])
@pytest.mark.parametrize("way", ["undo", "resume"])
def test_a_kill(engine: Engine, project: Project, phase: str, way: str) -> None:
    names = ["staging", "staged", "swapping", "swapped"]
    # A short phase may be over before it is seen.
    wanted = [f'"phase": "{name}"' for name in names[names.index(phase) :]]

    def come(text: str) -> bool:
        return "ow_before" in text and any(words in text for words in wanted)

    assert kill_at(project, come) in names[names.index(phase) :]
    journal = Journal.read(project.folder)
    assert journal is not None
    if way == "undo":
        undo_restore(engine, project.stack, journal, timeout_seconds=60)
        assert_untouched(project)
        return
    resume_restore(
        engine, project.stack, journal, lambda paths: BackupSource(look_at(paths[0])), REQUEST
    )
    assert project.sql(STATE) == project.before
    found = Journal.read(project.folder)
    assert found is not None
    assert found.phase == "swapped"


def test_it_goes_on_as_it_was_told(engine: Engine, project: Project) -> None:
    """Without a backup first, and without starting what ran."""
    service = project.start("rust-backend")
    kill_at(project, lambda text: "ow_before" in text, "", "--no-start", "--timeout", "55")
    with run_cli(project, "resume") as process:
        assert process.wait(timeout=60) == 0
    assert project.sql(STATE) == project.before
    journal = Journal.read(project.folder)
    assert journal is not None
    assert (journal.phase, journal.safety_backup, journal.timeout_seconds) == ("swapped", None, 55)
    container = inspect_container(engine, service)
    assert container is not None
    assert container.state == "exited"
    remove_container(engine, service, force=True)
    undo_restore(engine, project.stack, replace(journal, running=()), timeout_seconds=60)
    assert_untouched(project)


@pytest.mark.parametrize("phase", ["staging", "swapping", "swapped"])
@pytest.mark.parametrize("way", ["undo", "resume"])
def test_one_that_an_earlier_version_was_killed_in(
    engine: Engine, project: Project, phase: str, way: str
) -> None:
    """Its journal has less in it."""
    names = ["staging", "staged", "swapping", "swapped"]
    wanted = [f'"phase": "{name}"' for name in names[names.index(phase) :]]
    kill_at(project, lambda text: "ow_before" in text and any(each in text for each in wanted))
    path = Journal.path(project.folder)
    document = json.loads(path.read_text())
    for name in ("started", "wants_safety_backup", "wants_start", "timeout_seconds"):
        del document[name]
    path.write_text(json.dumps(document))
    with run_cli(project, way, *(["--yes"] if way == "undo" else [])) as process:
        assert process.wait(timeout=100) == 0
    if way == "undo":
        assert_untouched(project)
        return
    assert project.sql(STATE) == project.before
    found = Journal.read(project.folder)
    assert found is not None
    assert found.phase == "swapped"


def test_a_kill_while_it_is_undone(engine: Engine, project: Project) -> None:
    restore(project)
    assert kill_at(project, lambda text: '"phase": "undoing"' in text, "undo") == "undoing"
    with pytest.raises(OwctlError, match="was interrupted") as caught:
        restore(project)
    assert caught.value.hint == "owctl restore undo"
    journal = Journal.read(project.folder)
    resume_restore(engine, project.stack, journal, lambda _: raise_(AssertionError()), REQUEST)
    assert_untouched(project)


def test_a_kill_while_it_is_finished(engine: Engine, project: Project) -> None:
    restore(project)
    assert kill_at(project, lambda text: '"phase": "finishing"' in text, "finish") == "finishing"
    journal = Journal.read(project.folder)
    with pytest.raises(OwctlError, match="may be gone already"):
        undo_restore(engine, project.stack, journal, timeout_seconds=60)
    finish_restore(engine, project.stack, journal, timeout_seconds=60)
    assert project.sql(STATE) == project.before
    assert project.sql("SELECT datname FROM pg_database WHERE datname LIKE 'ow\\_%'") == ""
    project.sql("DELETE FROM chat WHERE id < '5'; UPDATE chat SET chat = '{}' WHERE id > '9';")
