"""A stored SQLite database, taken out of its backup for a while and checked by SQLite itself."""

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from owctl.backup.encryption import Identity
from owctl.backup.manifest import Member
from owctl.backup.member_content import MemberContent
from owctl.backup.space import check_reserve, free_bytes, readable
from owctl.errors import BackupInvalid, Interrupted, OwctlError
from owctl.scratch_folder import ScratchFolder, remove_abandoned

_PREFIX = ".owctl-drill-"
_MOST_MESSAGES = 3
_CHECK_ROOM_EVERY_BYTES = 64 * 1024 * 1024
# Work of SQLite's between two moments at which Ctrl-C is heard.
_STEPS = 100_000


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
        complaints, rows = _ask(path)
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


def _ask(path: Path) -> tuple[list[str], dict[str, int]]:
    from owctl.backup.members.sqlite import table_rows

    uri = f"file:{quote(str(path))}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.set_progress_handler(lambda: 0, _STEPS)
            pragma = f"PRAGMA integrity_check({_MOST_MESSAGES})"
            complaints = [text for (text,) in connection.execute(pragma)]
            return complaints, table_rows(connection)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
            raise Interrupted("Interrupted.") from error
        return [str(error)], {}


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
