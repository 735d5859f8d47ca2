"""Reading a backup back: sizes, SHA-256, compression, and the structure of what is inside."""

import queue
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from owctl.backup import catalogue
from owctl.backup.catalogue import RECORD_NAME, Verification, read_record, write_record
from owctl.backup.encryption import SUFFIX, Identity
from owctl.backup.manifest import MANIFEST_NAME, Kind, Manifest, Member
from owctl.backup.member_file import MemberContent
from owctl.backup.publish import LOCK_NAME
from owctl.errors import BackupInvalid, OwctlError
from owctl.postgres.dump_scan import DumpScanner
from owctl.progress import Event, Receiver, ignore
from owctl.volumes import sqlite
from owctl.volumes.archive_check import check_archive
from owctl.volumes.losses import Loss, printable

_REPORT_BYTES = 8 * 1024 * 1024
Check = Callable[[Iterator[bytes], Member], tuple[Loss, ...]]


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
) -> tuple[Loss, ...]:
    """Read one member back and compare it with what the manifest says; a restore takes what passes.

    Returns what of it a restore does not bring back: what the manifest says, and what is seen.

    An encrypted one is read as it is stored, its SHA-256 compared, where no ``identities`` are given.
    ``cancelled`` is asked now and then; Interrupted is raised when it says so. ``on_bytes`` is told,
    now and then, how many bytes of content were read. Raises BackupInvalid.
    """
    try:
        _check_size(folder / member.name, member)
        with MemberContent(folder, member, identities=identities, cancelled=cancelled) as content:
            if member.name.endswith(SUFFIX) and not identities:
                content.finish_stored()
                return known_losses(member)
            try:
                found = _CHECKS[member.kind](_reported(iter(content), on_bytes), member)
            except BackupInvalid:
                # A damaged file explains whatever was found in it.
                content.finish()
                raise
            content.finish()
            return tuple(dict.fromkeys((*known_losses(member), *found)))
    except BackupInvalid as error:
        named = error.message.startswith(member.name)
        raise BackupInvalid(
            error.message if named else f"{member.name}: {error.message}",
            hint=error.hint or "owctl backup, which makes a new one",
        ) from error


def known_losses(member: Member) -> tuple[Loss, ...]:
    """Return what the manifest says that a volume's archive does not bring back."""
    said = member.detail.get("not_kept", ())
    return tuple(Loss(printable(str(each["path"])), printable(str(each["what"]))) for each in said)


def losses_by_volume(manifest: Manifest) -> dict[str, tuple[Loss, ...]]:
    """Return ``known_losses`` of each volume."""
    volumes = (member for member in manifest.members if member.kind == "volume")
    return {
        str(member.detail.get("volume", member.name)): known_losses(member) for member in volumes
    }


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


def _check_volume(content: Iterator[bytes], member: Member) -> tuple[Loss, ...]:
    found = check_archive(content)
    said = member.detail.get("entries"), member.detail.get("files_bytes")
    if said not in ((None, None), (found.entries, found.files_bytes)):
        raise BackupInvalid(
            f"it unpacks to {found.entries} entries with {found.files_bytes} bytes, the "
            f"manifest says {said[0]} and {said[1]}."
        )
    return found.losses


def _check_database(content: Iterator[bytes], member: Member) -> tuple[Loss, ...]:
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
    return ()


def _check_sqlite(content: Iterator[bytes], member: Member) -> tuple[Loss, ...]:
    first = next(content, b"")
    if not first.startswith(sqlite.MAGIC):
        raise BackupInvalid("it is no SQLite database.")
    return _check_nothing(content, member)


def _check_nothing(content: Iterator[bytes], _: Member) -> tuple[Loss, ...]:
    for _data in content:
        pass
    return ()


_CHECKS: dict[Kind, Check] = {
    "database": _check_database,
    "volume": _check_volume,
    "sqlite": _check_sqlite,
    "configuration": _check_nothing,
}


# -- In the background, while the next members are written.


