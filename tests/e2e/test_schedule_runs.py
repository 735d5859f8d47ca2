"""Scheduled backups as cron and systemd run them: with hardly any environment."""

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from owctl.backup.schedule.schedule import Call, service_unit
from tests.e2e.conftest import OWCTL, Project, clean_environment

pytestmark = pytest.mark.e2e


@pytest.fixture
def no_systemd(tmp_path: Path) -> dict[str, str]:
    """A PATH without systemctl: no test may put a timer into the machine that it runs on."""
    (tmp_path / "empty").mkdir()
    return {"PATH": str(tmp_path / "empty")}


@pytest.fixture
def stack(demo_stack: Project, no_systemd: dict[str, str]) -> Iterator[Project]:
    yield demo_stack
    demo_stack.succeed("backup", "schedule", "--remove", environment=no_systemd)


def history(project: Project) -> dict:
    lines = (project.directory / ".owctl" / "history.jsonl").read_text().splitlines()
    return json.loads(lines[-1])


def finding(project: Project) -> dict:
    checks = json.loads(project.succeed("doctor", "--json").stdout)["checks"]
    return next(row for row in checks if row["check"] == "backups")


def as_cron_does(line: str) -> subprocess.CompletedProcess[str]:
    command = line.split(maxsplit=5)[5].replace("\\%", "%")
    return subprocess.run(
        ["env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", command],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_what_is_scheduled_makes_backups(
    stack: Project, tmp_path: Path, no_systemd: dict[str, str]
):
    place = tmp_path / "50% of all"
    options = ["--output", str(place), "--label", "nightly 100%", "--keep-last", "2"]
    made = stack.succeed(
        "backup", "schedule", "--daily", "02:00", "--", *options, environment=no_systemd
    )
    assert "crontab -e" in made.stderr
    line = made.stdout.strip()
    assert line.startswith("0 2 * * * cd ")
    assert stack.environment["POSTGRES_PASSWORD"] not in line
    assert finding(stack)["status"] == "warning"

    done = as_cron_does(line)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    (folder,) = place.iterdir()
    assert json.loads((folder / "manifest.json").read_text())["label"] == "nightly 100%"
    assert json.loads((folder / "verification.json").read_text())["status"] == "ok"
    assert history(stack)["outcome"] == "done"
    assert finding(stack)["status"] == "ok"
    assert "every day at 02:00" in finding(stack)["detail"]
    shown = json.loads(stack.succeed("backup", "schedule", "--json").stdout)["schedule"]
    assert folder.name in shown["newest_backup"]
    assert shown["newest_verified"]["path"] == str(folder)
    assert "crontab line:" in stack.succeed("backup", "schedule").stdout

    # What systemd runs: the same words, through its own quoting.
    call = Call(stack.project, stack.directory, tuple(shown["command"]))
    unit = service_unit(call, is_system=True).splitlines()
    start = next(text for text in unit if text.startswith("ExecStart="))
    words = [w.replace("%%", "%") for w in shlex.split(start.removeprefix("ExecStart="))]
    done = subprocess.run(["env", "-i", *words], cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(place.iterdir())) == 2

    # A run that fails is heard of: an exit code, a line on stderr, one in the history.
    place.rename(tmp_path / "away")
    place.write_text("in the way")
    failed = as_cron_does(line)
    assert failed.returncode == 1
    assert "Error: " in failed.stderr
    assert (history(stack)["command"], history(stack)["outcome"]) == ("backup", "failed")

    ended = stack.succeed("backup", "schedule", "--remove", environment=no_systemd)
    assert line in ended.stderr
    assert history(stack)["command"] == "backup schedule"
    assert not (stack.directory / ".owctl" / "schedule.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--daily", "02:00", "--", "--labl", "x"], "No such option"),
        (["--daily", "02:00", "--", "--only", "nothing"], "--only knows"),
        (["--daily", "02:00", "--", "--help"], "makes no backup"),
        (["--daily", "02:00", "--", "--ping", "no-address"], "address"),
        (["--daily", "02:00", "--weekly", "sun", "02:00"], "exclude each other"),
        (["--daily", "26:00"], "no time of day"),
        (["--calendar", "daily"], "systemd"),
        (["--", "--keep-last", "3"], "No time is given"),
    ],
)
def test_what_could_not_run_is_refused(
    demo_stack: Project, no_systemd: dict[str, str], words: list[str], said: str
):
    refused = demo_stack.owctl("backup", "schedule", *words, environment=no_systemd)
    assert refused.returncode == 2, refused.stderr
    assert said in refused.stderr
    assert "Try: " in refused.stderr
    assert not (demo_stack.directory / ".owctl" / "schedule.json").exists()


def test_a_secret_and_what_only_this_shell_knows_are_refused(
    demo_stack: Project, no_systemd: dict[str, str], tmp_path: Path
):
    secret = demo_stack.environment["POSTGRES_PASSWORD"]
    words = ["backup", "schedule", "--daily", "02:00"]
    refused = demo_stack.owctl(*words, "--", "--label", secret, environment=no_systemd)
    assert refused.returncode == 2
    assert "A secret of the stack" in refused.stderr
    assert secret not in refused.stderr
    (tmp_path / "compose.yaml").write_text(
        "name: only-here\nservices:\n  web:\n    image: ${IMAGE_OF_THIS_SHELL:?is not set}\n"
    )
    refused = subprocess.run(
        [OWCTL, "-C", str(tmp_path), *words],
        env=clean_environment(**no_systemd, IMAGE_OF_THIS_SHELL="some"),
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 4
    assert "could not read the project" in refused.stderr
    assert "export" in refused.stderr
