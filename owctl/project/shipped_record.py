"""What owctl had shipped when setup ran: the base that a later owctl's files are compared with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from owctl.errors import OwctlError
from owctl.project import shipped_files
from owctl.project.private_file import PRIVATE_MODE, cannot, create_file, replace_file

FOLDER = ".owctl"
FILE = "shipped.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Record:
    """The texts that were shipped, by name (``.env.example`` among them), and by which version."""

    version: str
    texts: Mapping[str, str]


def read_record(directory: Path) -> Record | None:
    """Return the record of a project's folder, None if there is none; raises OwctlError."""
    path = directory / FOLDER / FILE
    try:
        document = json.loads(path.read_bytes())
        if document["schema"] != SCHEMA:
            raise ValueError(f"it has schema {document['schema']}, this owctl knows {SCHEMA}")
        texts = {str(name): str(text) for name, text in document["texts"].items()}
        return Record(str(document["owctl_version"]), texts)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot("read", path, error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OwctlError(
            f"{path}, which tells what setup wrote, is damaged: {error}.",
            hint=f"remove {path}; what is yours and what is owctl's is then not told apart",
        ) from error


def shipped_now(directory: Path) -> dict[str, str]:
    """Return the texts that this owctl ships for the stack in a folder, by name.

    The files that the demonstration's images are built from are not among them.
    """
    files = [*shipped_files.production_files()]
    if (directory / shipped_files.DEMO_COMPOSE_FILE).exists():
        files += [file for file in shipped_files.demo_files() if "/" not in file.path]
    return {file.path: file.data.decode("utf-8") for file in files}


def remember_shipped(directory: Path, version: str, *, new_environment: bool) -> None:
    """Write down what of the project's files is as this owctl ships it; raises OwctlError.

    ``new_environment`` says that ``.env`` was made just now. What differs keeps the base that it had.
    """
    before = read_record(directory)
    texts = dict(before.texts) if before else {}
    found = {
        name: text
        for name, text in shipped_now(directory).items()
        if _text_of(directory / name) == text
    }
    if not found:
        return  # the stack is not one of ours
    if new_environment or (before is None and not _mentions_less(directory)):
        found[shipped_files.EXAMPLE_FILE] = shipped_files.example_text()
    if {**texts, **found} == texts:
        return
    document = {"schema": SCHEMA, "owctl_version": version, "texts": {**texts, **found}}
    _write(directory / FOLDER / FILE, (json.dumps(document, indent=1) + "\n").encode())


def _mentions_less(directory: Path) -> bool:
    from owctl.project.example_variables import mentioned, variables_of

    known = mentioned(_text_of(directory / ".env") or "")
    return not variables_of(shipped_files.example_text()).keys() <= known


def _text_of(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return None


def _write(path: Path, data: bytes) -> None:
    try:
        before = path.read_bytes()
    except FileNotFoundError:
        create_file(path, data, mode=PRIVATE_MODE)
    except OSError as error:
        raise cannot("read", path, error) from error
    else:
        replace_file(path, data, expected=before)
