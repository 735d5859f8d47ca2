"""Folders refer to folders: parents that are missing, of another user, or in a circle."""

from collections.abc import Mapping


def settled_parent(
    folder: bytes, parent: bytes | None, folders: Mapping[bytes, tuple[bytes, bytes | None]]
) -> tuple[bytes | None, str | None]:
    """Return the parent that the folder gets, and the code of why it is not the one it had.

    ``folders``: (user, parent) by id of every folder that the target gets. A circle is cut at the
    folder with the smallest id in it, so that the result does not depend on any order.
    """
    if parent is None or parent == b"":
        return None, None
    if parent not in folders:
        return None, "parent-missing"
    if folder in folders and folders[parent][0] != folders[folder][0]:
        return None, "parent-of-other-user"
    circle = _circle_through(folder, folders)
    if circle and folder == min(circle):
        return None, "circle-cut"
    return parent, None


def _circle_through(
    folder: bytes, folders: Mapping[bytes, tuple[bytes, bytes | None]]
) -> set[bytes]:
    """Return the folders of the circle that the folder is part of; empty if it is in none."""
    met: set[bytes] = set()
    at: bytes | None = folder
    while at is not None and at not in met and at in folders:
        met.add(at)
        at = folders[at][1]
    return met if at == folder else set()
