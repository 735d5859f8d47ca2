"""The files of two clusters in one volume, swapped and swapped back; and what is left of the old server: its image."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from owctl.compose.model import Stack
from owctl.doctor.finding import Finding
from owctl.engine.archives import read_start
from owctl.engine.connection import Engine
from owctl.engine.containers import list_containers, remove_container
from owctl.engine.images import image_id, remove_image, tag_image
from owctl.engine.volumes import inspect_volume
from owctl.errors import EngineError, ImageMissing, NotFound, OwctlError
from owctl.project.upgrade_record import read_record, write_record
from owctl.upgrade.postgres.place import Journal
from owctl.volumes import swap
from owctl.volumes.one_off import SOURCE_PATH, Helper, volume_helper

# -- The old server's image, kept for the way back: without a name it would go with the next prune.


def keep_old_image(engine: Engine, journal: Journal) -> None:
    """Give an image that goes by its id only a name of owctl's own. Raises the engine's errors."""
    if journal.old_image.startswith("sha256:"):
        tag_image(engine, journal.old_image, _name(journal))


def release_old_image(engine: Engine, journal: Journal) -> None:
    """Take that name away; an image that a container uses stays."""
    if image_id(engine, _name(journal)) is not None:
        with suppress(EngineError):
            remove_image(engine, _name(journal), force=True)


def _name(journal: Journal) -> str:
    return f"owctl-postgres-before-upgrade:{journal.id}"


# -- The database's files in their volume: the new ones beside, then in place; the old ones kept.
# Volumes have no rename, so both databases end in the volume that the compose files name: the new one
# is copied into ``.owctl-postgres-<id>/new`` of the data folder, and put in place by the renames of a
# restore (``volumes/swap.py``), which can be begun again at any point and undone. Nothing that
# uses the volume runs meanwhile; the caller holds the project's lock.


_ID = re.compile(r"[0-9a-f]{8}")
_OWNER_AND_MODE = "stat -c '%u:%g 0%a' "
# Every file's content, whatever order the disk has them in.
_DIGEST = "find . -type f -print0 | sort -z | xargs -0 -r sha256sum | sha256sum"
# $1 is the staging folder, $2 the folder to copy. What is not the same afterwards is not staged.
_COPY = f"""
work=./$1
mkdir -m 700 "$work/new"
cp -a "$2/." "$work/new/"
before=$(cd "$2" && {_DIGEST})
now=$(cd "$work/new" && {_DIGEST})
[ "$before" = "$now" ] || {{ echo "the copy differs from what was copied" >&2; exit 1; }}
"""
_SIZE_OF_OLD = 'du -sk "./$1/old" | cut -f 1'


def files_of(engine: Engine, stack: Stack, journal: Journal) -> "ClusterFiles":
    """Return the files of the upgrade that a journal names; raises ImageMissing without any image."""
    references = (journal.old_image, journal.new_image)
    found = (image_id(engine, reference) for reference in references if reference)
    image = next((identity for identity in found if identity is not None), None)
    if image is None:
        raise ImageMissing(
            f"Neither {journal.old_image} nor {journal.new_image} is on this machine, and the "
            "files are worked on through a container of one of them.",
            hint=f"docker pull {journal.new_image}",
        )
    return ClusterFiles(engine, stack.project, image, journal.volume, journal.folder, journal.id)


@dataclass(frozen=True, slots=True)
class ClusterFiles:
    """The files of one upgrade: ``folder`` is where the data is in ``volume``, "" for its root."""

    engine: Engine
    project: str
    image_id: str
    volume: str
    folder: str
    upgrade_id: str

    def stage(self, new_volume: str) -> None:
        """Copy what is in the new volume beside the live files, and compare the two.

        What was staged before is thrown away. Raises OwctlError.
        """
        source = f"{SOURCE_PATH}/{self.folder}".rstrip("/")
        with self._helper(source_name=new_volume) as helper:
            helper.run(swap.BEGIN, [self.staging])
            helper.run(_COPY, [self.staging, source])
            root = helper.run(f'{_OWNER_AND_MODE} "$1"', [source]).strip()
            helper.run(swap.STAGED, [self.staging, root])

    def put_in_place(self) -> None:
        """Put the new files in place of the live ones, which are kept; or go on with it."""
        with self._helper() as helper:
            live = helper.run(f"{_OWNER_AND_MODE} .").strip()
            helper.run(swap.GO, [self.staging, "swapped", live])

    def put_back(self) -> None:
        """Put the old files back in place, from any state; no error where nothing was staged."""
        if self.state() == "absent":
            return
        with self._helper() as helper:
            helper.run(swap.GO, [self.staging, "staged", ""])

    def discard(self) -> None:
        """Remove what is beside the live files; raises OwctlError in the middle of a swap."""
        if self.state() == "swapping":
            raise OwctlError(
                f"The volume {self.volume} is in the middle of an upgrade.",
                hint="owctl upgrade --postgres-major resume; or undo",
            )
        try:
            with self._helper() as helper:
                helper.run(swap.DISCARD, [self.staging])
        except NotFound:
            return

    def state(self) -> swap.State:
        """Return how far the swap is; "swapping" is an interrupted one."""
        if inspect_volume(self.engine, self.volume) is None:
            return "absent"
        with self._helper(running=False) as helper:
            path = f"{helper.path}/{self.staging}/{swap.PHASE_FILE}"
            phase = read_start(self.engine, helper.id, path) or b""
        return swap.STATES.get(phase.decode("ascii", "replace").strip(), "absent")

    def kept_bytes(self) -> int:
        """Return how much room the old files take."""
        with self._helper() as helper:
            return int(helper.run(_SIZE_OF_OLD, [self.staging]).strip() or 0) * 1024

    @property
    def staging(self) -> str:
        """The folder in the data folder that holds what is not live."""
        if not _ID.fullmatch(self.upgrade_id):
            raise ValueError(f"{self.upgrade_id!r} is no id of an upgrade")
        return swap.CLUSTER_PREFIX + self.upgrade_id

    @contextmanager
    def _helper(self, *, running: bool = True, source_name: str | None = None) -> Iterator[Helper]:
        with volume_helper(
            self.engine,
            self.project,
            self.image_id,
            self.volume,
            "upgrade",
            writable=running,
            running=running,
            source_name=source_name,
        ) as helper:
            yield replace(helper, path=f"{helper.path}/{self.folder}".rstrip("/"))


def forget_images(stack: Stack, service: str) -> None:
    """Take the database off the record of upgrades: no image of before can read its files now.

    What leads back is the undo of this upgrade, and no rollback. Raises OwctlError.
    """
    record = read_record(stack.working_dir)
    finished = []
    for each in record.finished:
        changes = tuple(change for change in each.changes if change.service != service)
        finished += [replace(each, changes=changes)] if changes else []
    held = {name: hold for name, hold in record.held.items() if name != service}
    if (tuple(finished), held) != (record.finished, dict(record.held)):
        write_record(stack.working_dir, replace(record, finished=tuple(finished), held=held))


def remove_others(engine: Engine, stack: Stack, journal: Journal, image: str) -> None:
    """Remove the database's containers, which do not run, unless they are of this image."""
    wanted = image_id(engine, image)
    for container in list_containers(engine, stack.project, services=[journal.service]):
        if container.image_id != wanted:
            remove_container(engine, container.id, force=True)


# -- What the doctor says of an upgrade to another PostgreSQL that was not brought to its end.


# By then it is known whether the new one works.
LONG_ENOUGH = timedelta(days=7)


def check_kept(working_dir: Path, now: datetime | None = None) -> Finding | None:
    """Return a finding about an old database that is kept for long, or an upgrade that was cut off.

    None where there is nothing to say.
    """
    try:
        journal = Journal.read(working_dir)
    except OwctlError as error:
        return Finding("postgres-version", "failed", error.message.rstrip("."), error.hint)
    if journal is None:
        return None
    if journal.is_half_done:
        return Finding(
            "postgres-version",
            "failed",
            f"the {journal.name} was interrupted (phase {journal.phase})",
            journal.kind.way("resume", "undo"),
        )
    age = (now or datetime.now(UTC)) - datetime.fromisoformat(journal.started_at)
    if journal.phase == "preparing" or age < LONG_ENOUGH:
        return None
    return Finding(
        "postgres-version",
        "warning",
        f"the database of PostgreSQL {journal.old_major} is still kept in the volume "
        f"{journal.volume}, {age.days} days after the upgrade to {journal.new_major}",
        "owctl upgrade --postgres-major finish, which drops it",
    )
