"""Exporting the old backend's tables: every value as it was, no secret, whole files or none."""

import contextlib
import csv
import io
import json
import os
import resource
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from owctl.migrate.export.form import PsqlLines, csv_line
from tests.migrate_sources.builder import ADMIN, VERSIONS, Builder

OWCTL = Path(sys.executable).parent / "owctl"
NASTY = 'two\nlines\r\n"quoted", comma\t\\n \\. 😀 ü \u2028 \x01\x02 =1+1'
SECRETS = ("hash-of-a-password", "sk-api-key", "oauth-subject", "hooks.example.org", "sk-openai")


def owctl(folder: Path, *arguments: str, **options) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [OWCTL, "export", *arguments], cwd=folder, capture_output=True, check=False, **options
    )


def succeed(folder: Path, *arguments: str) -> bytes:
    result = owctl(folder, *arguments)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout


def csv_rows(data: bytes) -> list[dict[str, str]]:
    csv.field_size_limit(1 << 28)
    return list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))


def json_rows(data: bytes) -> list[dict]:
    return [json.loads(line) for line in data.decode().split("\n")[:-1]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with nothing but a database that holds every secret."""
    builder = Builder(tmp_path / "webui.db")
    settings = json.dumps({"ui": {"notifications": {"webhook_url": "https://hooks.example.org"}}})
    builder.add(
        "user", id=ADMIN, email="a@example.org", name=NASTY, api_key="sk-api-key",
        oauth_sub="oauth-subject", settings=settings, bio="",
    )  # fmt: skip
    builder.add("auth", id=ADMIN, email="a@example.org", password="hash-of-a-password")
    builder.add("config", id=1, data='{"openai": {"api_keys": ["sk-openai"]}}')
    builder.add("oauth_session", id="s", user_id=ADMIN, token="oauth-subject")
    builder.add("chat", id="1", user_id=ADMIN, title=NASTY, chat=json.dumps({"text": NASTY}))
    builder.add("chat", id="2", user_id=ADMIN, chat='{\n "pretty":\r\n [1, 2]\n}', pinned=1)
    builder.add("chat", id="3", user_id=ADMIN, chat=json.dumps({"text": "x" * 12_000_000}))
    builder.close()
    return tmp_path


def test_csv_gives_back_what_was_stored(folder: Path) -> None:
    data = succeed(folder, "chat", "--from", "webui.db")
    assert data.startswith(b"id,user_id,title,")
    first, second, third = csv_rows(data)
    assert first["title"] == NASTY
    assert json.loads(first["chat"]) == {"text": NASTY}
    assert second["chat"] == '{\n "pretty":\r\n [1, 2]\n}'
    assert len(third["chat"]) > 12_000_000
    assert (first["folder_id"], first["created_at"]) == ("", "1730000000")
    assert data.endswith(b"\r\n")
    assert b',""' in succeed(folder, "user", "--from", "webui.db")


def test_json_lines_hold_json_as_json(folder: Path) -> None:
    first, second, third = json_rows(
        succeed(folder, "chat", "--from", "webui.db", "--format", "jsonl")
    )
    assert (first["title"], first["chat"]) == (NASTY, {"text": NASTY})
    assert second["chat"] == {"pretty": [1, 2]}
    assert (first["pinned"], second["pinned"]) == (False, True)
    assert len(third["chat"]["text"]) == 12_000_000
    assert (first["folder_id"], first["created_at"]) == (None, 1_730_000_000)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("version", VERSIONS)
def test_no_secret_leaves_unless_asked_for(folder: Path, form: str, version: str) -> None:
    if version != "0.6.32":
        (folder / "webui.db").unlink()
        builder = Builder(folder / "webui.db", version)
        oauth = {"google": {"sub": "oauth-subject"}}
        settings = {"webhook_url": "https://hooks.example.org"}
        builder.add(
            "user", id=ADMIN, email="a", oauth=json.dumps(oauth), settings=json.dumps(settings)
        )
        builder.add("auth", id=ADMIN, email="a", password="hash-of-a-password")
        builder.add("config", id=1, data='["sk-openai"]')
        builder.add("api_key", id="k", user_id=ADMIN, key="sk-api-key", data='["sk-api-key"]')
        hook = {"channel_id": "c", "name": "n", "token": "sk-api-key"}
        builder.add("channel_webhook", id="w", user_id=ADMIN, **hook)
        builder.add("oauth_session", id="s", user_id=ADMIN, token="oauth-subject")
        builder.close()
    listed = json.loads(succeed(folder, "--list", "--json", "--from", "webui.db"))
    tables = [row["table"] for row in listed["tables"] if row["rows"] and row["table"] != "chat"]
    command = (*tables, "--from", "webui.db", "--format", form, "--output")
    result = owctl(folder, *command, "without/")
    assert result.returncode == 0, result.stderr.decode()
    without = b"".join(path.read_bytes() for path in (folder / "without").iterdir())
    assert not [secret for secret in SECRETS if secret.encode() in without]
    assert b"auth: without password" in result.stderr
    assert b"config: without data" in result.stderr
    succeed(folder, *command, "all/", "--with-secrets")
    everything = b"".join(path.read_bytes() for path in (folder / "all").iterdir())
    assert [secret for secret in SECRETS if secret.encode() in everything] == list(SECRETS)


def test_files_are_private_and_never_overwritten_unasked(folder: Path) -> None:
    succeed(folder, "user", "chat", "--from", "webui.db", "--format", "csv")
    files = [folder / "user.csv", folder / "chat.csv"]
    assert {path.name for path in folder.iterdir()} == {"webui.db", "user.csv", "chat.csv"}
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600, 0o600]
    before = files[1].read_bytes()
    files[0].unlink()
    files[1].write_bytes(b"mine")
    refused = owctl(folder, "user", "chat", "--from", "webui.db")
    assert refused.returncode == 2
    assert b"--force" in refused.stderr
    assert files[1].read_bytes() == b"mine"
    assert not files[0].exists()
    succeed(folder, "user", "chat", "--from", "webui.db", "--force")
    assert files[1].read_bytes() == before
    succeed(folder, "user", "--from", "webui.db", "--output", "people")
    assert (folder / "people").read_bytes() == files[0].read_bytes()


def test_what_is_no_file_is_never_replaced(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("webui.db")
    for name in ("pipe", "link"):
        result = owctl(folder, "user", "--from", "webui.db", "--force", "--output", name)
        assert result.returncode == 2
        assert b"no regular file" in result.stderr
    assert (folder / "pipe").is_fifo()
    assert (folder / "link").is_symlink()


def test_the_list_counts_rows(folder: Path) -> None:
    document = json.loads(succeed(folder, "--list", "--json", "--from", "webui.db"))
    assert (document["schema"], document["project"]) == (1, None)
    assert {"table": "chat", "rows": 3} in document["tables"]
    lines = succeed(folder, "--list", "--from", "webui.db").decode().splitlines()
    assert ["chat", "3"] in [line.split() for line in lines]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("usr",), "Try: owctl export user"),
        (("Chats",), "Try: owctl export chat"),
        (("nothing-like-it",), "Try: owctl export --list"),
        ((), "Which tables?"),
        (("user", "--list"), "--list takes no tables"),
        (("user", "--json"), "--json goes with --list"),
        (("user", "--from-container", "x"), "exclude each other"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    folder: Path, arguments: tuple[str, ...], says: str
) -> None:
    result = owctl(folder, *arguments, "--from", "webui.db")
    assert result.returncode == 2
    assert says in result.stderr.decode()
    assert result.stdout == b""


def test_what_no_text_may_hold_is_mended_and_said(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "webui.db")
    builder.user(ADMIN)
    builder.add("chat", id="1", user_id=ADMIN, chat='{"n": NaN, "z": "a\\u0000b"}')
    builder.text("chat", "title", "1", b"a\0b\xff")
    builder.add("chat", id="2", user_id=ADMIN, chat="no json {")
    builder.close()
    result = owctl(tmp_path, "chat", "--from", "webui.db", "--format", "jsonl")
    first, second = json_rows(result.stdout)
    assert (first["title"], first["chat"]) == ("ab\ufffd", {"n": None, "z": "ab"})
    assert second["chat"] == "no json {"
    assert b"chat.title: 1" in result.stderr
    assert b"chat.chat: 2" in result.stderr
    (row, _) = csv_rows(succeed(tmp_path, "chat", "--from", "webui.db"))
    assert row["title"] == "ab\ufffd"


def test_a_full_disk_leaves_no_half_file(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "webui.db")) as connection, connection:
        connection.execute("CREATE TABLE breaks (text TEXT)")
        connection.executemany("INSERT INTO breaks VALUES (?)", [("\n" * 4000,)] * 4000)
    # The copy of the database fits, and the export, in which each of them is two letters, does not.
    most = (folder / "webui.db").stat().st_size + 1_000_000
    result = owctl(
        folder,
        *("user", "breaks", "--from", "webui.db", "--format", "jsonl"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    assert result.returncode == 1
    assert b"Cannot write" in result.stderr
    assert b"breaks.jsonl: File too large" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["webui.db"]
    command = f"'{OWCTL}' export user --from webui.db > /dev/full"
    full = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, check=False)
    assert full.returncode == 1
    assert b"Cannot write to stdout: No space left" in full.stderr


def test_a_reader_that_has_seen_enough_is_no_failure(folder: Path) -> None:
    command = f"'{OWCTL}' export chat --from webui.db | head -c 20; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, check=True)
    assert result.stdout.endswith(b"0\n")
    assert b"Error" not in result.stderr


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_what_psql_writes_becomes_lines_however_it_is_cut(size: int) -> None:
    data = b'id,text\n1,"a\nb""c\r\n"\n2,\n3,""\n'
    lines = PsqlLines("csv")
    made = b"".join(lines.feed(data[at : at + size]) for at in range(0, len(data), size))
    assert made == b"".join(
        map(csv_line, ([b"id", b"text"], [b"1", b'a\nb"c\r\n'], [b"2", None], [b"3", b""]))
    )
    assert lines.lines == 4
    data = b'{"a":1}\n\x01{"a":\n[\r\n]}\x01\n'
    lines = PsqlLines("jsonl")
    made = b"".join(lines.feed(data[at : at + size]) for at in range(0, len(data), size))
    assert json_rows(made) == [{"a": 1}, {"a": []}]
    assert lines.lines == 2
