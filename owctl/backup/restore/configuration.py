"""The configuration: written beside first, put in place file by file, the previous ones kept."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from owctl.backup.access import access_to, make_folders
from owctl.backup.restore.journal import ConfigFile
from owctl.backup.restore.source import ConfigContent
from owctl.environment.dotenv import parse_environment
from owctl.errors import BackupInvalid, OwctlError
from owctl.project.private_file import PRIVATE_MODE, put_file
from owctl.project.state import FOLDER, FOLDER_MODE

_NEW, _OLD = "new", "old"
_DOTENV = ".env"
_SESSION_KEY = "WEBUI_SECRET_KEY"


def folder_of(working_dir: Path, restore_id: str) -> Path:
    """Return where a restore keeps the project's previous files."""
    return working_dir / FOLDER / f"restore-{restore_id}"


def differing_files(working_dir: Path, files: Iterable[ConfigContent]) -> list[str]:
    """Return the paths of those that are other in the project than in the backup, or not there."""
    found = []
    for file in files:
        if file.path is None:
            continue
        try:
            same = (working_dir / file.path).read_bytes() == file.read()
        except OSError:
            same = False
        if not same:
            found.append(file.path)
    return found


def session_key_differs(working_dir: Path, files: Iterable[ConfigContent]) -> bool:
    """Return whether the backup's ``.env`` has another key for sessions than the project's."""
    content = next((file for file in files if file.path == _DOTENV), None)
    if content is None:
        return False
    try:
        here = (working_dir / _DOTENV).read_bytes()
    except OSError:
        return False
    return _key_in(content.read()) != _key_in(here)


def stage_files(
    working_dir: Path, restore_id: str, files: Iterable[ConfigContent]
) -> tuple[ConfigFile, ...]:
    """Write the backup's files beside the project's and return what to put in place.

    Raises OwctlError, and BackupInvalid for a name that leads out of the project's folder.
    """
    staged = []
    for file in files:
        if file.path is None:
            continue
        target = working_dir / file.path
        if not target.resolve().is_relative_to(working_dir.resolve()) and not target.is_symlink():
            raise BackupInvalid(f"{file.name}: its place is not in the project's folder.")
        path = folder_of(working_dir, restore_id) / _NEW / file.path
        try:
            make_folders(folder_of(working_dir, restore_id) / _NEW, file.path, file.folders)
            put_file(path, file.read(), folder_mode=FOLDER_MODE)
            if file.access is not None:
                file.access.give(path)
        except OSError as error:
            raise _cannot(path, error) from error
        staged.append(ConfigFile(file.path, target.exists(), file.access is not None))
    return tuple(staged)


def swap_files(working_dir: Path, restore_id: str, files: Iterable[ConfigFile]) -> None:
    """Put the staged files in place; what is staged no more is in place already.

    Each is as the backup says; where that says nothing, as the one that it replaces, or private.
    """
    folder = folder_of(working_dir, restore_id)
    for file in files:
        new, live = folder / _NEW / file.path, (working_dir / file.path).resolve()
        try:
            if not new.exists():
                continue
            old = folder / _OLD / file.path
            if file.existed and not old.exists():
                put_file(old, live.read_bytes(), like=live)
            if file.existed and not file.known:
                shutil.copymode(live, new)
                os.chown(new, live.stat().st_uid, live.stat().st_gid)
                if new.name == _DOTENV:
                    new.chmod(PRIVATE_MODE)
            _make_folders_like(working_dir, folder / _NEW, file.path)
            # Not renamed: a link may lead to another disk.
            put_file(live, new.read_bytes(), like=new)
            new.unlink()
        except OSError as error:
            raise _cannot(live, error) from error


def swap_files_back(working_dir: Path, restore_id: str, files: Iterable[ConfigFile]) -> None:
    """Put the previous files back where they were replaced; callable again and again."""
    folder = folder_of(working_dir, restore_id)
    for file in files:
        live = (working_dir / file.path).resolve()
        try:
            old = folder / _OLD / file.path
            if old.exists():
                put_file(live, old.read_bytes(), like=old)
            elif not file.existed:
                live.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot(live, error) from error


def _make_folders_like(working_dir: Path, staged: Path, name: str) -> None:
    """Make the folders that a file needs as they are staged."""
    above = [str(each) for each in PurePosixPath(name).parents[:-1]]
    make_folders(working_dir, name, {each: access_to(staged / each) for each in above})


def discard_files(working_dir: Path, restore_id: str) -> None:
    """Remove what a restore staged and kept; raises OwctlError."""
    folder = folder_of(working_dir, restore_id)
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _cannot(folder, error) from error


def _key_in(data: bytes) -> str | None:
    try:
        found = parse_environment(data.decode("utf-8", "replace"), {}, _DOTENV)
    except OwctlError:
        return None
    return found.values.get(_SESSION_KEY)


def _cannot(path: Path, error: OSError) -> OwctlError:
    return OwctlError(
        f"Cannot restore the configuration: {path}: {error.strerror or error}.",
        hint="make the project's folder writable for this user, then owctl restore undo",
    )
