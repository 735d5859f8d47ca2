"""Reading a backup back: sizes, SHA-256, compression, and the structure of what is inside."""

import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from owctl.backup.dump_scan import DumpScanner
from owctl.backup.encryption import SUFFIX, Identity
from owctl.backup.manifest import Kind, Manifest, Member
from owctl.backup.member_content import MemberContent
from owctl.backup.tar_scan import TarScanner
from owctl.errors import BackupInvalid

_REPORT_BYTES = 8 * 1024 * 1024
Check = Callable[[Iterator[bytes], Member], None]


def verify_backup(folder: Path, manifest: Manifest, *, identities: Sequence[Identity] = ()) -> None:
    """Verify every member that the manifest names; raises BackupInvalid naming the first bad one.

    Without ``identities`` an encrypted member is compared with its SHA-256 only.
    """
    for member in manifest.members:
        verify_member(folder, member, identities=identities)


def verify_member(
    folder: Path,
    member: Member,
    *,
    identities: Sequence[Identity] = (),
    cancelled: Callable[[], bool] = lambda: False,
    on_bytes: Callable[[int], None] | None = None,
) -> None:
    """Read one member back and compare it with what the manifest says.

    An encrypted one is read as it is stored, its SHA-256 compared, where no ``identities`` are given.
    ``cancelled`` is asked now and then; Interrupted is raised when it says so. ``on_bytes`` is told,
    now and then, how many bytes of content were read. Raises BackupInvalid.
    """
    try:
        _check_size(folder / member.name, member)
        with MemberContent(folder, member, identities=identities, cancelled=cancelled) as content:
            if member.name.endswith(SUFFIX) and not identities:
                content.finish_stored()
                return
            _CHECKS[member.kind](_reported(iter(content), on_bytes), member)
            content.finish()
    except BackupInvalid as error:
        named = error.message.startswith(member.name)
        raise BackupInvalid(
            error.message if named else f"{member.name}: {error.message}",
            hint=error.hint or "owctl backup, which makes a new one",
        ) from error


def dump_head(content: Iterable[bytes]) -> bytes:
    """Return the header and table of contents of a dump: all that a listing needs."""
    scanner = DumpScanner()
    for data in content:
        scanner.feed(data)
        if scanner.head:
            return scanner.head
    scanner.finish()
    return scanner.head


def _reported(content: Iterator[bytes], on_bytes: Callable[[int], None] | None) -> Iterator[bytes]:
    done_bytes, report_at = 0, _REPORT_BYTES
    for data in content:
        yield data
        done_bytes += len(data)
        if on_bytes is not None and done_bytes >= report_at:
            report_at = done_bytes + _REPORT_BYTES
            on_bytes(done_bytes)


def _check_size(path: Path, member: Member) -> None:
    try:
        status = path.stat()
    except OSError:
        # Whoever opens it says what is wrong.
        return
    if not stat.S_ISREG(status.st_mode):
        raise BackupInvalid("it is not a file.")
    size = status.st_size
    if size != member.size_bytes:
        raise BackupInvalid(f"it has {size} bytes, the manifest says {member.size_bytes}.")


def _check_tar(content: Iterator[bytes], _: Member) -> None:
    scanner = TarScanner()
    for data in content:
        scanner.feed(data)
    scanner.finish()


def _check_database(content: Iterator[bytes], member: Member) -> None:
    scanner = DumpScanner()
    for data in content:
        scanner.feed(data)
    found = scanner.finish().rows
    for table, rows in sorted(member.detail.get("rows", {}).items()):
        if found.get(table) != rows:
            raise BackupInvalid(
                f"table {table} has {found.get(table, 'no')} rows in the dump, and had {rows} "
                "in the database."
            )


def _check_sqlite(content: Iterator[bytes], _: Member) -> None:
    first = next(content, b"")
    if not first.startswith(b"SQLite format 3\0"):
        raise BackupInvalid("it is no SQLite database.")
    for _data in content:
        pass


def _check_nothing(content: Iterator[bytes], _: Member) -> None:
    for _data in content:
        pass


_CHECKS: dict[Kind, Check] = {
    "database": _check_database,
    "volume": _check_tar,
    "sqlite": _check_sqlite,
    "configuration": _check_nothing,
}
