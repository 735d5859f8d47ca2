"""Writes secrets and configs that are no files of the host into a container that was created."""

import io
import tarfile
import time

from owctl.compose.model import Service
from owctl.engine.archives import write_archive
from owctl.engine.connection import Engine


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
