"""systemd: which manager there is, putting units in place, and what a calendar expression means."""

import itertools
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from owctl.backup.schedule.schedule import Manager, Timing
from owctl.errors import OwctlError, UsageError
from owctl.project.private_file import cannot

_SYSTEM_FOLDER = Path("/etc/systemd/system")
# Enough to meet the longest gap of a calendar such as Mon..Fri.
_ITERATIONS = 60
_SECONDS = 60
_LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_ELAPSE = re.compile(r"(?:Next elapse|Iter\. #\d+): \w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")


@dataclass(frozen=True, slots=True)
class Systemd:
    """One manager: where its units lie, and how it is spoken to."""

    folder: Path
    systemctl: tuple[str, ...]

    def install(self, units: Mapping[str, str]) -> tuple[Path, ...]:
        """Write units by name, and enable and start the timers among them; returns their paths.

        If systemd refuses, the files are as they were before. Raises OwctlError.
        """
        before = {self.folder / name: _read(self.folder / name) for name in units}
        timers = [name for name in units if name.endswith(".timer")]
        try:
            for name, text in units.items():
                _write(self.folder / name, text.encode())
            self._call("daemon-reload")
            self._call("enable", *timers)
            # Also a timer that runs already: it has to hear of its new times.
            self._call("restart", *timers)
        except BaseException:
            for path, content in before.items():
                if content is None and path.name in timers:
                    self._call("disable", "--now", path.name, check=False)
                _restore(path, content)
            self._call("daemon-reload", check=False)
            raise
        return tuple(before)

    def remove(self, names: Sequence[str]) -> None:
        """Disable and remove units; what is gone is no error. Raises OwctlError."""
        timers = [n for n in names if n.endswith(".timer") and (self.folder / n).exists()]
        if timers:
            self._call("disable", "--now", *timers)
        for name in names:
            _restore(self.folder / name, None)
        self._call("daemon-reload")

    def property(self, unit: str, name: str) -> str:
        """Return a property of a unit; "" where systemd does not tell."""
        return self._call("show", "--property", name, "--value", unit, check=False).strip()

    def _call(self, *words: str, check: bool = True) -> str:
        command = [*self.systemctl, *words]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            if not check:
                return ""
            raise OwctlError(
                f"systemctl cannot be run: {error}.", hint="systemctl status, which says more"
            ) from error
        if done.returncode and check:
            raise OwctlError(
                f"systemd refused: `{' '.join(command)}` ended with {done.returncode}.",
                details=done.stderr.strip().splitlines()[-5:],
                hint=f"{' '.join(self.systemctl)} status, which says more",
            )
        return done.stdout


def elapse_time(text: str) -> str | None:
    """Return a time of systemctl's, which is the machine's own, in UTC and ISO 8601."""
    found = _LOCAL_TIME.search(text)
    if found is None:
        return None  # such as a timer that will not run any more
    return f"{datetime.fromisoformat(found[0]).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def find_manager(
    environ: Mapping[str, str], *, user_id: int | None = None, run_dir: Path = Path("/run")
) -> Manager:
    """Return what can run a timer here: the system's systemd for root, else the user's own."""
    identity = os.geteuid() if user_id is None else user_id
    if not (run_dir / "systemd" / "system").is_dir() or not shutil.which("systemctl"):
        return "crontab"
    if identity == 0:
        return "system"
    own = Path(environ.get("XDG_RUNTIME_DIR") or run_dir / "user" / str(identity))
    return "user" if (own / "systemd" / "private").exists() else "crontab"


def open_manager(manager: Manager, environ: Mapping[str, str]) -> Systemd:
    """Return the systemd of that kind."""
    if manager == "system":
        return Systemd(_SYSTEM_FOLDER, ("systemctl",))
    home = Path(environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir)
    configuration = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return Systemd(configuration / "systemd" / "user", ("systemctl", "--user"))


def lingers(linger_dir: Path = Path("/var/lib/systemd/linger")) -> bool:
    """Return whether this user's manager runs while they are not logged in."""
    try:
        return (linger_dir / pwd.getpwuid(os.geteuid()).pw_name).exists()
    except KeyError:
        return False


def by_calendar(expression: str) -> Timing:
    """Return the timing of a calendar expression; systemd is asked what it means.

    Raises UsageError for one that is wrong, or never comes again.
    """
    try:
        done = subprocess.run(
            ["systemd-analyze", "calendar", f"--iterations={_ITERATIONS}", "--", expression],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env={"PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC", "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise UsageError(
            "--calendar needs systemd, and there is no systemd-analyze here.",
            hint="--daily 02:00, or --weekly sun 02:00",
        ) from None
    times = [
        datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        for text in _ELAPSE.findall(done.stdout)
    ]
    gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(times)]
    if done.returncode or not gaps:
        why = (done.stderr.strip().splitlines() or ["it does not come again and again"])[0]
        raise UsageError(
            f"{expression!r} is no calendar for repeated runs: {why}.",
            hint="--calendar 'Mon..Fri 02:00'; man systemd.time tells more",
        )
    return Timing(expression, None, round(max(gaps)), f"by the calendar {expression!r}")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot("read", path, error) from error


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise cannot("write", path, error) from error


def _restore(path: Path, content: bytes | None) -> None:
    if content is not None:
        _write(path, content)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot("remove", path, error) from error
