"""``owctl export`` of an old database, on a terminal and beside it."""

import os
import re
import select
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import OWCTL, clean_environment, owctl
from tests.migrate_sources.builder import ADMIN, Builder

pytestmark = pytest.mark.e2e
PATIENCE_SECONDS = 60


@pytest.fixture
def database(tmp_path: Path) -> Path:
    builder = Builder(tmp_path / "webui.db")
    builder.user(ADMIN)
    builder.chats(300, 5_000)
    return builder.close().path


def on_a_terminal(*arguments: str | Path, cwd: Path) -> str:
    """Run owctl with stderr on a pseudo-terminal; returns what is drawn there."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [str(OWCTL), *map(str, arguments)],
        cwd=cwd,
        env=clean_environment(TERM="xterm", NO_COLOR="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], PATIENCE_SECONDS)[0]:
            try:
                data = os.read(ours, 4096)
            except OSError:
                break
            shown += data
        assert process.wait(timeout=PATIENCE_SECONDS) == 0, shown.decode()
    os.close(ours)
    return shown.decode()


def test_a_terminal_sees_rows_and_rate(database: Path, tmp_path: Path):
    arguments = ("export", "user", "chat", "--from", database, "--output", "out/")
    (tmp_path / "out").mkdir()
    shown = on_a_terminal(*arguments, cwd=tmp_path)
    assert "Exporting 2/2" in shown
    assert re.search(r"300 of 300 rows \(100 %\), [\d,]+ rows/s", shown)
    # One table to stdout, which goes into a file or a pipe.
    shown = on_a_terminal("export", "chat", "--from", database, cwd=tmp_path)
    assert "300 of 300 rows" in shown


def test_beside_a_terminal_a_line_a_table_is_enough(database: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    done = owctl("export", "user", "chat", "--from", database, "--output", "out/", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rows/s" not in done.stderr
    assert done.stdout.splitlines() == ["out/user.csv: 1 rows", "out/chat.csv: 300 rows"]
