"""The project's history: one line of JSON for each command that changed something."""

import fcntl
import json
import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from owctl.project.private_file import give, make_folder
from owctl.project.state import FOLDER, FOLDER_MODE, cannot_read

FILE = "history.jsonl"
# An address that is asked, and a command with whatever it needs, often hold a secret.
_PRIVATE = ("--ping", "--on-failure")


def record(
    project_dir: Path,
    command: str,
    outcome: str,
    *,
    arguments: Sequence[str] = (),
    exit_code: int = 0,
    duration_ms: int = 0,
    mask: Callable[[str], str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> str | None:
    """Append one line to ``.owctl/history.jsonl`` in the project's folder.

    ``command`` is the name ("start"), ``arguments`` all the words after ``owctl``, ``outcome`` one of
    "done", "failed", "interrupted". ``mask`` replaces secrets; the values of ``--set
    KEY=VALUE``, ``--ping`` and ``--on-failure`` are never kept. Returns None, or a sentence for a warning: the command itself never fails for this.
    """
    hide = mask or str
    entry = {
        "schema": 1,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "user": _user_name(),
        "command": command,
        "arguments": [hide(word) for word in _without_private_values(arguments)],
        "outcome": outcome,
        "exit_code": exit_code,
        "duration_ms": duration_ms,
    }
    caller = (os.environ if environ is None else environ).get("SUDO_USER")
    if caller:
        entry["sudo_user"] = caller
    folder = project_dir / FOLDER
    try:
        _append(folder, json.dumps(entry, ensure_ascii=False) + "\n")
    except OSError as error:
        return f"The history in {folder / FILE} was not written: {error.strerror or error}."
    return None


def read(project_dir: Path) -> list[dict[str, object]]:
    """Return the entries of a project's history, oldest first; none if there is no history.

    A line that a full disk or a crash left torn is passed over. Raises OwctlError where the file
    cannot be read.
    """
    path = project_dir / FOLDER / FILE
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise cannot_read(path, error) from error
    return [entry for line in lines if (entry := _entry(line)) is not None]


def _entry(line: str) -> dict[str, object] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    fields = ("time", "user", "outcome", "exit_code", "duration_ms", "arguments")
    return found if isinstance(found, dict) and all(name in found for name in fields) else None


def _append(folder: Path, line: str) -> None:
    make_folder(folder, FOLDER_MODE)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder / FILE, flags, 0o600)
    try:
        # Under sudo, too, the history belongs to whom the project belongs.
        give(descriptor, folder.parent)
        # Held for one short write: without it, another's half-written line looks torn.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size_bytes = os.fstat(descriptor).st_size
        # A line that a full disk cut short must not swallow this one.
        torn = size_bytes > 0 and os.pread(descriptor, 1, size_bytes - 1) != b"\n"
        data = ("\n" if torn else "").encode() + line.encode("utf-8", "backslashreplace")
        written_bytes = os.write(descriptor, data)
        if written_bytes < len(data):
            raise OSError(0, "the disk is full")
    finally:
        os.close(descriptor)


def _without_private_values(arguments: Sequence[str]) -> list[str]:
    """Return the words without the values that may be secrets: of ``--set`` its key is kept."""
    words: list[str] = []
    for word in arguments:
        option, has_value, _ = word.partition("=")
        if words and words[-1] in _PRIVATE:
            words.append("***")
        elif has_value and option in _PRIVATE:
            words.append(f"{option}=***")
        elif (words and words[-1] == "--set") or option == "--set":
            # --set KEY=VALUE and --set=KEY=VALUE.
            key = word.removeprefix("--set=").partition("=")
            prefix = "--set=" if word.startswith("--set=") else ""
            words.append(f"{prefix}{key[0]}=***" if key[1] else word)
        else:
            words.append(word)
    return words


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
