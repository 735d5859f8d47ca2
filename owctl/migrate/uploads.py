"""The uploaded files of the source, entry by entry: from the captured archive, or from a folder."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from owctl.backup.member_content import MemberContent
from owctl.backup.tar_stream import TarStream
from owctl.errors import BackupInvalid, OwctlError
from owctl.migrate.capture import Captured
from owctl.project.private_file import cannot

_READ_BYTES = 1 << 18
# A name relative to the uploads' folder, its size in bytes, the second of its change, its content.
Entry = tuple[str, int, int, Iterable[bytes | memoryview]]


@contextmanager
def open_uploads(captured: Captured) -> Iterator[Iterator[Entry]]:
    """Yield the files; each entry's content is read before the next entry is asked for.

    An archive that is not what was captured raises BackupInvalid when it has been read.
    """
    if captured.uploads is not None:
        with MemberContent(captured.folder, captured.uploads) as content:
            yield _from_archive(content)
            try:
                content.finish()
            except BackupInvalid as error:
                raise BackupInvalid(f"{captured.uploads.name}: {error.message}") from error
    elif captured.uploads_dir is not None:
        yield _from_folder(captured.uploads_dir)
    else:
        yield iter(())


def _from_archive(content: Iterable[bytes]) -> Iterator[Entry]:
    stream = TarStream(content)
    for header in stream:
        if header.regular:
            name = header.name.removeprefix("./")
            yield name, header.size_bytes, header.modified_second, stream.content()


def _from_folder(folder: Path) -> Iterator[Entry]:
    for path in _walk(folder):
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                size, modified = found.st_size, int(found.st_mtime)
                yield str(path.relative_to(folder)), size, modified, _pieces(path, file, size)
        except OSError as error:
            raise cannot("read", path, error) from error


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            # A link may lead anywhere: only what lies here itself is taken.
            if path.is_file() and not path.is_symlink():
                yield path


def _pieces(path: Path, file: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        data = file.read(min(size, _READ_BYTES))
        if not data:
            raise OwctlError(f"{path} became shorter while it was read.", hint="the same again")
        size -= len(data)
        yield data
