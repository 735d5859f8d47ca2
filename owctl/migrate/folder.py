"""A migration's folder: where its copy of the source, its journal and its reports are."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from owctl.backup.publish import new_id, sync_folder
from owctl.errors import OwctlError
from owctl.project.private_file import PRIVATE_MODE, cannot

FOLDER_NAME = "migrations"
SOURCE_NAME = "source"
DATABASE_NAME = "webui.db"
_SECRET_MODE = 0o700


def new_folder(working_dir: Path) -> Path:
    """Make the folder of a new migration in the project's folder; mode 0700."""
    folder = working_dir / FOLDER_NAME / new_id(datetime.now(UTC))
    try:
        folder.parent.mkdir(mode=_SECRET_MODE, parents=True, exist_ok=True)
        folder.mkdir(mode=_SECRET_MODE)
    except OSError as error:
        raise cannot("make", folder, error) from error
    return folder


def find_folder(working_dir: Path, reference: str | None = None) -> Path:
    """Return the folder of a migration: the newest, or that whose id begins with ``reference``.

    Raises OwctlError if there is none, or more than one.
    """
    parent = working_dir / FOLDER_NAME
    found = sorted(path for path in parent.glob("*Z-*") if path.is_dir())
    if reference is not None:
        found = [path for path in found if path.name.startswith(reference)]
        if len(found) > 1:
            raise OwctlError(
                f"{reference} is the beginning of {len(found)} migrations.",
                hint=" or ".join(path.name for path in found[:3]),
            )
    if not found:
        what = f"no migration {reference}" if reference else "no migration"
        raise OwctlError(f"There is {what} in {parent}.", hint="owctl migrate SOURCE")
    return found[-1]


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document so that it is there whole or not at all, and durable; mode 0600."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write a text so that it is there whole or not at all, and durable; mode 0600."""
    temporary = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, PRIVATE_MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot("write", path, error) from error


def read_document(path: Path) -> dict[str, Any] | None:
    """Return a JSON document, None if there is none; raises OwctlError for one that is damaged."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot("read", path, error) from error
    except ValueError as error:
        raise OwctlError(f"{path} is damaged: {error}.", hint="a new migration") from error
    if not isinstance(document, dict):
        raise OwctlError(f"{path} is damaged: it is no JSON object.", hint="a new migration")
    return document
