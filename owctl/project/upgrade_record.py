"""What is on record of upgrades: the images before and after, what is under way, what is held.

One file, ``.owctl/upgrade.json``, replaced as a whole: a kill leaves the record of before or of after.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from owctl.compose.model import Stack
from owctl.project.state import StateFile

Kind = Literal["upgrade", "rollback"]
# "acquiring": images are fetched, nothing else; "replacing": containers are replaced;
# "returning": they go back to the images before.
Phase = Literal["acquiring", "replacing", "returning"]


@dataclass(frozen=True, slots=True)
class ImageNote:
    """An image as it was noted: ``reference`` is the files' name for it at that time.

    ``kept_as`` is a name that owctl gave it, so that nothing prunes it; None if it got none.
    ``digest`` is the registry's (``sha256:…``), ``version`` the image's own label.
    """

    reference: str
    image_id: str
    kept_as: str | None = None
    digest: str | None = None
    version: str | None = None

    @property
    def in_words(self) -> str:
        """Return it as a user reads it: its version, if it says one, and the short id."""
        identity = self.image_id.removeprefix("sha256:")[:12]
        return f"{self.version} ({identity})" if self.version else identity


@dataclass(frozen=True, slots=True)
class Change:
    """One service from one image to another."""

    service: str
    before: ImageNote
    after: ImageNote


@dataclass(frozen=True, slots=True)
class Upgrade:
    """One upgrade, or rollback: what it changed, the backup made before, the database's columns.

    ``columns`` are "schema.table.column type" of the time before; None where they were not had.
    """

    id: str
    kind: Kind
    started_at: str
    changes: tuple[Change, ...] = ()
    backup_id: str | None = None
    columns: tuple[str, ...] | None = None

    @property
    def unfinished(self) -> str:
        """Return the sentence that says that it was interrupted while it replaced containers."""
        return (
            f"The {self.kind} of {', '.join(self.services)} that began at {self.started_at} was "
            f"interrupted: {self.ways_on}"
        )

    @property
    def ways_on(self) -> str:
        """Return which commands end it, once it was interrupted."""
        if self.kind == "rollback":
            return "`owctl rollback` goes on with it, `owctl upgrade` takes the newest images"
        return "`owctl upgrade` goes on with it, `owctl rollback` goes back"

    @property
    def services(self) -> tuple[str, ...]:
        """Return the names of the services that it changes."""
        return tuple(change.service for change in self.changes)

    def of(self, service: str) -> Change | None:
        """Return the change of a service, None if it has none."""
        return next((each for each in self.changes if each.service == service), None)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """An upgrade that has not come to its end.

    ``tags`` are the references that are fetched, and the id of the image that each meant before.
    """

    upgrade: Upgrade
    phase: Phase
    tags: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Held:
    """A service that is kept at an image, as long as the files name ``reference``."""

    reference: str
    image: ImageNote
    why: str


@dataclass(frozen=True, slots=True)
class Record:
    """All that is on record; ``finished`` has the newest last, ``held`` is by service."""

    finished: tuple[Upgrade, ...] = ()
    held: Mapping[str, Held] = field(default_factory=dict)
    under_way: UnderWay | None = None

    @property
    def kept_names(self) -> frozenset[str]:
        """Return the names of all images that are kept."""
        upgrades = [*self.finished, *([self.under_way.upgrade] if self.under_way else ())]
        notes = [note for each in upgrades for c in each.changes for note in (c.before, c.after)]
        notes += [held.image for held in self.held.values()]
        return frozenset(note.kept_as for note in notes if note.kept_as)

    def newest_of(self, service: str) -> Upgrade | None:
        """Return the newest finished upgrade that changed a service, None if none did."""
        return next((each for each in reversed(self.finished) if each.of(service)), None)


def read_record(working_dir: Path) -> Record:
    """Return the record, an empty one if there is none; raises OwctlError where it is damaged."""
    return _FILE.read(working_dir) or Record()


def write_record(working_dir: Path, record: Record) -> None:
    """Put the record in place, whole and durable; raises OwctlError."""
    _FILE.write(working_dir, record)


def finish(record: Record, upgrade: Upgrade, held: Mapping[str, Held]) -> Record:
    """Return the record with an upgrade done; what no service needs any more is left out."""
    finished = list[Upgrade]()
    seen = set[str]()
    for each in (upgrade, *reversed(record.finished)):
        if set(each.services) - seen:
            finished.insert(0, each)
            seen |= set(each.services)
    return Record(tuple(finished), dict(held))


def hold_images(stack: Stack, record: Record) -> Stack:
    """Return the stack with the services held at the images that the record says.

    A service whose files name another image by now is not held: that is a change asked for.
    """
    released = release_images(stack)
    held = {
        name: replace(service, held_image=hold.image.kept_as or hold.image.image_id)
        for name, hold in record.held.items()
        if (service := released.services.get(name)) is not None
        and service.declared_image(stack.project) == hold.reference
    }
    return replace(released, services={**released.services, **held})


def release_images(stack: Stack, names: Sequence[str] | None = None) -> Stack:
    """Return the stack with the images that the files name, for some services or all."""
    services = {
        name: replace(service, held_image=None) if names is None or name in names else service
        for name, service in stack.services.items()
    }
    return replace(stack, services=services)


def _parse(document: Mapping[str, Any]) -> Record:
    under_way = document["under_way"]
    if under_way is not None and under_way["phase"] not in get_args(Phase):
        raise ValueError(f"unknown phase {under_way['phase']!r}")
    return Record(
        finished=tuple(_upgrade(each) for each in document["finished"]),
        held={
            name: Held(each["reference"], ImageNote(**each["image"]), each["why"])
            for name, each in (document["held"] or {}).items()
        },
        under_way=None
        if under_way is None
        else UnderWay(_upgrade(under_way["upgrade"]), under_way["phase"], under_way["tags"]),
    )


def _upgrade(document: Mapping[str, Any]) -> Upgrade:
    columns = document["columns"]
    return Upgrade(
        id=document["id"],
        kind=document["kind"],
        started_at=document["started_at"],
        changes=tuple(
            Change(each["service"], ImageNote(**each["before"]), ImageNote(**each["after"]))
            for each in document["changes"]
        ),
        backup_id=document["backup_id"],
        columns=None if columns is None else tuple(columns),
    )


_FILE = StateFile(
    "upgrade.json",
    parse=_parse,
    render=asdict,
    damaged="The record of upgrades, {path}, is damaged ({kind}: {error}).",
    remedy="mv {path} {path}.damaged; docs/upgrade.md says how to go back without it",
)
path_of = _FILE.path
