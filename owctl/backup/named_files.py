"""The files that the database names: each should turn up in the archive of a volume."""

import posixpath
from collections.abc import Callable, Iterable

from owctl.backup.inventory import Inventory

_SHOWN = 3


class NamedFiles:
    """Uploaded files by volume, crossed off as the archives show them.

    A path is one of a container's; which volume it lies in, the mounts tell. A relative one counts
    from the container's working directory.
    """

    def __init__(self, inventory: Inventory, paths: Iterable[str] = ()) -> None:
        self.total = 0
        self._missing: dict[str, set[str]] = {}
        self._elsewhere: list[str] = []
        roots = _roots(inventory)
        for path in paths:
            self.total += 1
            place = _place(path, roots)
            if place is None:
                self._elsewhere.append(path)
            else:
                self._missing.setdefault(place[0], set()).add(place[1])

    def in_volume(self, volume_name: str) -> Callable[[str], None]:
        """Return what is to be called with the name of each entry of that volume's archive."""
        return self._missing.get(volume_name, set()).discard

    def warning(self) -> str | None:
        """Return what to tell the user when files are missing, None when all were there."""
        missing = sorted(
            [name for names in self._missing.values() for name in names] + self._elsewhere
        )
        if not missing:
            return None
        shown = ", ".join(missing[:_SHOWN]) + (", …" if len(missing) > _SHOWN else "")
        return (
            f"{len(missing)} of {self.total} files that the database names are not in the backup: "
            f"{shown}"
        )


def _roots(inventory: Inventory) -> list[tuple[str, str, str]]:
    """Return (mount point, volume's name, working directory), the deepest mount point first."""
    found = {
        (
            posixpath.normpath(point.destination),
            source.name,
            str((point.container.raw.get("Config") or {}).get("WorkingDir") or "/"),
        )
        for source in inventory.volumes
        for point in source.mount_points
    }
    return sorted(found, key=lambda root: -len(root[0]))


def _place(path: str, roots: list[tuple[str, str, str]]) -> tuple[str, str] | None:
    for destination, volume, working_dir in roots:
        whole = posixpath.normpath(posixpath.join(working_dir, path))
        if whole.startswith(destination + "/"):
            return volume, whole[len(destination) + 1 :]
    return None
