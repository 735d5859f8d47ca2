"""Files of a container: as tar streams, as small files read whole, and as secrets and configs written into it."""

import base64
import io
import json
import tarfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from owctl.compose.model import Service
from owctl.engine.connection import Engine
from owctl.engine.transport import Transport
from owctl.engine.wire import (
    Closing,
    Response,
    checked,
    lost,
    read_head,
    request,
    send_head,
    short_id,
)
from owctl.errors import EngineError, NotFound

# -- Files of a container as tar streams, through the engine's archive interface.
# Works on stopped containers too, and on volumes through any container that mounts them.


# How long the engine may send nothing; it reads from a disk.
IDLE_SECONDS = 300.0
_GO_DIRECTORY = 1 << 31
_GO_SYMLINK = 1 << 27


@dataclass(frozen=True, slots=True)
class PathStat:
    """A path in a container; ``link_target`` is set for a symbolic link."""

    name: str
    size_bytes: int
    mode: int
    is_directory: bool
    modified_at: datetime
    link_target: str | None = None


class ArchiveStream(Closing):
    """A tar stream that is being read: iterate for its bytes; ends only where the tar ends.

    Iterating raises EngineUnavailable if the stream is cut off.
    """

    def __init__(self, response: Response) -> None:
        self._response = response
        self._response.transport.settimeout(IDLE_SECONDS)
        self._pieces = self._read()

    def _read(self) -> Iterator[bytes]:
        with self._response:
            try:
                for pieces in self._response.pieces():
                    yield pieces[0] if len(pieces) == 1 else b"".join(pieces)
            except TimeoutError as error:
                raise lost(
                    self._response.action, f"nothing came for {IDLE_SECONDS:.0f} s"
                ) from error

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Close the connection; also from another thread."""
        self._response.close()


def read_archive(engine: Engine, container_id: str, path: str) -> ArchiveStream:
    """Return ``path`` of a container as a tar stream, in pieces of up to some 256 KiB.

    The members' names begin with the last part of ``path``; ``/dir/.`` gives ``./…``. Raises
    NotFound at once if there is no such path. A context manager: closing it ends the transfer.
    """
    response = request(
        engine,
        "GET",
        f"/containers/{container_id}/archive",
        query={"path": path},
        action=f"read {path} from container {short_id(container_id)}",
    )
    return ArchiveStream(response)


def stat_path(engine: Engine, container_id: str, path: str) -> PathStat | None:
    """Return what ``path`` in a container is, None if it does not exist."""
    try:
        with request(
            engine,
            "HEAD",
            f"/containers/{container_id}/archive",
            query={"path": path},
            action=f"look at {path} in container {short_id(container_id)}",
        ) as response:
            found = json.loads(base64.b64decode(response.headers["x-docker-container-path-stat"]))
    except NotFound:
        return None
    mode = int(found["mode"])
    return PathStat(
        name=found["name"],
        size_bytes=int(found["size"]),
        mode=mode & 0o777,
        is_directory=bool(mode & _GO_DIRECTORY),
        modified_at=datetime.fromisoformat(found["mtime"]),
        link_target=found["linkTarget"] or None if mode & _GO_SYMLINK else None,
    )


def write_archive(
    engine: Engine, container_id: str, path: str, stream: bytes | Iterable[bytes]
) -> None:
    """Unpack a tar stream into the directory ``path`` of a container, owners and modes kept.

    ``stream`` may be compressed with gzip, bzip2 or xz. Raises NotFound before anything is sent
    if ``path`` does not exist, EngineError if it is no directory or the engine refuses the
    archive, EngineUnavailable if it dies.
    """
    action = f"unpack into {path} of container {short_id(container_id)}"
    target = stat_path(engine, container_id, path)
    if target is None:
        raise NotFound(f"Cannot {action}: the container or the path does not exist")
    if not target.is_directory and target.link_target is None:
        raise EngineError(f"Cannot {action}: it is not a directory")
    transport = send_head(
        engine,
        "PUT",
        f"/containers/{container_id}/archive",
        query={"path": path},
        headers={"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"},
        action=action,
    )
    try:
        transport.settimeout(IDLE_SECONDS)
        broken = _send_chunks(transport, [stream] if isinstance(stream, bytes) else stream)
        response = read_head(transport, action)
        checked(response).body()
        if broken is not None:
            # A good answer to a request that was not sent completely is none.
            raise lost(action, str(broken)) from broken
    finally:
        transport.close()


def _send_chunks(transport: Transport, stream: Iterable[bytes]) -> OSError | None:
    """Send a chunked body; return the error if the engine stopped listening, to hear why.

    An error of ``stream`` itself passes through: the body then stays without its end, and the
    engine does not take it for a whole one.
    """
    for data in stream:
        if data:
            try:
                transport.sendall(b"%x\r\n%b\r\n" % (len(data), data))
            except OSError as error:
                return error
    try:
        transport.sendall(b"0\r\n\r\n")
    except OSError as error:
        return error
    return None


# -- Small files of a container, read whole, without a process in it.


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


# -- Writes secrets and configs that are no files of the host into a container that was created.


def write_files(engine: Engine, container_id: str, service: Service) -> None:
    """Write what the service's secrets and configs take from variables and from the compose files.

    Folders that are missing in the container are made. It has not to run yet.
    """
    if not service.files:
        return
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for file in service.files:
            content = file.content.encode()
            member = tarfile.TarInfo(file.target.lstrip("/"))
            member.size, member.mode = len(content), file.mode
            member.uid, member.gid = file.uid, file.gid
            member.mtime = int(time.time())
            tar.addfile(member, io.BytesIO(content))
    write_archive(engine, container_id, "/", archive.getvalue())
