"""What owctl answers to a shell that completes; tests/e2e/test_completion.py asks from real shells."""

import subprocess
import sys

import pytest

from owctl.cli import cli, run
from owctl.commands.completion import offers
from owctl.context import Context

NEWEST, OLDER = "20250202T031500Z-9f3a1c", "20250131T031500Z-00ff00"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "compose.yaml").write_text(
        "services:\n  web:\n    image: a\n  rust-backend:\n    image: b\n"
        "  rare:\n    image: c\n    profiles: [more]\n"
    )
    for name in (NEWEST, OLDER, "20250101T000000Z-abcdef.partial"):
        (tmp_path / "backups" / name).mkdir(parents=True)
        (tmp_path / "migrations" / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def values(folder):
    def ask(line: str, shell: str = "bash") -> list[str]:
        found = offers(cli, f"owctl {line}", shell, Context({}, folder))
        return [offer.split("\t")[1] for offer in found]

    return ask


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sta", ["start", "status", "stats"]),
        ("--pro", ["--project-dir", "--project-name", "--profile"]),
        ("status --fo", ["--format"]),
        ("status --format ", ["table", "json"]),
        ("status --format=j", ["json"]),
        ("doctor --ignore dis", ["disk"]),
        ("logs ", ["web", "rust-backend"]),
        ("--profile more logs r", ["rust-backend", "rare"]),
        ("logs ba", ["backend"]),
        ("logs web", ["web"]),
        ("stop web ", ["rust-backend"]),
        ("FOO ", None),
        ("backup ver", ["verify"]),
        ("backup --quies", ["--quiesce"]),
        ("backup --only db,f", ["db,files"]),
        ("backup verify ", ["latest", NEWEST, OLDER]),
        ("backup push /mnt 202501", [OLDER]),
        ("restore ", ["undo", "finish", "resume", "status", "latest", NEWEST, OLDER]),
        (f"restore {NEWEST} 2025", [OLDER]),
        ("restore --dry-run la", ["latest"]),
        ("migrate rollback ", [NEWEST, OLDER]),
        ("backup verify --output /no/such/folder ", []),
        ("-C /no/such/folder logs ", []),
        ("-f missing.yaml logs ", []),
        ("completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_what_is_offered(values, line, expected):
    if expected is None:
        with pytest.raises(Exception, match="no command"):
            values(line)
    else:
        assert values(line) == expected


def test_the_folder_that_the_line_names_counts(values, folder):
    (folder / "other").mkdir()
    (folder / "other" / "compose.yaml").write_text("services:\n  worker:\n    image: a\n")
    assert values("-C other logs ") == ["worker"]
    assert values(f"--project-dir={folder}/other restart w") == ["worker"]
    assert values("-f other/compose.yaml logs ") == ["worker"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [("-C ", "dir"), ("-f ", "file"), ("backup --output ", "dir"), ("restore ./", "file"),
     ("restore x --identity ", "file"), ("migrate ", "file"), ("migrate --uploads ", "dir")],
)  # fmt: skip
def test_files_and_folders_are_left_to_the_shell(folder, line, kind):
    found = offers(cli, f"owctl {line}", "bash", Context({}, folder))
    assert found[-1].split("\t")[0] == kind


def test_fish_gets_the_whole_word(values):
    assert values("status --format=j", "fish") == ["--format=json"]


@pytest.mark.parametrize("line", ["no-such-command x", 'logs "unfinished', "", "owctl"])
def test_what_goes_wrong_is_not_said(tmp_path, monkeypatch, capfd, line):
    (tmp_path / "compose.yaml").write_text("services: [\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("_OWCTL_COMPLETE", "bash")
    monkeypatch.setenv("COMP_LINE", f"owctl {line}")
    assert run([]) in (0, 1)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("line", ["", "logs ", "restore ", "backup --k"])
def test_an_answer_imports_nothing_that_takes_long(folder, line):
    code = (
        "import sys; from owctl.cli import run; run([]); "
        "print(sorted({'docker', 'requests', 'rich', 'pydantic', 'psycopg', 'zstandard'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True,
        env={"_OWCTL_COMPLETE": "bash", "COMP_LINE": f"owctl {line}"},
    )  # fmt: skip
    assert done.stdout.count("plain\t") > 1
    assert done.stdout.splitlines()[-1] == "[]"
