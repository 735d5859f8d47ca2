"""What docker-manage.sh saved is restored into a running stack, and can be undone."""

import gzip
import subprocess
from pathlib import Path

import pytest
from backup_project import Project

from owctl.backup.restore.journal import Journal
from owctl.backup.restore.legacy import open_source
from owctl.backup.restore.plan import RestoreRequest, plan_restore
from owctl.backup.restore.run import finish_restore, resume_restore, run_restore, undo_restore
from owctl.engine.archives import read_archive
from owctl.engine.connection import Engine
from owctl.engine.execution import run
from owctl.errors import OwctlError

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]
REQUEST = RestoreRequest(safety_backup=False, timeout_seconds=60)
ROWS = "SELECT count(*) FROM chat"


@pytest.fixture(scope="module")
def stack(engine: Engine, tmp_path_factory: pytest.TempPathFactory):
    project = Project(engine, tmp_path_factory.mktemp("folder"))
    try:
        project.start_database()
        project.start("rust-backend")
        yield project
    finally:
        project.remove()


def saved(project: Project, folder: Path) -> list[Path]:
    """Save as the script does: pg_dump to a file, the data folder as a compressed tar."""
    sql = folder / "db_backup_20250131_031500.sql"
    container = project.containers["postgres"]
    with sql.open("wb") as file:
        argv = ["docker", "exec", container, "pg_dump", "-U", "web", "chats"]
        subprocess.run(argv, stdout=file, check=True)
    shell(project, "tar czf /tmp/u.tar.gz -C /app/data .")
    with read_archive(project.engine, project.containers["rust-backend"], "/tmp/u.tar.gz") as tar:
        data = b"".join(tar)
    uploads = folder / "uploads_backup_20250131_031502.tar.gz"
    uploads.write_bytes(data[512 : 512 + int(data[124:135], 8)])
    return [sql, uploads]


def shell(project: Project, script: str) -> str:
    answer = run(
        project.engine, project.containers["rust-backend"], ["bash", "-euc", script], user="0:0"
    )
    assert answer.exit_code == 0, answer.stderr.decode()
    return answer.stdout.decode()


LISTING = "cd /app/data; find . -path './.owctl*' -prune -o -printf '%p %y %U %m %s %T+\n' | sort"


def test_both_files_there_and_back(stack: Project, tmp_path: Path):
    shell(stack, "cd /app/data; mkdir -p uploads; echo one >uploads/f1; echo two >'uploads/ü f2'")
    shell(stack, "cd /app/data; ln uploads/f1 aa-hard; chown -R 33:33 uploads; chmod 2750 uploads")
    shell(stack, "cd /app/data; touch -d 2020-01-01 uploads/f1; touch -d 2021-01-01 uploads .")
    files = saved(stack, tmp_path)
    rows = stack.sql(ROWS)
    listing = shell(stack, LISTING)
    stack.sql("DELETE FROM chat WHERE id < '5'")
    shell(stack, "cd /app/data; rm -r uploads aa-hard; echo later >later")
    changed, later = stack.sql(ROWS), shell(stack, LISTING)
    assert changed != rows

    source = open_source(files)
    plan = plan_restore(stack.engine, stack.stack, source, REQUEST)
    assert plan.parts == ("db", "files")

    journals = []

    def spy(_: object) -> None:
        journals.append(Journal.read(stack.folder))

    outcome = run_restore(stack.engine, stack.stack, plan, REQUEST, spy)
    assert outcome.rows["public.chat"] == int(rows)
    assert stack.sql(ROWS) == rows
    restored = shell(stack, LISTING)
    assert without_fractions(restored) == without_fractions(listing)
    staging = next(each for each in journals if each is not None and each.phase == "staging")
    assert (staging.backup_path, *staging.other_paths) == tuple(map(str, files))

    undo_restore(stack.engine, stack.stack, outcome.journal, timeout_seconds=60)
    assert stack.sql(ROWS) == changed
    assert shell(stack, LISTING) == later


def without_fractions(listing: str) -> list[str]:
    """An archive has whole seconds."""
    return [line.rpartition(".")[0] for line in listing.splitlines()]


def test_an_interrupted_one_is_resumed_from_both_files(stack: Project, tmp_path: Path):
    shell(stack, "echo kept >/app/data/kept")
    files = saved(stack, tmp_path)
    shell(stack, "rm /app/data/kept")
    plan = plan_restore(stack.engine, stack.stack, open_source(files), REQUEST)
    outcome = run_restore(stack.engine, stack.stack, plan, REQUEST)
    # As if it had been killed before the swap.
    undo_restore(stack.engine, stack.stack, outcome.journal, timeout_seconds=60)
    journal = outcome.journal.advance(stack.folder, "staging", database=None, volumes=())
    again = resume_restore(stack.engine, stack.stack, journal, open_source, REQUEST)
    assert again is not None
    assert shell(stack, "cat /app/data/kept") == "kept\n"
    finish_restore(stack.engine, stack.stack, again.journal, timeout_seconds=60)
    assert "owctl-restore" not in shell(stack, "ls -A /app/data")


def test_a_dump_that_fails_in_the_middle_changes_nothing(stack: Project, tmp_path: Path):
    (sql, _) = saved(stack, tmp_path)
    rows = stack.sql(ROWS)
    data = sql.read_bytes()
    broken = data.replace(b"FROM stdin;\n1\t", b"FROM stdin;\n1\tone\ttoo many\t", 1)
    assert broken != data
    sql.write_bytes(broken)
    plan = plan_restore(stack.engine, stack.stack, open_source([sql]), REQUEST)
    with pytest.raises(OwctlError, match="could not load the dump"):
        run_restore(stack.engine, stack.stack, plan, REQUEST)
    assert stack.sql(ROWS) == rows
    assert Journal.read(stack.folder) is None


def test_what_else_compresses_is_read_as_well(stack: Project, tmp_path: Path):
    _, uploads = saved(stack, tmp_path)
    uploads.write_bytes(gzip.compress(gzip.decompress(uploads.read_bytes()), 1))
    plan = plan_restore(stack.engine, stack.stack, open_source([uploads]), REQUEST)
    assert plan.parts == ("files",)
