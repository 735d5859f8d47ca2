"""Which uploaded file a row names: by what its path ends with, whatever machine wrote what stands before."""

import posixpath
from collections.abc import Container, Iterator

_MARK = "/uploads/"


def upload_name(path: str, names: Container[str] | None = None) -> str | None:
    """Return a path's name below the folder of uploads; None if it is in no such folder, or empty.

    ``names`` are the files that were captured, as they are called there: a path that ends with one
    of them is that file. None: they are not known.
    """
    spellings = [path] if "\\" not in path else [path, path.replace("\\", "/")]
    marked = [None if "://" in spelled else _below_mark(spelled) for spelled in spellings]
    for spelled, below in zip(spellings, marked, strict=True):
        for name in tails(spelled):
            # What lies in a folder below uploads is not the file of that name that lies above it.
            if names is None or (below is not None and len(name) < len(below)):
                break
            if name in names:
                return name
    return marked[0] or marked[-1]


def tails(path: str) -> Iterator[str]:
    """Yield what a path ends with, the longest first."""
    parts = [part for part in path.split("/") if part]
    for start in range(len(parts)):
        yield "/".join(parts[start:])


def relative_to(folder: str, path: str) -> str | None:
    """Return a path's name below a folder of the new backend; None if it is not in there."""
    inside = posixpath.normpath(folder).rstrip("/") + "/"
    clean = posixpath.normpath(path)
    return clean.removeprefix(inside) if clean.startswith(inside) else None


def _below_mark(path: str) -> str | None:
    _, mark, name = ("/" + path).rpartition(_MARK)
    clean = posixpath.normpath(name) if mark and name and not name.endswith("/") else ""
    return None if not clean or clean.startswith(("..", "/")) else clean
