"""The journal of a changeover: what is staged and kept where, and how far it is.

A changeover puts new data in place of what is there, by one swap, and keeps what was there until it
is finished or undone. Its journal is written before anything is made that it names, and removed
after the last of it is gone. So whoever finds it after a kill knows all that there can be.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

from owctl.errors import OwctlError
from owctl.project.state import SCHEMA, StateFile

# A restore stages while everything runs; an upgrade prepares so, and moves while services stand still.
Phase = Literal[
    "staging", "staged", "preparing", "moving", "swapping", "swapped", "undoing", "finishing"
]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of changeover, in words.

    ``title`` and ``half`` are filled in from its journal. In the phases of ``half_done`` no command
    but those of ``allowed`` may change anything. ``repeats`` are the actions that go on with an undo
    and with a finish. ``manual`` says how to go back by hand.
    """

    file: str
    noun: str
    data: str
    done: str
    command: str
    title: str
    half: str
    phases: tuple[Phase, ...]
    half_done: frozenset[Phase]
    allowed: frozenset[str]
    repeats: tuple[str, str]
    manual: str

    def way(self, *actions: str) -> str:
        """Return the commands that do one or the other."""
        return "; or ".join(f"owctl {self.command} {action}" for action in actions)

    def state_file(
        self,
        parse: Callable[[dict[str, Any]], _T],
        render: Callable[[_T], Mapping[str, Any]],
    ) -> StateFile[_T]:
        """Return the file that holds its journal."""
        article = "an" if self.noun.startswith("u") else "a"
        return StateFile(
            self.file,
            parse,
            render,
            damaged=f"The journal of {article} {self.noun}, {{path}}, is damaged ({{kind}}: {{error}}).",
            remedy=f"{self.manual}, which says how to go back by hand",
            cannot=f"Cannot {{action}} the journal of the {self.noun}, {{path}}",
        )


RESTORE = Kind(
    file="restore.json",
    noun="restore",
    data="data",
    done="restored",
    command="restore",
    title="restore of {backup_id}",
    half="was interrupted while the data was swapped: some of it is the backup's, some is from before",
    phases=("staging", "staged", "swapping", "swapped", "undoing", "finishing"),
    # Half of the data is swapped, perhaps: nothing may run on it.
    half_done=frozenset({"swapping", "undoing"}),
    allowed=frozenset(
        {"clean", "restore", "restore finish", "restore resume", "restore undo", "stop"}
    ),
    repeats=("undo", "finish"),
    manual="docs/restore.md",
)
POSTGRES = Kind(
    file="postgres-upgrade.json",
    noun="upgrade",
    data="database",
    done="upgraded",
    command="upgrade --postgres-major",
    title="upgrade from PostgreSQL {old_major} to {new_major}",
    half="was interrupted (phase {phase}): the database is between the two",
    phases=("preparing", "moving", "swapping", "swapped", "undoing", "finishing"),
    # Services stand still for it, or the volume is between two states.
    half_done=frozenset({"moving", "swapping", "undoing"}),
    allowed=frozenset({"clean", "stop", "upgrade --postgres-major"}),
    repeats=("resume", "resume"),
    manual="docs/upgrade-postgres.md",
)
_KINDS = (RESTORE, POSTGRES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """What every journal has; each kind adds what it is about.

    ``running`` are the services that ran before; ``started_at`` is ISO 8601 in UTC. ``started`` says
    that they run again, on the new data: what runs from then on is the user's choice.
    """

    kind: ClassVar[Kind]

    id: str
    project: str
    engine_id: str
    phase: Phase
    started_at: str
    running: tuple[str, ...] = ()
    had_containers: bool = True
    started: bool = False

    @property
    def name(self) -> str:
        """The changeover in words: ``restore of 20250131T031500Z-9f3a1c``."""
        return self.kind.title.format_map(asdict(self))

    @property
    def is_half_done(self) -> bool:
        """Whether the data is between two states, or services stand still for it."""
        return self.phase in self.kind.half_done

    @classmethod
    def path(cls, working_dir: Path) -> Path:
        """Return where the journal of the project in ``working_dir`` is, if there is one."""
        return cls._file().path(working_dir)

    @classmethod
    def exists(cls, working_dir: Path) -> bool:
        """Return whether there is one. Raises OwctlError where that cannot be seen."""
        return cls._file().exists(working_dir)

    @classmethod
    def read(cls, working_dir: Path) -> Self | None:
        """Return the journal of the project, None if none is under way; raises OwctlError."""
        return cls._file().read(working_dir)

    def write(self, working_dir: Path) -> None:
        """Put the journal in place, whole and durable; raises OwctlError."""
        self._file().write(working_dir, self)

    def advance(self, working_dir: Path, phase: Phase, **changes: Any) -> Self:  # noqa: ANN401
        """Write down that a phase has come; returns the new journal."""
        found = replace(self, phase=phase, **changes)
        found.write(working_dir)
        return found

    @classmethod
    def remove(cls, working_dir: Path) -> None:
        """Remove the journal, durably: the changeover is over. Raises OwctlError."""
        cls._file().remove(working_dir)

    def to_json(self) -> dict[str, Any]:
        """Return the document that the file holds."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def typed(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a document with their types; those of later versions may be missing."""
        return {**document, "running": tuple(document["running"])}

    @classmethod
    def _file(cls) -> StateFile[Self]:
        return cls.kind.state_file(cls._parse, asdict)

    @classmethod
    def _parse(cls, document: dict[str, Any]) -> Self:
        _check_phase(cls.kind, document)
        found = cls.typed(document)
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in found.items() if name in names})


def new_id() -> str:
    """Return the name of a new changeover: eight hexadecimal digits."""
    return secrets.token_hex(4)


def now() -> str:
    """Return the time as a journal has it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def journal_paths(working_dir: Path) -> tuple[Path, ...]:
    """Return where the journals of a project are, of those that there are."""
    files = (kind.state_file(dict, dict) for kind in _KINDS)
    return tuple(file.path(working_dir) for file in files if file.exists(working_dir))


def refuse_half_done(working_dir: Path, command: str) -> None:
    """Raise OwctlError if a changeover was cut off midway, and ``command`` must not work on that."""
    for kind in _KINDS:
        if command in kind.allowed:
            continue
        document = kind.state_file(partial(_check_phase, kind), dict).read(working_dir)
        if document is not None and document["phase"] in kind.half_done:
            raise OwctlError(
                f"The {kind.title} {kind.half}.".format_map(document),
                hint=kind.way("resume", "undo"),
            )


def refuse_second(journal: Journal | None) -> None:
    """Raise OwctlError where a changeover of the same kind is under way already."""
    if journal is None:
        return
    kind, phase = journal.kind, journal.phase
    done = "is not finished yet" if phase == "swapped" else "was interrupted"
    ways = {
        "swapped": f"{kind.way('finish')}, which drops what it keeps; or {kind.way('undo')}",
        "undoing": kind.way(kind.repeats[0]),
        "finishing": kind.way(kind.repeats[1]),
    }
    raise OwctlError(
        f"The {journal.name}, begun {journal.started_at}, {done} (phase {phase}).",
        hint=ways.get(phase, kind.way("resume", "undo")),
    )


def _check_phase(kind: Kind, document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of which as much is as it must be; raises ValueError and KeyError."""
    if document["phase"] not in kind.phases:
        raise ValueError(f"unknown phase {document['phase']!r}")
    kind.title.format_map(document)
    return document
