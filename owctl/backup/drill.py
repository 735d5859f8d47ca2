"""The drill: a backup is restored for a while, beside the stack, and compared with its manifest."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from owctl.backup.encryption import Identity
from owctl.backup.manifest import Manifest, Member
from owctl.backup.member_file import MemberContent
from owctl.engine.connection import Engine
from owctl.engine.containers import inspect_container
from owctl.engine.images import Image, inspect_image, pull_image
from owctl.errors import BackupInvalid, OwctlError
from owctl.figures import readable
from owctl.postgres.dump_scan import read_head
from owctl.postgres.load import (
    Loaded,
    RowsRefused,
    count_rows,
    is_machine_trouble,
    load_dump,
)
from owctl.postgres.not_made import NotMade
from owctl.postgres.properties import like_libc, options_of, properties_of, without_tablespace
from owctl.postgres.psql import Server, StatementRefused
from owctl.postgres.server import DRILL, empty_server
from owctl.progress import Event, Receiver
from owctl.scratch_folder import ScratchFolder, remove_abandoned
from owctl.volumes.one_off import remove_helpers
from owctl.volumes.space import check_reserve, free_bytes
from owctl.volumes.sqlite import examine

# -- SQLite databases: taken out of the backup for a while.

_PREFIX = ".owctl-drill-"
_CHECK_ROOM_EVERY_BYTES = 64 * 1024 * 1024


def check_sqlite_member(
    folder: Path, member: Member, identities: Sequence[Identity] = ()
) -> list[str]:
    """Return what is wrong with the database in the backup in ``folder``, nothing if it is sound.

    What SQLite said when the backup was made is not wrong again. Raises OwctlError where there is
    no room to take it out.
    """
    with _scratch(folder, member.content_size_bytes) as scratch:
        path = scratch / "database"
        try:
            _take_out(folder, member, path, identities)
        except BackupInvalid as error:
            return [f"{member.name}: {error.message}"]
        except OSError as error:
            raise OwctlError(
                f"Cannot take {member.name} out of the backup: {error.strerror or error}.",
                hint="set TMPDIR to a folder with room",
            ) from error
        complaints, rows = examine(path, is_new=False)
    problems = []
    if complaints != list(member.detail.get("integrity_check", ["ok"])):
        problems.append(f"{member.name}: PRAGMA integrity_check says: {'; '.join(complaints)}")
    elif rows != dict(member.detail.get("rows", {})):
        problems.append(f"{member.name}: its tables do not have the rows that the manifest says")
    return problems


def _take_out(folder: Path, member: Member, path: Path, identities: Sequence[Identity]) -> None:
    with MemberContent(folder, member, identities=identities) as content, path.open("xb") as file:
        unchecked_bytes = 0
        for data in content:
            file.write(data)
            unchecked_bytes += len(data)
            if unchecked_bytes > _CHECK_ROOM_EVERY_BYTES:
                unchecked_bytes = 0
                check_reserve(path.parent)
        content.finish()


@contextlib.contextmanager
def _scratch(folder: Path, size_bytes: int) -> Iterator[Path]:
    """Yield a folder with room for so much, beside the backup or in TMPDIR; it goes with the block."""
    parents = (folder.parent, Path(tempfile.gettempdir()))
    for parent in parents:
        remove_abandoned(_PREFIX, parent)
    for parent in parents:
        if not os.access(parent, os.W_OK) or free_bytes(parent) < size_bytes:
            continue
        with ScratchFolder(_PREFIX, parent) as scratch:
            check_reserve(scratch)
            yield scratch
        return
    raise OwctlError(
        f"There is no room to take {readable(size_bytes)} out of the backup, neither in "
        f"{parents[0]} nor in {parents[1]}.",
        hint="set TMPDIR to a folder with room",
    )


# -- PostgreSQL: restored beside the stack, and the whole drill.

_DATABASE = "owctl_drill"
# Indexes come on top of what a dump holds, compression of long texts goes off; on the careful side.
_ROOM_SHARE = 1.5
_RESERVE_BYTES = 256 * 1024 * 1024
_VERSIONS_PER_MAJOR = 10_000
_TEMPLATES = ("template1", "template0")
_CREATE = """
DROP DATABASE IF EXISTS :"name";
CREATE DATABASE :"name" TEMPLATE template0 {};
"""


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What came out of a drill. ``problems`` are the backup's; then it does not hold what it says.

    ``not_made`` are objects, no rows, that PostgreSQL refused, as it would in a restore; rows of
    an extension's own tables, where it cannot be made here. ``postgres_version`` and ``image`` are of the server that took the dump, None without a dump.
    """

    seconds: float
    tables: int = 0
    rows: int = 0
    sqlite_databases: int = 0
    image: str | None = None
    postgres_version: str | None = None
    problems: tuple[str, ...] = ()
    not_made: tuple[NotMade, ...] = ()


