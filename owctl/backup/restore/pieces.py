"""The pieces of one restore, by its journal: what staging, swapping and going back are made of.

Each can be called again after a kill at any point.
"""

from functools import cached_property

from owctl.backup.inventory import take_inventory
from owctl.backup.restore.configuration import discard_files, swap_files, swap_files_back
from owctl.backup.restore.database import DatabaseSwap
from owctl.backup.restore.events import Receiver, RestoreProgress, State
from owctl.backup.restore.journal import Journal
from owctl.backup.restore.services import Services
from owctl.backup.restore.volumes import discard_staging, swap_volume, unswap_volume
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.images import inspect_image
from owctl.errors import ImageMissing, OwctlError


class Pieces:
    """What one journal names, on one engine."""

    def __init__(
        self, engine: Engine, stack: Stack, journal: Journal, services: Services, receive: Receiver
    ) -> None:
        self.engine = engine
        self.stack = stack
        self.journal = journal
        self.services = services
        self.receive = receive

    def swap(self) -> None:
        """Put everything that is staged in place; nothing may use it meanwhile."""
        for volume in self.journal.volumes:
            self._tell(volume.key, "working", "putting the restored files in place")
            swap_volume(*self._volume(volume.name))
            self._tell(volume.key, "done", "in place")
        if self.journal.database is not None:
            self._tell("database", "working", "putting the restored one in place")
            DatabaseSwap(self.services.server(), self.journal.database).swap()
            self._tell("database", "done", "in place")
        swap_files(self.stack.working_dir, self.journal.id, self.journal.config)

    def swap_back(self) -> None:
        """Put everything back that was in place before."""
        swap_files_back(self.stack.working_dir, self.journal.id, self.journal.config)
        if self.journal.database is not None:
            self._tell("database", "working", "putting the previous one back")
            DatabaseSwap(self.services.server(), self.journal.database).swap_back()
            self._tell("database", "done", "as before")
        for volume in self.journal.volumes:
            self._tell(volume.key, "working", "putting the previous files back")
            unswap_volume(*self._volume(volume.name))
            self._tell(volume.key, "done", "as before")

    def discard_restored(self) -> None:
        """Remove what was staged, and is not in place."""
        if self.journal.database is not None:
            DatabaseSwap(self.services.start_database(), self.journal.database).drop_staged()
        self._discard_files()

    def discard_kept(self) -> None:
        """Remove what was there before the restore."""
        if self.journal.database is not None:
            DatabaseSwap(self.services.start_database(), self.journal.database).drop_kept()
        self._discard_files()

    @cached_property
    def image_id(self) -> str:
        """Return an image for helper containers: one that is here. Raises ImageMissing."""
        return helper_image(self.engine, self.stack, self.services)

    def _volume(self, name: str) -> tuple[Engine, str, str, str, str]:
        return self.engine, self.stack.project, self.image_id, name, self.journal.id

    def _discard_files(self) -> None:
        for volume in self.journal.volumes:
            discard_staging(*self._volume(volume.name))
        discard_files(self.stack.working_dir, self.journal.id)

    def _tell(self, subject: str, state: State, text: str) -> None:
        self.receive(RestoreProgress(subject, state, text))


def helper_image(engine: Engine, stack: Stack, services: Services) -> str:
    """Return the id of an image with a shell, the database's first; raises ImageMissing."""
    names = [services.database, *stack.services] if services.database else [*stack.services]
    containers = {c.service: c.image_id for c in take_inventory(engine, stack).containers}
    for name in names:
        if name in containers:
            return containers[name]
    for name in names:
        image = inspect_image(engine, stack.services[name].image_name(stack.project))
        if image is not None:
            return image.id
    raise ImageMissing(
        "Files are restored through a container, and none of the stack's images is here.",
        hint="owctl start",
    )


def check_same_engine(engine: Engine, stack: Stack, journal: Journal) -> None:
    """Raise OwctlError where the journal is about another project, or another engine."""
    if journal.project != stack.project:
        raise OwctlError(
            f"The restore that was begun in this folder is of the project {journal.project}; "
            f"this is {stack.project}.",
            hint=f"owctl -p {journal.project} restore status",
        )
    if journal.engine_id != engine.engine_id:
        raise OwctlError(
            "The restore was begun on another engine than this one.",
            hint="owctl --context NAME restore status, naming the engine of that time",
        )
