"""What a user names to restore from: a backup of ours, or files of docker-manage.sh."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from owctl.backup.catalogue import find_backup, look_at
from owctl.backup.encryption import Identity
from owctl.backup.restore.legacy import LegacySource, is_legacy
from owctl.backup.restore.source import BackupSource, Source
from owctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user named, and the keys to read it with.

    ``references`` are an id, its beginning, ``latest``, a path, or files of the script; paths are
    seen from ``working_dir``.
    """

    references: tuple[str, ...]
    working_dir: Path
    identities: tuple[Identity, ...] = ()

    def find(self, parent: Path, project: str | None, *, record: bool = True) -> Source:
        """Return it; ``parent`` is the folder of the backups. Raises as ``open_source``.

        ``latest`` is the newest of ``project``, as several may share the folder; None: of any.
        """
        paths = [(self.working_dir / reference).resolve() for reference in self.references]
        if len(paths) == 1 and not is_legacy(paths[0]):
            paths = [self._find_backup(parent, project)]
        return open_source(paths, record=record, identities=self.identities)

    def _find_backup(self, parent: Path, project: str | None) -> Path:
        return find_backup(parent, self.references[0], self.working_dir, project).path


def open_source(
    paths: Sequence[Path], *, record: bool = True, identities: Sequence[Identity] = ()
) -> Source:
    """Return what stands at the paths. Raises UsageError, and BackupInvalid for a bad manifest.

    ``record``: whether to write down beside a backup how verifying it went.
    """
    if any(is_legacy(path) and not path.is_dir() for path in paths):
        return LegacySource(paths)
    if len(paths) != 1:
        raise UsageError(
            f"A restore takes one backup, and got {len(paths)}.", hint="owctl backup list"
        )
    return BackupSource(look_at(paths[0]), record=record, identities=identities)
