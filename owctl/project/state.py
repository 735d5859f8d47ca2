"""The project's state: the files in ``.owctl/``, each typed, and whole or not there at all."""

import json
import os
import pwd
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from owctl.errors import OwctlError
from owctl.project.private_file import cannot, put_file, sync_folder

FOLDER = ".owctl"
FOLDER_MODE = 0o700
SCHEMA = 1

_T = TypeVar("_T")


class StateRefused(OwctlError):
    """This user may not read or write the project's state: mostly, root made it."""


@dataclass(frozen=True)
class StateFile(Generic[_T]):
    """One JSON file in the ``.owctl/`` of a project's folder.

    ``parse`` makes of the document what it says, raising ValueError, KeyError, TypeError or
    AttributeError where it is damaged; ``render`` makes the document, to which the schema is added.
    ``damaged`` (of {path}, {kind} and {error}), ``remedy`` (of {path}) and ``cannot`` (of {path} and
    {action}, "write" or "remove") are what a user is told.

    A file has mode 0600, the folder 0700; both belong to the owner of the project's folder, also
    when root writes. All that fails raises OwctlError: StateRefused where this user has no right.
    """

    name: str
    parse: Callable[[dict[str, Any]], _T]
    render: Callable[[_T], Mapping[str, Any]]
    damaged: str = "{path} is damaged: {error}."
    remedy: str = "remove {path}"
    cannot: str = "Cannot {action} {path}"

    def path(self, working_dir: Path) -> Path:
        """Return where the file of a project's folder is, if there is one."""
        return working_dir / FOLDER / self.name

    def exists(self, working_dir: Path) -> bool:
        """Return whether the file is there."""
        path = self.path(working_dir)
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise cannot_read(path, error) from error
        return True

    def read(self, working_dir: Path) -> _T | None:
        """Return what the file says, None if there is none."""
        path = self.path(working_dir)
        try:
            document = json.loads(path.read_bytes())
            if document["schema"] != SCHEMA:
                raise ValueError(f"schema {document['schema']}; this owctl knows {SCHEMA}")
            return self.parse(document)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise cannot_read(path, error) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            kind = type(error).__name__
            raise OwctlError(
                self.damaged.format(path=path, kind=kind, error=error),
                hint=self.remedy.format(path=path),
            ) from error

    def write(self, working_dir: Path, content: _T) -> None:
        """Put the file in place of the one before, whole and durable."""
        document = {"schema": SCHEMA, **self.render(content)}
        data = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
        try:
            put_file(self.path(working_dir), data, folder_mode=FOLDER_MODE)
        except OSError as error:
            raise self._cannot("write", working_dir, error) from error

    def remove(self, working_dir: Path) -> None:
        """Remove the file, durably; none is no error."""
        path = self.path(working_dir)
        try:
            path.unlink()
            sync_folder(path.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._cannot("remove", working_dir, error) from error

    def _cannot(self, action: str, working_dir: Path, error: OSError) -> OwctlError:
        path = self.path(working_dir)
        what = self.cannot.format(action=action, path=path)
        if isinstance(error, PermissionError):
            return _refused(what, path, error)
        reason = error.strerror or error
        return OwctlError(f"{what}: {reason}.", hint=cannot(action, path, error).hint)


def check_folder(working_dir: Path) -> None:
    """Raise StateRefused where this user may not look into the project's state."""
    folder = working_dir / FOLDER
    try:
        with os.scandir(folder):
            (folder / ".").stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise cannot_read(folder, error) from error


def cannot_read(path: Path, error: OSError) -> OwctlError:
    """Return the error for a file in ``.owctl/``, or the folder, that cannot be read."""
    if isinstance(error, PermissionError):
        return _refused(f"Cannot read {path}", path, error)
    return cannot("read", path, error)


def _refused(what: str, path: Path, error: OSError) -> OwctlError:
    """Return the error that says whose the state is, and how it becomes the right user's."""
    folder = path if path.name == FOLDER else path.parent
    barrier = path if os.access(folder, os.R_OK | os.W_OK | os.X_OK) else folder
    try:
        holder, owner = barrier.stat().st_uid, folder.parent.stat()
    except OSError:
        return cannot("read", path, error)
    me = os.geteuid()
    if me != owner.st_uid:
        hint = f"the command as {_name(owner.st_uid)}, who owns {folder.parent}"
    elif holder == me:
        hint = f"chmod -R u+rwX {shlex.quote(str(folder))}"
    else:
        hint = f"sudo chown -R {owner.st_uid}:{owner.st_gid} {shlex.quote(str(folder))}"
    return StateRefused(
        f"{what}: {error.strerror}; {barrier} belongs to {_name(holder)}, this is {_name(me)}.",
        hint=hint,
    )


def _name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"
