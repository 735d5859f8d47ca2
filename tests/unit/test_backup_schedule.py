"""Scheduled backups: times, systemd's units, the line for cron, and what is remembered."""

import configparser
import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from owctl.backup.schedule.schedule import (
    Call,
    Schedule,
    crontab_line,
    daily,
    is_ours,
    now_text,
    read_schedule,
    remove_schedule,
    service_unit,
    timer_unit,
    weekly,
    write_schedule,
)
from owctl.backup.schedule.systemd import Systemd, by_calendar, elapse_time, find_manager
from owctl.errors import OwctlError, UsageError

# Whatever a shell, cron or systemd would take for something of its own.
ODD = (
    "50% off",
    "$HOME",
    "a'b",
    'c"d',
    "back\\slash",
    "; rm",
    "two  spaces",
    "%h",
    "`id`",
    "ü",
    "",
)
ECHO = (
    "import json, os, sys; json.dump([sys.argv[1:], os.getcwd(), os.environ.get('X')], sys.stdout)"
)
needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine"
)


def call_in(folder: Path, *words: str) -> Call:
    return Call("stack", folder, (sys.executable, "-c", ECHO, *words), {"X": "50% $Y 'z'"})


def unit(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def words_of(line: str) -> list[str]:
    """What systemd makes of a command line: its quotes, then its doubled characters."""
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line)]


def test_times():
    assert daily("2:05").calendar == "*-*-* 02:05:00"
    assert daily("2:05").cron == "5 2 * * *"
    assert daily("23:00").interval_seconds == 86400
    for day in ("sun", "SUN", "Sunday"):
        assert weekly(day, "02:00").cron == "0 2 * * 0"
    assert weekly("sat", "02:00").calendar == "Sat *-*-* 02:00:00"
    assert weekly("sat", "02:00").cron == "0 2 * * 6"
    for wrong in ("24:00", "2", "02:60", "two", "02:00:00", "-1:00"):
        with pytest.raises(UsageError, match="no time of day"):
            daily(wrong)
    for wrong in ("su", "sunny", "day", ""):
        with pytest.raises(UsageError, match="no weekday"):
            weekly(wrong, "02:00")


def test_the_service_runs_exactly_these_words(tmp_path: Path):
    folder = tmp_path / "50% of a folder"
    folder.mkdir()
    text = service_unit(call_in(folder, *ODD), is_system=True)
    service = unit(text)["Service"]
    assert service["Type"] == "oneshot"
    assert unit(text)["Unit"]["After"] == "docker.service"
    assert service["WorkingDirectory"].replace("%%", "%") == str(folder)
    assert shlex.split(service["Environment"].replace("%%", "%")) == ["X=50% $Y 'z'"]
    words = words_of(service["ExecStart"])
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env={"PYTHONUTF8": "1"}
    )
    assert json.loads(done.stdout)[0] == list(ODD)
    assert "After=" not in service_unit(call_in(folder), is_system=False)


