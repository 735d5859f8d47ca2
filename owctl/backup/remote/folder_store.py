"""Backups in another folder of this machine: a second disk, a mounted share."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from owctl.backup.remote.store import PIECE_BYTES, TEMPORARY_SUFFIX, Content, MissingRemotely
from owctl.errors import OwctlError
from owctl.project.private_file import make_folder, sync_folder


class FolderStore:
    """A Store in the folder ``root``, which is made, for its owner alone, when something is sent."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def folders(self) -> list[str]:
        """Return the names of the folders at the top; none if there is no such place."""
        try:
            return sorted(path.name for path in self.root.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._cannot("read", self.root, error) from error

    def files(self, folder: str) -> dict[str, int]:
        """Return sizes by name, relative to ``folder``, for all files below it."""
        top = self.root / folder
        found: dict[str, int] = {}

        def fail(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                raise self._cannot("read", top, error) from error

        for place, _, names in os.walk(top, onerror=fail):
            for name in names:
                path = Path(place) / name
                try:
                    found[str(path.relative_to(top))] = path.stat().st_size
                except FileNotFoundError:
                    # Another push has just given it its name.
                    continue
        return found

    def send(self, name: str, content: Content) -> None:
        """Write beside, flush to the disk, rename."""
        path = self.root / name
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
        try:
            make_folder(path.parent, 0o700)
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    content.seek(0)
                    while data := content.read(PIECE_BYTES):
                        file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
                sync_folder(path.parent)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise self._cannot("write", path, error) from error

    def read(self, name: str, size_bytes: int) -> Iterator[bytes]:
        """Yield what is stored, ``size_bytes`` of it at the most."""
        try:
            with (self.root / name).open("rb") as file:
                while size_bytes and (data := file.read(min(PIECE_BYTES, size_bytes))):
                    size_bytes -= len(data)
                    yield data
        except OSError as error:
            raise self._cannot("read", self.root / name, error) from error

    def server_sha256(self, _: str) -> str | None:
        """Return None: a disk computes none."""
        return None

    def remove(self, name: str) -> None:
        """Remove a file; it need not be there."""
        try:
            (self.root / name).unlink(missing_ok=True)
        except OSError as error:
            raise self._cannot("remove", self.root / name, error) from error

    def remove_folder(self, folder: str) -> None:
        """Remove a folder at the top with all that is in it; it need not be there."""
        try:
            shutil.rmtree(self.root / folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._cannot("remove", self.root / folder, error) from error

    def reconnect(self) -> None:
        """Nothing to do."""

    def _cannot(self, what: str, path: Path, error: OSError) -> OwctlError:
        if isinstance(error, FileNotFoundError):
            return MissingRemotely(f"{path} does not exist.", hint=f"ls {self.root}")
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return OwctlError(
                f"No space is left in {self.root}.",
                hint="make room there; the same command then goes on where it stopped",
            )
        return OwctlError(
            f"Cannot {what} {path}: {error.strerror or error}.",
            hint=f"ls -ld {self.root}",
        )
