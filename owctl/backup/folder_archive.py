"""A folder of a container as a tar whose names begin at the folder itself, on any engine."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from owctl.engine.archives import read_archive
from owctl.engine.connection import Engine
from owctl.engine.execution import ExecStream, open_exec
from owctl.errors import OwctlError

_KEPT_BYTES = 4096
_NOT_FOUND = (126, 127)
# GNU tar's exit code for files that changed under its eyes, and what it says of them.
_CHANGED = 1
_CHANGES = re.compile(
    r"file changed as we read it|[Ff]ile removed before we read it|socket ignored"
)


@contextmanager
def read_folder(engine: Engine, container_id: str, path: str) -> Iterator[Iterator[bytes]]:
    """Yield the pieces of a tar of the folder, which is its first entry, ``./``.

    So it unpacks anywhere, and says whose the folder is. On Podman the container has to run: its
    archives make every file the container's own user's, so tar runs inside. Raises NotFound if
    there is no such path; iterating raises EngineUnavailable where the stream is cut off.
    """
    folder = path.rstrip("/")
    if not engine.is_podman:
        with read_archive(engine, container_id, f"{folder}/.") as stream:
            yield iter(stream)
        return
    # As root in it, or what is another user's would be left out.
    command = ("tar", "-C", folder, "-cf", "-", ".")
    with open_exec(
        engine, container_id, command, user="0:0", environment={"LC_ALL": "C"}
    ) as output:
        yield _pieces(output, folder)


def _pieces(stream: ExecStream, folder: str) -> Iterator[bytes]:
    said = bytearray()
    for name, data in stream:
        if name == "stdout":
            yield data
        else:
            said += data[: _KEPT_BYTES - len(said)]
    code = stream.exit_code()
    lines = said.decode("utf-8", "replace").strip().splitlines()
    if code == 0 or (code == _CHANGED and all(_CHANGES.search(line) for line in lines)):
        return
    why = "its image has no tar" if code in _NOT_FOUND else "; ".join(lines[-3:])
    raise OwctlError(
        f"Cannot read {folder} in the container: {why}",
        hint="an image of the stack that has tar, as PostgreSQL's has: Podman's own archives do "
        "not say whose a file is",
    )