def can_be_drilled(manifest: Manifest) -> bool:
    """Whether the backup holds a database at all."""
    return any(member.kind in ("database", "sqlite") for member in manifest.members)


def drill(
    engine: Engine,
    project: str,
    folder: Path,
    manifest: Manifest,
    receive: Receiver,
    *,
    configured_image: str | None = None,
    identities: Sequence[Identity] = (),
) -> DrillReport:
    """Restore the databases of a backup, compare them with the manifest, and remove them again.

    ``identities`` read an encrypted backup. ``configured_image`` is what the stack runs PostgreSQL from; it is pulled if no image that the
    backup names is on the engine. The caller sees to it that this is the project's only drill.
    Raises OwctlError where the drill could not be made: that says nothing about the backup.
    """
    began = time.monotonic()
    remove_helpers(engine, project, DRILL)
    report = DrillReport(0)
    for member in manifest.members:
        if member.kind == "database":
            image = find_image(engine, manifest, member, configured_image, receive)
            report = _drill_dump(engine, project, folder, member, image, receive, identities)
    problems, databases = list(report.problems), 0
    for member in manifest.members:
        if member.kind == "sqlite":
            receive(Event(member.name, "working", "checking", "drill"))
            problems += check_sqlite_member(folder, member, identities)
            databases += 1
            receive(Event(member.name, "done", "checked by SQLite", "drill"))
    return DrillReport(
        time.monotonic() - began,
        report.tables,
        report.rows,
        databases,
        report.image,
        report.postgres_version,
        tuple(problems),
        report.not_made,
    )


def find_image(
    engine: Engine,
    manifest: Manifest,
    member: Member,
    configured_image: str | None,
    receive: Receiver,
) -> Image:
    """Return the image that the backup's server ran from, else one of its name; pulls at last."""
    service = manifest.services.get(str(member.detail.get("service")), {})
    names = [service.get("image_id"), *(service.get("image_digests") or ())]
    names += [service.get("image"), configured_image]
    references = [str(name) for name in names if name]
    for reference in references:
        found = inspect_image(engine, reference)
        if found is not None:
            return found
    wanted = configured_image or service.get("image")
    if not wanted:
        raise OwctlError(
            "There is no PostgreSQL image for the drill: neither the backup nor the stack names one.",
            hint="owctl backup verify, which needs none",
        )
    receive(Event(str(wanted), "working", "pulling, it is not on this machine", "drill"))
    image = pull_image(engine, str(wanted))
    receive(Event(str(wanted), "done", "pulled", "drill"))
    return image


def check_engine_room(engine: Engine, dump_bytes: int) -> None:
    """Raise OwctlError if restoring so large a dump could fill the engine's disk up.

    Only where that disk is this machine's; a full one stops the stack's own PostgreSQL.
    """
    root = Path(str(engine.info.get("DockerRootDir") or "/nowhere"))
    if not engine.endpoint.is_local or not root.is_dir():
        return
    needed, free = int(dump_bytes * _ROOM_SHARE) + _RESERVE_BYTES, free_bytes(root)
    if free < needed:
        raise OwctlError(
            f"There is not enough space for the drill in {root}: {readable(free)} are free, and "
            f"restoring a dump of {readable(dump_bytes)} may take {readable(needed)}.",
            hint="make room there, or drill on another machine",
        )


def _drill_dump(
    engine: Engine,
    project: str,
    folder: Path,
    member: Member,
    image: Image,
    receive: Receiver,
    identities: Sequence[Identity],
) -> DrillReport:
    check_engine_room(engine, member.content_size_bytes)
    receive(Event(member.name, "working", "starting a PostgreSQL of its own", "drill"))
    user = str(member.detail.get("user") or "postgres")
    with empty_server(engine, project, image, user=user) as server:
        version = _check_version(server, member, image)
        database = _make_database(server, folder, member, identities)
        server = server.with_variables(PGDATABASE=database)
        problems, loaded = _load(server, folder, member, receive, identities)
        found: dict[str, int] = {}
        if not problems:
            receive(Event(member.name, "working", "counting the rows", "drill"))
            found = count_rows(engine, server.container, server.environment, database)
            problems = _differences(member, found)
    done = f"restored, {sum(found.values())} rows in {len(found)} tables"
    if problems:
        receive(Event(member.name, "working", "differs", "drill"))
    else:
        receive(Event(member.name, "done", done, "drill"))
    return DrillReport(
        0,
        len(found),
        sum(found.values()),
        0,
        _name(image),
        version,
        tuple(problems),
        loaded.of_extensions + loaded.not_made,
    )


