"""Whose a file of the configuration is, and who may read it: as a manifest says it, and given back by a restore.

Secrets are among these files, so what nothing is known of is for its owner alone.
"""

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from owctl.project.private_file import PRIVATE_MODE, make_folder

FOLDER_MODE = 0o700
_READABLE_MODE = 0o644
_MODE = re.compile(r"0?[0-7]{3}")
_DOTENV = ".env"


@dataclass(frozen=True, slots=True)
class Access:
    """A file's or a folder's permissions, without special bits, and its owner and group by number."""

    mode: int
    uid: int
    gid: int

    def to_json(self) -> dict[str, Any]:
        """Return what a manifest says of it: the mode as chmod takes it."""
        return {**asdict(self), "mode": f"{self.mode:04o}"}

    def give(self, path: Path) -> None:
        """Have a path be so, the owner too where root asks; raises OSError.

        Not every file system knows owners, and a user gives a file only to groups of their own.
        """
        with suppress(OSError):
            os.chown(path, self.uid if os.geteuid() == 0 else -1, self.gid)
        path.chmod(self.mode)


def access_to(path: Path) -> Access:
    """Return what a path, or what it leads to, has; raises OSError."""
    found = path.stat()
    return Access(found.st_mode & 0o777, found.st_uid, found.st_gid)


def describe(path: Path, working_dir: Path) -> dict[str, Any]:
    """Return the detail of a member: the file's, and that of the project's folders above it."""
    folders = {}
    if path.is_relative_to(working_dir):
        above = [each for each in path.parents if each.is_relative_to(working_dir)][:-1]
        folders = {f"{p.relative_to(working_dir)}": access_to(p).to_json() for p in above}
    return {**access_to(path).to_json(), **({"folders": folders} if folders else {})}


def from_json(document: object) -> Access | None:
    """Return what a manifest says; None where it says nothing that can be."""
    if not isinstance(document, Mapping):
        return None
    mode, owner = document.get("mode"), [document.get("uid"), document.get("gid")]
    if not isinstance(mode, str) or not _MODE.fullmatch(mode):
        return None
    if not all(type(each) is int and 0 <= each < 2**32 - 1 for each in owner):
        return None
    return Access(int(mode, 8), *owner)  # type: ignore[arg-type]


def file_access(name: str, detail: Mapping[str, Any]) -> Access | None:
    """Return what a file is to have by a member's detail; ``.env`` is nothing for everybody."""
    found = from_json(detail)
    if found is None or PurePosixPath(name).name != _DOTENV:
        return found
    return Access(found.mode & 0o770, found.uid, found.gid)


def folder_access(detail: Mapping[str, Any]) -> dict[str, Access]:
    """Return what the folders above a file are to have, by path; who owns one can use it."""
    folders = detail.get("folders")
    entries = folders.items() if isinstance(folders, Mapping) else ()
    found = {str(path): access for path, each in entries if (access := from_json(each))}
    return {path: Access(a.mode | FOLDER_MODE, a.uid, a.gid) for path, a in found.items()}


def make_folders(top: Path, name: str, known: Mapping[str, Access]) -> None:
    """Make the folders that a file below ``top`` needs, as is known of each, else for the owner alone.

    Raises OSError. What is there stays as it is.
    """
    for each in reversed(PurePosixPath(name).parents[:-1]):
        if (top / each).is_dir():
            continue
        make_folder(top / each, FOLDER_MODE)
        if (access := known.get(str(each))) is not None:
            access.give(top / each)


def open_readable(paths: Iterable[Path]) -> None:
    """Let others read files that owctl wrote for their owner alone, since nothing was known of them."""
    for path in paths:
        if path.stat().st_mode & 0o777 == PRIVATE_MODE:
            path.chmod(_READABLE_MODE)
