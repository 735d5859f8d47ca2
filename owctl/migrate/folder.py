"""The folder of a migration: its journal and what lies in it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from owctl.backup.publish import new_id
from owctl.errors import OwctlError
from owctl.project.private_file import cannot, make_folder, put_file

# -- A migration's folder: where its copy of the source, its journal and its reports are.


FOLDER_NAME = "migrations"
SOURCE_NAME = "source"
DATABASE_NAME = "webui.db"


def new_folder(working_dir: Path) -> Path:
    """Make the folder of a new migration in the project's folder; mode 0700."""
    folder = working_dir / FOLDER_NAME / new_id(datetime.now(UTC))
    try:
        make_folder(folder, 0o700)
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
    try:
        put_file(path, text.encode("utf-8", "backslashreplace"))
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


# -- A migration's journal: what was chosen, and which steps are done, so that a run can go on.


NAME = "journal.json"
Step = Literal[
    "examine", "stop-old", "capture", "start-new", "backup", "halt", "load", "files", "start",
    "prove",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user chose; the same for every run of a migration."""

    passwords: Literal["one-time", "keep"]
    replace: bool = False
    orphans: str | None = None
    on_duplicate_email: Literal["stop", "rename"] = "stop"
    on_overflow: Literal["reject", "widen"] = "reject"
    keep_share_links: bool = False
    allow_unknown: bool = False
    prompts_become_public: bool = False


@dataclass(slots=True)
class Journal:
    """The journal of the migration in ``folder``.

    ``origin`` is ``{kind, name, uploads}``: a file, a container or a volume. ``old_was_running``
    is for the way back. ``facts`` are what steps have found, for those that come after them.
    """

    folder: Path
    project: str
    origin: dict[str, Any]
    choices: Choices
    old_was_running: bool = False
    rolled_back: bool = False
    done: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The migration's id: the folder's name."""
        return self.folder.name

    @property
    def finished(self) -> bool:
        """Whether the last step is done."""
        return "prove" in self.done

    def is_done(self, step: Step) -> bool:
        """Whether a step is done."""
        return step in self.done

    def finish(self, step: Step, **facts: Any) -> None:  # noqa: ANN401  # what JSON can hold
        """Write down that a step is done, with what it found."""
        self.done[step] = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        self.facts |= facts
        self.write()

    def write(self) -> None:
        """Make the journal durable; raises OwctlError."""
        document = {"schema": 1, "id": self.id, **asdict(self)}
        del document["folder"]
        write_document(self.folder / NAME, document)


def read_journal(folder: Path) -> Journal:
    """Return the journal of a migration's folder; raises OwctlError."""
    document = read_document(folder / NAME)
    if document is None:
        raise OwctlError(f"{folder} is no migration: it has no {NAME}.", hint="a new migration")
    try:
        return Journal(
            folder,
            document["project"],
            document["origin"],
            Choices(**document["choices"]),
            document["old_was_running"],
            document["rolled_back"],
            document["done"],
            document["facts"],
        )
    except (KeyError, TypeError) as error:
        raise OwctlError(f"{folder / NAME} is damaged: {error}.", hint="a new migration") from error
