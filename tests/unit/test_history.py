import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from owctl.project.history import read, record


def entries(folder):
    return [
        json.loads(line) for line in (folder / ".owctl" / "history.jsonl").read_text().splitlines()
    ]


def test_a_line_says_who_when_what_and_how_it_ended(tmp_path):
    warning = record(
        tmp_path,
        "start",
        "failed",
        arguments=["--timeout", "5", "backend"],
        exit_code=6,
        duration_ms=1234,
        environ={"SUDO_USER": "alice"},
    )

    assert warning is None
    (entry,) = entries(tmp_path)
    assert datetime.fromisoformat(entry.pop("time")).utcoffset() is not None
    assert entry.pop("user")
    assert entry == {
        "schema": 1,
        "command": "start",
        "arguments": ["--timeout", "5", "backend"],
        "outcome": "failed",
        "exit_code": 6,
        "duration_ms": 1234,
        "sudo_user": "alice",
    }


def test_it_is_for_its_owner_alone(tmp_path):
    old = os.umask(0)
    try:
        record(tmp_path, "stop", "done")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / ".owctl").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / ".owctl" / "history.jsonl").stat().st_mode) == 0o600


def test_secrets_do_not_get_in(tmp_path):
    record(
        tmp_path,
        "setup",
        "done",
        arguments=["--set", "POSTGRES_PASSWORD=hidden-1", "--set=REDIS_PASSWORD=hidden-2", "say-x"],
        mask=lambda text: text.replace("say-x", "***"),
    )
    (entry,) = entries(tmp_path)
    assert entry["arguments"] == [
        "--set",
        "POSTGRES_PASSWORD=***",
        "--set=REDIS_PASSWORD=***",
        "***",
    ]


def test_a_torn_line_does_not_swallow_the_next(tmp_path):
    record(tmp_path, "start", "done")
    path = tmp_path / ".owctl" / "history.jsonl"
    path.write_text(path.read_text() + '{"schema": 1, "ti')
    record(tmp_path, "stop", "done")

    first, torn, last = path.read_text().splitlines()
    assert json.loads(first)["command"] == "start"
    assert torn == '{"schema": 1, "ti'
    assert json.loads(last)["command"] == "stop"


def test_many_at_once_leave_whole_lines(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: record(tmp_path, "start", "done", duration_ms=n), range(100)))
    assert sorted(entry["duration_ms"] for entry in entries(tmp_path)) == list(range(100))


def test_a_failure_is_a_warning(tmp_path):
    (tmp_path / ".owctl").write_text("a file where the folder should be")
    warning = record(tmp_path, "start", "done")
    assert warning is not None
    assert "history" in warning


def test_a_planted_link_is_not_followed(tmp_path):
    (tmp_path / ".owctl").mkdir()
    victim = tmp_path / "victim"
    victim.write_text("kept\n")
    (tmp_path / ".owctl" / "history.jsonl").symlink_to(victim)

    assert record(tmp_path, "start", "done") is not None
    assert victim.read_text() == "kept\n"


def test_reading_passes_over_what_is_torn(tmp_path):
    assert read(tmp_path) == []
    record(tmp_path, "start", "done")
    path = tmp_path / ".owctl" / "history.jsonl"
    path.write_text(path.read_text() + '{"half a line\n[]\n')
    record(tmp_path, "stop", "failed", exit_code=1)
    assert [entry["command"] for entry in read(tmp_path)] == ["start", "stop"]
