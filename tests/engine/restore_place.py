"""A volume of a project of its own, for the tests of restoring files."""

import hashlib
import io
import secrets
import tarfile
from collections.abc import Iterator
from pathlib import Path

from owctl.backup.manifest import Member
from owctl.engine.archives import read_archive
from owctl.engine.connection import Engine
from owctl.engine.containers import create_container, remove_container, start_container
from owctl.engine.execution import run
from owctl.engine.images import image_id
from owctl.engine.naming import PROJECT
from owctl.volumes.archive_edit import STAGING_PREFIX, checksum_of
from owctl.volumes.tar import SYMBOLIC_LINK, TarStream


class Given:
    """Content that a test makes up, in the shape of a member's."""

    def __init__(self, data: bytes, kind: str = "volume", **detail: object) -> None:
        self.data = data
        self.member = Member(
            "volumes/data.tar.zst",
            kind,
            1,
            "0" * 64,
            len(data),
            detail,  # type: ignore[arg-type]
        )
        self.finished = False

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), 100_000):
            yield self.data[start : start + 100_000]

    def finish(self) -> None:
        self.finished = True


class Place:
    """A labelled volume, a container that works in it, and a helper's image."""

    def __init__(self, engine: Engine, project: str, image: str) -> None:
        self.engine, self.project = engine, project
        self.volume = f"{project}_data"
        self.restore_id = secrets.token_hex(4)
        identity = image_id(engine, image)
        assert identity is not None
        self.image_id = identity
        engine.api.create_volume(self.volume, labels={PROJECT: project})
        self.worker = self._worker()

    @property
    def arguments(self) -> tuple[Engine, str, str, str, str]:
        return self.engine, self.project, self.image_id, self.volume, self.restore_id

    @property
    def staging(self) -> str:
        return STAGING_PREFIX + self.restore_id

    def _worker(self) -> str:
        mount = {"Type": "volume", "Source": self.volume, "Target": "/v"}
        body = {
            "Image": self.image_id,
            "Entrypoint": ["sleep", "3600"],
            "Labels": {PROJECT: self.project},
            "HostConfig": {"NetworkMode": "none", "Mounts": [mount], "Init": True},
        }
        worker = create_container(self.engine, f"{self.project}-worker", body)
        start_container(self.engine, worker)
        return worker

    def shell(self, script: str) -> str:
        answer = run(self.engine, self.worker, ["bash", "-euc", f"cd /v\n{script}"])
        assert answer.exit_code == 0, answer.stderr.decode()
        return answer.stdout.decode("utf-8", "surrogateescape")

    def archive(self) -> bytes:
        with read_archive(self.engine, self.worker, "/v/.") as stream:
            return b"".join(stream)

    def listing(self) -> dict[str, tuple[object, ...]]:
        """Everything that is known of each file of the volume, staging folders left out."""
        return listing(self.archive())

    def remove_worker(self) -> None:
        remove_container(self.engine, self.worker, force=True)


def listing(archive: bytes) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    stream = TarStream([archive])
    for header in stream:
        name = header.name.removeprefix("./").rstrip("/")
        if name.startswith(STAGING_PREFIX):
            continue
        assert name not in found
        mode = None if header.type == SYMBOLIC_LINK else header.mode
        owner = (header.user_id, header.group_id, mode)
        content = (header.size_bytes, checksum_of(stream.content()))
        found[name] = (header.type, owner, header.modified_at, header.link, content)
    return found


def tar_of(*entries: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar of made-up entries below the root's."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(entry(".", tarfile.DIRTYPE, mode=0o755))
        for each in entries:
            info, data = each if isinstance(each, tuple) else (each, b"")
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mtime = 1_700_000_000
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def stored(folder: Path, data: bytes, **detail: object) -> Member:
    """A member of kind "volume" in a folder, uncompressed."""
    (folder / "data.tar").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return Member("data.tar", "volume", len(data), digest, len(data), detail)