def _check_version(server: Server, member: Member, image: Image) -> str:
    ((version, number),) = server.ask(
        "SELECT current_setting('server_version'), current_setting('server_version_num');"
    )
    made_with = int(member.detail.get("server_version_number") or 0)
    if int(number) // _VERSIONS_PER_MAJOR < made_with // _VERSIONS_PER_MAJOR:
        raise OwctlError(
            f"The dump is of PostgreSQL {member.detail.get('server_version')}, and the image "
            f"{_name(image)} has {version}: an older server cannot take it.",
            hint="docker pull the image that the stack ran when the backup was made",
        )
    return version


def _make_database(
    server: Server, folder: Path, member: Member, identities: Sequence[Identity]
) -> str:
    """Make the database by the name that it had, which an extension may insist on; returns it."""
    name = str(member.detail.get("database") or "")
    name = _DATABASE if name in ("", *_TEMPLATES) else name
    with MemberContent(folder, member, identities=identities) as content:
        properties = properties_of(read_head(content)[0])
    # An image without that locale holds the same rows, sorted in another order.
    encoding = str(member.detail.get("encoding") or "UTF8")
    plain = like_libc(encoding, "C", options_of(server, _TEMPLATES[0]))
    wanted = plain if properties is None else without_tablespace(properties.options)
    try:
        server.ask(_CREATE.format(wanted), database=_TEMPLATES[0], name=name)
    except StatementRefused:
        server.ask(_CREATE.format(plain), database=_TEMPLATES[0], name=name)
    return name


def _load(
    server: Server,
    folder: Path,
    member: Member,
    receive: Receiver,
    identities: Sequence[Identity],
) -> tuple[list[str], Loaded]:
    """Load the dump; returns what is wrong with it, and what came of it where nothing is."""

    def report(done_bytes: int) -> None:
        receive(Event(member.name, "working", "restoring", "drill", done=done_bytes))

    def pieces() -> Iterator[bytes]:
        with MemberContent(folder, member, identities=identities) as content:
            yield from content
            content.finish()

    receive(Event(member.name, "working", "restoring", "drill"))
    try:
        loaded = load_dump(
            server.engine,
            server.container,
            server.environment,
            server.environment["PGDATABASE"],
            pieces,
            search_path=member.detail.get("search_path"),
            user=server.environment["PGUSER"],
            on_bytes=report,
        )
    except OwctlError as error:
        if isinstance(error, RowsRefused) and error.extensions:
            raise _without_extensions(error) from error
        if not _is_refusal(server, error):
            raise
        return [f"{member.name} could not be restored: {' '.join(error.details)}"], Loaded()
    return [], loaded


def _without_extensions(error: RowsRefused) -> OwctlError:
    return OwctlError(
        f"The drill's PostgreSQL could not make {', '.join(error.extensions)}, which tables of the "
        "backup need. That says nothing about the backup.",
        hint=error.hint,
        details=error.details,
    )


def _is_refusal(server: Server, error: OwctlError) -> bool:
    """Whether PostgreSQL took offence at the dump, rather than at the machine that it is on."""
    container = inspect_container(server.engine, server.container.id)
    words = " ".join(error.details)
    return (
        type(error) in (OwctlError, RowsRefused)
        and container is not None
        and container.is_running
        and bool(words)
        and not is_machine_trouble(words)
    )


def _differences(member: Member, found: Mapping[str, int]) -> list[str]:
    expected = dict(member.detail.get("rows") or {})
    return [
        f"{member.name}: table {table} has {found.get(table, 'no')} rows when restored, and had "
        f"{expected.get(table, 'no')} in the database."
        for table in sorted(expected.keys() | found.keys())
        if expected.get(table) != found.get(table)
    ]


def _name(image: Image) -> str:
    return image.tags[0] if image.tags else image.id.removeprefix("sha256:")[:12]