def test_the_line_for_cron_runs_exactly_these_words(tmp_path: Path):
    folder = tmp_path / "50% of a 'folder'"
    folder.mkdir()
    line = crontab_line(call_in(folder, *ODD), daily("02:30"))
    assert line.startswith("30 2 * * * cd ")
    assert line.endswith(" >/dev/null")
    command = line.removeprefix("30 2 * * * ").removesuffix(" >/dev/null")
    # cron ends a command at a percent sign, unless a backslash stands before it.
    assert "%" not in command.replace("\\%", "")
    done = subprocess.run(
        ["env", "-i", "PYTHONUTF8=1", "sh", "-c", command.replace("\\%", "%")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [list(ODD), str(folder), "50% $Y 'z'"]


@pytest.mark.parametrize("timing", [daily("02:00"), weekly("sun", "03:30")])
def test_the_timer(timing, tmp_path: Path):
    timer = unit(timer_unit(call_in(tmp_path), timing))
    assert timer["Timer"]["OnCalendar"] == timing.calendar
    assert timer["Timer"]["Persistent"] == "true"
    assert timer["Install"]["WantedBy"] == "timers.target"


@needs_analyze
@pytest.mark.parametrize("is_system", [True, False])
def test_systemd_takes_the_units(tmp_path: Path, is_system: bool):
    folder = tmp_path / "50% of a folder"
    folder.mkdir()
    call = call_in(folder, *ODD)
    (tmp_path / "owctl-backup-stack.service").write_text(service_unit(call, is_system=is_system))
    timer = tmp_path / "owctl-backup-stack.timer"
    timer.write_text(timer_unit(call, daily("02:00")))
    # It reads the files and starts nothing; it is told of this folder alone.
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(timer)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    assert done.returncode == 0, done.stderr
    assert "owctl-backup" not in done.stderr
    broken = timer.read_text().replace("OnCalendar=", "OnCalender=")
    timer.write_text(broken.replace("Persistent=true", "Persistent=perhaps"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(timer)], capture_output=True, text=True
    )
    assert "OnCalender" in done.stderr


@needs_analyze
def test_a_calendar_is_what_systemd_says():
    assert by_calendar("*-*-* 02:00:00").interval_seconds == 86400
    assert by_calendar("Mon..Fri 02:00").interval_seconds == 3 * 86400
    assert by_calendar("hourly").interval_seconds == 3600
    assert by_calendar("Mon..Fri 02:00").cron is None
    for timing in (daily("02:00"), weekly("sun", "02:00")):
        assert by_calendar(timing.calendar).interval_seconds == timing.interval_seconds
    for wrong in ("soon", "", "2001-01-01 00:00", "--help"):
        with pytest.raises(UsageError, match="no calendar"):
            by_calendar(wrong)


def test_what_can_run_a_timer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    run = tmp_path / "run"

    def found(user_id: int, **environ: str) -> str:
        return find_manager(environ, user_id=user_id, run_dir=run)

    assert found(0) == found(1000) == "crontab"
    (run / "systemd" / "system").mkdir(parents=True)
    assert found(0) == "system"
    assert found(1000) == "crontab"
    own = run / "user" / "1000" / "systemd"
    own.mkdir(parents=True)
    (own / "private").touch()
    assert found(1000) == "user"
    assert found(1000, XDG_RUNTIME_DIR=str(tmp_path / "none")) == "crontab"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found(0) == "crontab"


@pytest.fixture
def systemd(tmp_path: Path) -> Systemd:
    """A unit folder, and a systemctl that writes down how it is called and may refuse."""
    program = tmp_path / "systemctl"
    program.write_text(
        f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\n'
        f'if [ -e {tmp_path}/refuse ] && [ "$1" = enable ]; then echo no such bus >&2; exit 1; fi\n'
    )
    program.chmod(0o755)
    return Systemd(tmp_path / "units", (str(program),))


def test_units_are_put_in_place_and_removed(systemd: Systemd, tmp_path: Path):
    texts = {"x.service": "[Service]\n", "x.timer": "[Timer]\n"}
    paths = systemd.install(texts)
    assert {path.name: path.read_text() for path in paths} == texts
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o644}
    systemd.remove(list(texts))
    assert list(systemd.folder.iterdir()) == []
    systemd.remove(list(texts))
    assert (tmp_path / "calls").read_text().splitlines() == [
        "daemon-reload",
        "enable x.timer",
        "restart x.timer",
        "disable --now x.timer",
        "daemon-reload",
        "daemon-reload",
    ]


def test_a_refusal_leaves_what_was_there(systemd: Systemd, tmp_path: Path):
    systemd.install({"x.service": "old\n", "x.timer": "old\n"})
    (tmp_path / "refuse").touch()
    with pytest.raises(OwctlError, match="systemd refused") as raised:
        systemd.install({"x.service": "new\n", "x.timer": "new\n"})
    assert raised.value.details == ("no such bus",)
    assert {path.read_text() for path in systemd.folder.iterdir()} == {"old\n"}
    with pytest.raises(OwctlError):
        systemd.install({"y.service": "new\n", "y.timer": "new\n"})
    assert sorted(path.name for path in systemd.folder.iterdir()) == ["x.service", "x.timer"]


def test_units_of_another_folder_are_told_apart(tmp_path: Path):
    mine, other = call_in(tmp_path / "a"), call_in(tmp_path / "ab")
    assert is_ours(service_unit(mine, is_system=True), mine)
    assert is_ours(timer_unit(mine, daily("02:00")), mine)
    assert not is_ours(service_unit(other, is_system=True), mine)
    assert not is_ours("[Service]\n", mine)


def test_a_line_break_is_refused(tmp_path: Path):
    call_in(tmp_path, *ODD).check()
    with pytest.raises(UsageError, match="control character"):
        call_in(tmp_path, "one\nRestart=always").check()


def test_a_schedule_is_remembered(tmp_path: Path):
    assert read_schedule(tmp_path) is None
    first = Schedule("p", daily("02:00"), "crontab", ("owctl", "ü"), None, (), now_text(), line="x")
    second = Schedule(
        "p", weekly("sun", "1:00"), "system", ("owctl",), "/b", ("db",), now_text(), ("/u.timer",)
    )
    for schedule in (first, second):
        write_schedule(tmp_path, schedule)
        assert read_schedule(tmp_path) == schedule
    path = tmp_path / ".owctl" / "schedule.json"
    assert path.stat().st_mode & 0o777 == 0o600
    for damage in ("{", "[]", '{"schema": 1}', '{"schema": 2}'):
        path.write_text(damage)
        with pytest.raises(OwctlError, match="damaged") as raised:
            read_schedule(tmp_path)
        assert raised.value.hint
    remove_schedule(tmp_path)
    remove_schedule(tmp_path)
    assert read_schedule(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun 2025-02-02 02:00:00 CET", "2025-02-02T01:00:00Z"),
        ("Tue 2025-07-01 02:00:00 CEST", "2025-07-01T00:00:00Z"),
        ("n/a", None),
        ("", None),
    ],
)
def test_the_next_run_of_a_timer_in_utc(monkeypatch, text, expected):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        assert elapse_time(text) == expected
    finally:
        monkeypatch.undo()
        time.tzset()
