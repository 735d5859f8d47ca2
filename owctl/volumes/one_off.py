"""Helper containers that bring a volume or a host folder within reach for a while, and a folder read through one."""

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from owctl.engine.archives import read_archive
from owctl.engine.connection import Engine
from owctl.engine.containers import (
    create_container,
    inspect_container,
    remove_container,
    start_container,
)
from owctl.engine.execution import ExecStream, open_exec, run
from owctl.engine.naming import ONEOFF, PROJECT
from owctl.engine.volumes import inspect_volume
from owctl.errors import EngineError, NotFound, OwctlError

# -- Helper containers, from an image that is there.
# No network, no health check, no restart. What a killed owctl left of one is found by its label, and
# where its name is fixed it is removed, with all that still runs in it, before the next one is made.


# Its value is what the helper is for.
HELPER_LABEL = "io.owctl.helper"
MOUNT_PATH = "/owctl-mount"
SOURCE_PATH = "/owctl-source"
Purpose = Literal["look", "backup", "restore", "upgrade", "drill"]

_NEVER_RUN = ["/owctl-never-run"]
# It does nothing, until it is removed.
IDLE = ["sh", "-c", "while :; do sleep 3600; done"]
_NO_SHELL = "no program sh"
# Names are bytes, whatever they look like.
_ENVIRONMENT = {"LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Helper:
    """A helper container; ``path`` is where it has the volume, ``is_running`` whether it was started."""

    engine: Engine
    id: str
    path: str
    mount_name: str
    is_running: bool = True

    def run(self, script: str, arguments: Sequence[str] = ()) -> str:
        """Run a shell script as root in a helper that was started, and return its output.

        ``arguments`` are its ``$1`` …; the volume is the folder it starts in. Raises OwctlError
        with the script's last words if it fails.
        """
        answer = run(
            self.engine,
            self.id,
            self._command(script, arguments),
            environment=_ENVIRONMENT,
            user="0:0",
        )
        if answer.exit_code:
            raise self._failed(answer.exit_code, answer.stderr)
        return answer.stdout.decode("utf-8", "surrogateescape")

    def feed(self, script: str, arguments: Sequence[str], pieces: Iterable[bytes]) -> None:
        """Run a script as ``run`` does, with ``pieces`` as its input."""
        command = self._command(script, arguments)
        with open_exec(
            self.engine, self.id, command, environment=_ENVIRONMENT, user="0:0", stdin=True
        ) as stream:
            # What it says when it ends early tells why.
            with suppress(BrokenPipeError):
                for data in pieces:
                    stream.write(data)
            stream.close_stdin()
            said = b"".join(data for _, data in stream)
            code = stream.exit_code()
        if code:
            raise self._failed(code, said)

    def _command(self, script: str, arguments: Sequence[str]) -> list[str]:
        return ["sh", "-euc", f'cd "$0" || exit 1\n{script}', self.path, *arguments]

    def _failed(self, exit_code: int, said: bytes) -> OwctlError:
        words = said.decode("utf-8", "replace").strip().splitlines()
        return OwctlError(
            f"Cannot change the files of {self.mount_name}: "
            f"{words[-1] if words else f'exit code {exit_code}'}",
            details=words[-5:-1],
        )


@contextmanager
def readable(
    engine: Engine, project: str, image_id: str, mount: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Make a volume or host folder readable through a container that is never started.

    ``mount`` is the raw ``Type`` and ``Source`` of a mount, ``image_id`` any image that is there.
    Yields the container's id and the path; afterwards the container is removed. Several may look
    at once. Raises the engine's errors.
    """
    name = f"{project}-owctl-look-{secrets.token_hex(4)}"
    body = _body(project, image_id, mount, "look", writable=False, running=False)
    with _container(engine, name, body) as helper:
        yield helper, MOUNT_PATH


@contextmanager
def volume_helper(
    engine: Engine,
    project: str,
    image_id: str,
    volume_name: str,
    purpose: Purpose,
    *,
    writable: bool = False,
    running: bool | Literal["if possible"] = False,
    source_name: str | None = None,
) -> Iterator[Helper]:
    """Yield a helper container with a volume; afterwards it is removed.

    ``source_name`` is another volume, to be read at SOURCE_PATH.

    There is one for each volume and purpose: a leftover of a killed owctl is removed first, which
    also ends what it still ran. The caller holds the project's lock. It is never started unless
    ``running``, and need not start where that is only wanted "if possible". Raises NotFound if
    there is no such volume, OwctlError if a shell is wanted and the image has none, and the
    engine's errors.
    """
    name = f"{project}-owctl-{purpose}-{volume_name}"
    left = inspect_container(engine, name)
    if left is not None and HELPER_LABEL in left.raw["Config"]["Labels"]:
        remove_container(engine, left.id, force=True, volumes=True)
    if inspect_volume(engine, volume_name) is None:
        # The engine would make one, without the labels by which it is found again.
        raise NotFound(f"There is no volume {volume_name}", hint="owctl start, which creates it")
    mount = {"Type": "volume", "Source": volume_name}
    body = _body(project, image_id, mount, purpose, writable=writable, running=bool(running))
    if source_name is not None:
        source = {"Type": "volume", "Source": source_name, "Target": SOURCE_PATH, "ReadOnly": True}
        body["HostConfig"]["Mounts"].append(source)
    with _container(engine, name, body) as container_id:
        is_running = False
        if running:
            with suppress(*((OwctlError,) if running == "if possible" else ())):
                _start(engine, container_id, image_id, volume_name)
                is_running = True
        yield Helper(engine, container_id, MOUNT_PATH, f"the volume {volume_name}", is_running)


def remove_helpers(engine: Engine, project: str, purpose: Purpose) -> None:
    """Remove the helpers that a killed owctl left; the caller holds the project's lock."""
    with engine.translate("look for left-over containers"):
        found = engine.api.containers(
            all=True, filters={"label": [f"{PROJECT}={project}", f"{HELPER_LABEL}={purpose}"]}
        )
    for item in found:
        remove_container(engine, item["Id"], force=True, volumes=True)


def _body(
    project: str,
    image_id: str,
    mount: Mapping[str, Any],
    purpose: Purpose,
    *,
    writable: bool,
    running: bool,
) -> dict[str, Any]:
    # With NoCopy an empty volume stays empty, whatever the image has at that path.
    options = {"VolumeOptions": {"NoCopy": True}} if mount["Type"] == "volume" else {}
    return {
        "Image": image_id,
        # An image may have neither, and the engine wants one although nothing is ever run.
        "Entrypoint": IDLE if running else _NEVER_RUN,
        "Cmd": [],
        "User": "0:0",
        "WorkingDir": "/",
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {PROJECT: project, ONEOFF: "True", HELPER_LABEL: purpose},
        "NetworkDisabled": True,
        "HostConfig": {
            "NetworkMode": "none",
            "RestartPolicy": {"Name": "no"},
            "Mounts": [{**mount, "Target": MOUNT_PATH, "ReadOnly": not writable, **options}],
        },
    }


@contextmanager
def _container(engine: Engine, name: str, body: Mapping[str, Any]) -> Iterator[str]:
    container_id = create_container(engine, name, body)
    try:
        yield container_id
    finally:
        # With the anonymous volumes that its image asks for.
        remove_container(engine, container_id, force=True, volumes=True)


def _start(engine: Engine, container_id: str, image_id: str, volume_name: str) -> None:
    try:
        start_container(engine, container_id, f"a helper for the volume {volume_name}")
    except EngineError as error:
        if _NO_SHELL in error.message:
            raise OwctlError(
                f"Cannot work on the volume {volume_name}: the image {image_id[:19]} has no shell.",
                hint="pull or build an image of the stack that has one, as PostgreSQL's has",
            ) from error
        raise


# -- A folder of a container, as a tar whose names begin at the folder itself.


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
