"""What a user names to restore from: a backup of ours, or files of docker-manage.sh."""

from collections.abc import Sequence
from pathlib import Path

from owctl.backup.catalogue import find_backup, look_at
from owctl.backup.restore.legacy import LegacySource, is_legacy
from owctl.backup.restore.source import BackupSource, Source
from owctl.errors import UsageError


def open_source(paths: Sequence[Path], *, record: bool = True) -> Source:
    """Return what stands at the paths. Raises UsageError, and BackupInvalid for a bad manifest.

    ``record``: whether to write down beside a backup how verifying it went.
    """
    if any(is_legacy(path) and not path.is_dir() for path in paths):
        return LegacySource(paths)
    if len(paths) != 1:
        raise UsageError(
            f"A restore takes one backup, and got {len(paths)}.", hint="owctl backup list"
        )
    return BackupSource(look_at(paths[0]), record=record)


def find_source(
    parent: Path, references: Sequence[str], working_dir: Path, *, record: bool = True
) -> Source:
    """Return what a user names: an id, its beginning, ``latest``, a path, or files of the script.

    Paths are seen from ``working_dir``; ``parent`` is the folder of the project's backups. Raises as
    ``open_source`` does.
    """
    paths = [(working_dir / reference).resolve() for reference in references]
    if len(references) == 1 and not is_legacy(paths[0]):
        paths = [find_backup(parent, references[0], working_dir).path]
    return open_source(paths, record=record)
