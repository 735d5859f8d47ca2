"""Small files of a container or a volume, read whole, without a process in any container."""

import io
import secrets
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from owctl.engine.archives import read_archive
from owctl.engine.connection import Engine
from owctl.engine.containers import create_container, remove_container
from owctl.engine.naming import ONEOFF, PROJECT
from owctl.errors import NotFound

HELPER_LABEL = "io.owctl.helper"
HELPER_PATH = "/owctl-mount"


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


@contextmanager
def mounted(
    engine: Engine, project: str, image_id: str, mount: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Make a volume or host folder readable through a container that is never started.

    ``mount`` is the raw ``Type`` and ``Source`` of a mount, ``image_id`` any image that is there.
    Yields the container's id and the path; afterwards the container is removed. Raises the
    engine's errors.
    """
    body = {
        "Image": image_id,
        # An image may have neither, and the engine wants one although nothing is ever run.
        "Entrypoint": ["/owctl-never-run"],
        "Labels": {PROJECT: project, ONEOFF: "True", HELPER_LABEL: str(mount["Source"])},
        "NetworkDisabled": True,
        "HostConfig": {
            "NetworkMode": "none",
            "Mounts": [
                {
                    **mount,
                    "Target": HELPER_PATH,
                    "ReadOnly": True,
                    **({"VolumeOptions": {"NoCopy": True}} if mount["Type"] == "volume" else {}),
                }
            ],
        },
    }
    helper = create_container(engine, f"{project}-owctl-look-{secrets.token_hex(4)}", body)
    try:
        yield helper, HELPER_PATH
    finally:
        # With the anonymous volumes that its image asks for.
        remove_container(engine, helper, force=True, volumes=True)
