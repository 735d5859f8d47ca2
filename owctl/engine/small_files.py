"""Small files of a container, read whole, without a process in it."""

import io
import tarfile

from owctl.engine.archives import read_archive
from owctl.engine.connection import Engine
from owctl.errors import NotFound


def read_start(engine: Engine, container_id: str, path: str, size: int = 1 << 20) -> bytes | None:
    """Return up to ``size`` bytes from the start of a regular file, None if there is no such file.

    Works on stopped containers too. Raises the engine's errors.
    """
    data = b""
    try:
        with read_archive(engine, container_id, path) as stream:
            for piece in stream:
                data += piece
                # The tar's headers come first, and the file's end is padded.
                if len(data) >= size + 4 * tarfile.BLOCKSIZE:
                    break
    except NotFound:
        return None
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            entry = archive.next()
            if entry is None or not entry.isreg():
                return None
            begin = entry.offset_data
            return data[begin : begin + min(size, entry.size)]
    except tarfile.TarError:
        return None