class NoVerifier:
    """Stands in for the verifier where nothing is to be read back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def submit(self, member: Member, also: Callable[[], None] | None = None) -> None:
        """Let a member pass."""

    def finish(self) -> None:
        """Have nothing to wait for."""


class BackgroundVerifier:
    """Reads members of ``folder`` back, one after the other, in a thread of its own.

    A context manager: leaving it with an error stops the thread at once. ``finish`` waits and
    raises the first error (BackupInvalid).
    """

    def __init__(
        self, folder: Path, receive: Receiver, identities: Sequence[Identity] = ()
    ) -> None:
        self._identities = identities
        self._folder = folder
        self._receive = receive
        self._queue: queue.SimpleQueue[tuple[Member, Callable[[], None] | None] | None] = (
            queue.SimpleQueue()
        )
        self._cancelled = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="owctl-backup-verifier")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._cancelled.set()
        self._queue.put(None)
        self._thread.join()

    def submit(self, member: Member, also: Callable[[], None] | None = None) -> None:
        """Have a member verified, by ``also`` as well; raises what an earlier one brought to light."""
        self._raise()
        self._queue.put((member, also))

    def finish(self) -> None:
        """Wait until all that was submitted is verified; raises BackupInvalid."""
        self._queue.put(None)
        self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (item := self._queue.get()) is not None and not self._cancelled.is_set():
            member, also = item
            self._receive(Event(member.name, "working", "verifying", "member"))
            try:
                verify_member(
                    self._folder,
                    member,
                    identities=self._identities,
                    cancelled=self._cancelled.is_set,
                )
                if also is not None:
                    also()
            except BaseException as error:  # noqa: BLE001  # handed to the thread that waits
                self._error = error
                return
            self._receive(_verified(member))


def _verified(member: Member) -> Event:
    return Event(member.name, "done", "verified", "member", done=member.content_size_bytes)


# -- A whole backup again, and what was found written down.


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What a look at a backup found.

    ``problems`` has one text for each damaged member, which it names. ``extra_files`` lie in the
    folder and are no part of the backup, by their path in it. ``losses`` are by volume.
    """

    problems: tuple[str, ...]
    extra_files: tuple[str, ...]
    content_bytes: int
    seconds: float
    losses: Mapping[str, Sequence[Loss]] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        """Whether everything was as the manifest says."""
        return not self.problems


def read_back(
    folder: Path,
    manifest: Manifest,
    receive: Receiver = ignore,
    *,
    identities: Sequence[Identity] = (),
) -> ReadBack:
    """Read every member of a backup, also after one that is damaged.

    Of an encrypted one only the SHA-256 is compared where no ``identities`` are given. Raises
    Interrupted, and ConfigurationError for identities that do not fit.
    """
    began = time.monotonic()
    problems = []
    losses: dict[str, Sequence[Loss]] = {}
    for member in manifest.members:

        def report(done_bytes: int, name: str = member.name) -> None:
            receive(Event(name, "working", "verifying", "member", done=done_bytes))

        report(0)

        try:
            found = verify_member(folder, member, identities=identities, on_bytes=report)
        except BackupInvalid as error:
            problems.append(" ".join([error.message, *error.details]))
            receive(Event(member.name, "failed", "damaged", "member"))
        else:
            if found:
                losses[str(member.detail.get("volume", member.name))] = found
            receive(_verified(member))
    return ReadBack(
        tuple(problems),
        _extra_files(folder, manifest),
        sum(member.content_size_bytes for member in manifest.members),
        time.monotonic() - began,
        losses,
    )


def write_down(
    folder: Path, problems: tuple[str, ...], *, drill: bool = False
) -> tuple[Verification, str | None]:
    """Record the outcome of a look at a backup beside its manifest.

    A drill goes on counting for later looks that only read: they show that it is the same backup
    still. Returns the record, and why it could not be written (a medium that is read-only) or None.
    """
    earlier = read_record(folder)
    drilled = drill or (earlier is not None and earlier.status == "ok" and earlier.drill)
    found = (
        catalogue.now("failed", drill=drill, problem=_sentence(problems))
        if problems
        else catalogue.now("ok", drill=drilled)
    )
    try:
        write_record(folder, found)
    except OwctlError as error:
        return found, error.message
    return found, None


def _sentence(problems: tuple[str, ...]) -> str:
    return "; ".join(each.rstrip(".") for each in problems) + "."


def _extra_files(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    known = {MANIFEST_NAME, RECORD_NAME, LOCK_NAME} | {each.name for each in manifest.members}
    found = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    )
    return tuple(
        name for name in found if name not in known and not name.startswith(f".{RECORD_NAME}.")
    )
