"""PostgreSQL without its server: of which version an image is, where the files are, and what they tell."""

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from owctl.compose.model import Service

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.images import Image

DEFAULT_FOLDER = "/var/lib/postgresql/data"
_PROGRAMS = re.compile(r"/postgresql/(\d+)/bin")
_OFFICIAL = re.compile(r"(?:^|/)(?:postgres|postgis|pgvector|timescaledb)[^/:]*:(?:pg)?(\d{2})\b")
_PAGE_BYTES = 8192
_PAGE_HEADER = struct.Struct("<8x4xHH2xH")  # lower, upper, page size and layout version
_LAYOUT = _PAGE_BYTES | 4
_TUPLE_HEADER = struct.Struct("<4xI10x2xHB")  # xmax, infomask, offset of the data
_NORMAL_ITEM = 1
_LOCK_ONLY, _INSERT_COMMITTED, _INSERT_ABORTED, _NOT_DELETED = 0x0080, 0x0100, 0x0200, 0x0800
_OID_BYTES, _NAME_BYTES = 4, 64
_AUTHID = 1260
_MAP_MAGIC = 0x592717
_SHUT_DOWN = 1
_STATE_OFFSET = 16
_SECRET = re.compile(
    rb"SCRAM-SHA-256\$\d+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]{44}|md5[0-9a-f]{32}"
)


def image_major(reference: str, image: "Image | None") -> str | None:
    """Return the PostgreSQL major of an image by its variables, else by an official name's tag."""
    variables = image_variables(image) if image else {}
    for name in ("PG_MAJOR", "PG_VERSION", "POSTGRESQL_VERSION"):
        found = re.match(r"\d+", variables.get(name, ""))
        if found:
            return found[0]
    found = _PROGRAMS.search(variables.get("PATH", ""))
    if found:
        return found[1]
    tag = _OFFICIAL.search(reference)
    return tag[1] if tag else None


def image_variables(image: "Image") -> dict[str, str]:
    """Return an image's environment."""
    lines = (image.raw.get("Config") or {}).get("Env") or []
    return dict(line.split("=", 1) for line in lines if "=" in line)


def data_folder(service: Service, image: "Image | None") -> PurePosixPath:
    """Return where in its container a service keeps the data."""
    variables = image_variables(image) if image else {}
    return PurePosixPath(
        service.environment.get("PGDATA") or variables.get("PGDATA") or DEFAULT_FOLDER
    )


@dataclass(frozen=True, slots=True)
class DatabaseFiles:
    """A data folder. ``major`` is "16"; ``is_clean`` says that its server was shut down in order,
    so that everything is in the files; ``verifiers`` maps users to what stands for their passwords.
    """

    major: str
    is_clean: bool = False
    verifiers: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_database_files(
    engine: "Engine", container_id: str, root: str, folders: Sequence[str], *, users: bool
) -> DatabaseFiles | None:
    """Return what the first of the folders that holds a database says, None if none does.

    ``folders`` are in ``root``, a path in the container, which need not run; "" is itself. ``users``
    asks for the verifiers, too: they are worth something only while no server runs. Raises the
    engine's errors.
    """
    from owctl.engine.archives import read_start

    for inside in folders:
        folder = f"{root.rstrip('/')}/{inside}".rstrip("/")
        version = read_start(engine, container_id, f"{folder}/PG_VERSION", 64)
        if version is None:
            continue
        major = version.decode("ascii", "replace").strip()
        if not users:
            return DatabaseFiles(major)
        control = read_start(engine, container_id, f"{folder}/global/pg_control", 64) or b""
        node = file_node(
            read_start(engine, container_id, f"{folder}/global/pg_filenode.map") or b""
        )
        table = read_start(engine, container_id, f"{folder}/global/{node}") or b""
        return DatabaseFiles(major, was_shut_down(control), verifiers(table))
    return None


def read_volume_files(
    engine: "Engine",
    project: str,
    image_id: str,
    volume: str,
    folders: Sequence[str],
    *,
    users: bool = False,
) -> DatabaseFiles | None:
    """Return the same of a volume that no container need have, through one that is never started."""
    from owctl.volumes.one_off import readable

    mount = {"Type": "volume", "Source": volume}
    with readable(engine, project, image_id, mount) as (helper, root):
        return read_database_files(engine, helper, root, folders, users=users)


def was_shut_down(control: bytes) -> bool:
    """Return whether pg_control's first bytes tell of an orderly end."""
    state = control[_STATE_OFFSET : _STATE_OFFSET + 4]
    return len(state) == 4 and int.from_bytes(state, "little") == _SHUT_DOWN


def file_node(mapping: bytes) -> int:
    """Return which file in ``global/`` holds the users, by pg_filenode.map."""
    if len(mapping) >= 8:
        magic, count = struct.unpack_from("<ii", mapping)
        if magic == _MAP_MAGIC and 0 < count <= (len(mapping) - 8) // 8:
            pairs = struct.iter_unpack("<II", mapping[8 : 8 + count * 8])
            return next((node for oid, node in pairs if oid == _AUTHID), _AUTHID)
    return _AUTHID


def verifiers(table: bytes) -> dict[str, str]:
    """Return user → verifier from the file of pg_authid; users without a password are left out."""
    found: dict[str, str] = {}
    for start in range(0, len(table) - _PAGE_BYTES + 1, _PAGE_BYTES):
        for row in _rows(table[start : start + _PAGE_BYTES]):
            name = row[_OID_BYTES : _OID_BYTES + _NAME_BYTES].rstrip(b"\0")
            secret = _SECRET.search(row, _OID_BYTES + _NAME_BYTES)
            if secret:
                found[name.decode("utf-8", "replace")] = secret[0].decode("ascii")
    return found


def _rows(page: bytes) -> Iterator[bytes]:
    """Yield the data of a page's rows that are in force."""
    lower, _, layout = _PAGE_HEADER.unpack_from(page)
    if layout != _LAYOUT or not 24 <= lower <= _PAGE_BYTES:
        return
    for (item,) in struct.iter_unpack("<I", page[24 : lower - lower % 4]):
        offset, flags, length = item & 0x7FFF, (item >> 15) & 3, item >> 17
        row = page[offset : offset + length]
        if flags != _NORMAL_ITEM or len(row) <= _TUPLE_HEADER.size:
            continue
        deleter, mask, begin = _TUPLE_HEADER.unpack_from(row)
        never_inserted = mask & (_INSERT_ABORTED | _INSERT_COMMITTED) == _INSERT_ABORTED
        is_deleted = deleter != 0 and not mask & (_NOT_DELETED | _LOCK_ONLY)
        if not never_inserted and not is_deleted:
            yield row[begin:]
