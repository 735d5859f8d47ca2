"""A migration's journal: what was chosen, and which steps are done, so that a run can go on."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from owctl.errors import OwctlError
from owctl.migrate.folder import read_document, write_document

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
