"""One owctl at a time: a lock for each project of an engine, and for each project's folder."""

import hashlib
import json
import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from owctl.errors import Locked, OwctlError


@contextmanager
def project_lock(
    engine_id: str,
    project: str,
    command: str,
    *,
    wait_seconds: float = 0,
    runtime_dir: Path | None = None,
) -> Iterator[None]:
    """Hold the lock of one project on one engine while the block runs.

    ``command`` is what the holder is called in the message to others ("start"). The lock is the
    kernel's: it ends with the process, however that ends. ``runtime_dir`` overrides where it lies.
    Raises Locked after ``wait_seconds`` (0: at once), OwctlError where no lock file can be made.
    """
    key = f"engine\0{engine_id}\0{project}"
    with _hold(key, f"Project {project}", command, wait_seconds, runtime_dir):
        yield


@contextmanager
def folder_lock(
    directory: Path, command: str, *, wait_seconds: float = 0, runtime_dir: Path | None = None
) -> Iterator[None]:
    """Hold the lock of a project's folder: for what changes its files, without an engine.

    Parameters and errors are those of ``project_lock``.
    """
    key = f"folder\0{directory.resolve()}"
    with _hold(key, f"The folder {directory}", command, wait_seconds, runtime_dir):
        yield


def runtime_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder that this user's locks lie in; it need not exist yet.

    It has to be the same for a user's shell and for their cron job, or they would not see each
    other. /run/user/<uid> comes and goes with login sessions, so an XDG_RUNTIME_DIR counts only
    where it is another folder, set on purpose, of this user's own.
    """
    user_id = os.geteuid()
    chosen = environ.get("XDG_RUNTIME_DIR")
    if chosen and Path(chosen) != Path(f"/run/user/{user_id}") and _belongs_to(chosen, user_id):
        return Path(chosen) / "owctl"
    if user_id == 0:
        return Path("/run/owctl")
    return _home(environ, user_id) / ".cache" / "owctl" / "locks"


@contextmanager
def _hold(
    key: str, subject: str, command: str, wait_seconds: float, runtime_dir: Path | None
) -> Iterator[None]:
    from filelock import FileLock, Timeout

    folder = runtime_dir if runtime_dir is not None else runtime_folder(os.environ)
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    details = folder / f"{name}.json"
    lock = FileLock(folder / f"{name}.lock", timeout=wait_seconds, mode=0o600)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise Locked(
            f"{subject} is being changed by {_describe_holder(details)}.",
            hint="the same command when that one is done, or with --lock-wait SECONDS",
        ) from None
    except OSError as error:
        raise OwctlError(
            f"Cannot make a lock in {folder}: {error.strerror or error}",
            hint="make that folder writable for this user, "
            "or set XDG_RUNTIME_DIR to one that belongs to them",
        ) from error
    try:
        _write_details(details, command)
        yield
    finally:
        # Before the release: afterwards the file would be the next holder's.
        _remove_details(details)
        lock.release()


def _write_details(path: Path, command: str) -> None:
    """Say who holds the lock. Only a message depends on it, so failing to is no failure."""
    details = {
        "pid": os.getpid(),
        "command": command,
        "user": _user_name(os.geteuid()),
        "since": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    temporary = path.with_suffix(f".{os.getpid()}")
    try:
        temporary.write_text(json.dumps(details))
        temporary.replace(path)
    except OSError:
        _remove_details(temporary)


def _remove_details(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # A stale description is told from a true one by its process, which will be gone.
        return


def _describe_holder(path: Path) -> str:
    try:
        details = json.loads(path.read_text())
        process_id = int(details["pid"])
        # What a killed holder left behind says nothing about the present one.
        if not Path(f"/proc/{process_id}").exists():
            return "another owctl"
        return (
            f"`owctl {details['command']}` "
            f"(pid {process_id}, user {details['user']}, since {details['since']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another owctl"


def _belongs_to(path: str, user_id: int) -> bool:
    try:
        return Path(path).is_dir() and Path(path).stat().st_uid == user_id
    except OSError:
        return False


def _home(environ: Mapping[str, str], user_id: int) -> Path:
    try:
        # Not HOME: under sudo and in cron it may be somebody else's, or missing.
        return Path(pwd.getpwuid(user_id).pw_dir)
    except KeyError:
        return Path(environ.get("HOME") or f"/tmp/owctl-{user_id}")  # noqa: S108


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)
