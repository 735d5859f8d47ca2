"""The database's files in their volume: the new ones beside, then in place; the old ones kept.

Volumes have no rename, so both databases end in the volume that the compose files name: the new one
is copied into ``.owctl-postgres-<id>/new`` of the data folder, and put in place by the renames of a
restore (``backup/restore/swap.py``), which can be begun again at any point and undone. Nothing that
uses the volume runs meanwhile; the caller holds the project's lock.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from owctl.backup.restore import swap
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.images import image_id
from owctl.engine.one_off import SOURCE_PATH, Helper, volume_helper
from owctl.engine.small_files import read_start
from owctl.engine.volumes import inspect_volume
from owctl.errors import ImageMissing, NotFound, OwctlError
from owctl.upgrade.postgres_major_journal import Journal

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
