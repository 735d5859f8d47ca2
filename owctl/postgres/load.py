"""Loading a dump: by the container's own pg_restore or psql, in one transaction."""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

from owctl.engine.connection import Engine
from owctl.engine.containers import Container, inspect_container
from owctl.engine.execution import ExecStream, open_exec
from owctl.errors import BackupInvalid, OwctlError
from owctl.postgres.psql import STRICT_PSQL, Server, SnapshotSession

# -- A dump in SQL text, as ``pg_dump`` writes it without ``-F``: made one transaction, or none.


COMMITTED = "owctl: committed"
_COMPLETE = b"-- PostgreSQL database dump complete"
_TAIL_BYTES = 4096


def in_one_transaction(content: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what psql is to read so that all of the dump counts, or nothing.

    psql prints ``COMMITTED`` once it has committed. Raises BackupInvalid for a dump that does not
    end as pg_dump ends one; then the commit was not sent.
    """
    yield b"BEGIN;\n"
    # psql would take the end of its input for the end of the dump, so the end is looked at first.
    tail = b""
    for piece in _without_restriction(content):
        tail += piece
        if len(tail) > _TAIL_BYTES:
            yield tail[:-_TAIL_BYTES]
            tail = tail[-_TAIL_BYTES:]
    if _COMPLETE not in tail:
        raise BackupInvalid(
            "the SQL dump is cut off: it does not end as pg_dump ends one.",
            hint="an older dump of this database",
        )
    lines = [line for line in tail.split(b"\n") if not line.startswith(b"\\unrestrict ")]
    yield b"\n".join(lines)
    yield f"\nCOMMIT;\n\\echo {COMMITTED}\n".encode()


def _without_restriction(content: Iterable[bytes]) -> Iterator[bytes]:
    """Leave out ``\\restrict``, which only a newer psql knows; it stands in the dump's head."""
    pieces = iter(content)
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= _TAIL_BYTES:
            break
    lines = head.split(b"\n")
    end = next((n for n, line in enumerate(lines) if not _is_preamble(line)), len(lines))
    lines[:end] = [line for line in lines[:end] if not line.startswith(b"\\restrict ")]
    yield b"\n".join(lines)
    yield from pieces


def _is_preamble(line: bytes) -> bool:
    return line == b"" or line.startswith((b"--", b"\\restrict "))


# -- Loading a dump: by the container's own pg_restore or psql, in one transaction.
# What was cut off never counts. pg_restore misses the data that the dump's table of contents
# promises, and fails; psql is told to commit only after the last piece was sent, and only if the dump
# says that it is complete.


Form = Literal["custom", "owned", "plain", "database"]
_PIECE_BYTES = 1 << 18
_REPORT_BYTES = 8 * 1024 * 1024
_COMPLAINT_BYTES = 8192
_ARGUMENTS: Mapping[Form, tuple[str, ...]] = {
    # Objects belong to who restores, who is the one that the container was made for: a role that
    # the backup's server had and this one lacks must not stop the data.
    "custom": (
        "pg_restore",
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-acl",
        "--no-password",
    ),
    # Objects belong to who owned them, and may be used by who could: those roles are there.
    "owned": ("pg_restore", "--single-transaction", "--exit-on-error", "--no-password"),
    # The database itself is in it, and who owns what: for a server with the same roles.
    "database": (
        "pg_restore",
        "--create",
        "--clean",
        "--if-exists",
        "--exit-on-error",
        "--no-password",
    ),
    "plain": (*STRICT_PSQL, "-f", "-"),
}
_HAS_LZ4 = """
SELECT count(*) FROM pg_settings
WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)
"""


def load_dump(
    engine: Engine,
    container: Container,
    environment: Mapping[str, str],
    database: str,
    content: Iterable[bytes],
    *,
    form: Form = "custom",
    on_bytes: Callable[[int], None] | None = None,
) -> None:
    """Load a dump into an existing, empty database of the running container.

    ``environment`` are libpq's variables. ``on_bytes`` is told, now and then and from another
    thread, how many bytes of the dump were sent. It is one transaction: the first error ends it, and
    then the database is as empty as it was. With the form ``database`` it is not: the dump makes its
    database anew, and ``database`` is another one, to begin in. Raises OwctlError with the program's
    words, and what ``content`` raises; if it raises after its last piece, nothing was committed either.
    """
    lz4 = Server(engine, container, environment).ask(_HAS_LZ4, database=database) == [["1"]]
    options = "-c maintenance_work_mem=128MB -c statement_timeout=0"
    if lz4:
        # Long texts are compressed several times as fast, and hardly less well.
        options += " -c default_toast_compression=lz4"
    argv = list(_ARGUMENTS[form]) + ([] if form == "plain" else ["-d", database])
    pieces = _counted(content, on_bytes)
    with open_exec(
        engine,
        container.id,
        argv,
        environment={**environment, "PGDATABASE": database, "PGOPTIONS": options},
        stdin=True,
    ) as stream:
        feeder = _Feeder(stream, in_one_transaction(pieces) if form == "plain" else pieces)
        feeder.start()
        try:
            code, output, complaints = _outcome(stream)
        finally:
            stream.close()  # wakes up a feeder that nobody listens to
            feeder.join()
    if feeder.error is not None:
        raise feeder.error
    if code or (form == "plain" and COMMITTED not in output.splitlines()):
        raise _failed(engine, container, argv[0], code, complaints)


def count_rows(
    engine: Engine, container: Container, environment: Mapping[str, str], database: str
) -> dict[str, int]:
    """Return the exact number of rows by ``schema.table``: of the tables that a manifest counts."""
    server = Server(engine, container, {**environment, "PGDATABASE": database})
    with SnapshotSession(server) as session:
        return {table.key: count for table, count in session.count(session.tables()).items()}


class _Feeder(threading.Thread):
    """Sends the dump while the main thread listens; ``error`` is why it could not be read."""

    def __init__(self, stream: ExecStream, pieces: Iterator[bytes]) -> None:
        super().__init__(name="owctl-load", daemon=True)
        self.error: BaseException | None = None
        self._stream = stream
        self._pieces = pieces

    def run(self) -> None:
        """Send everything; the input is closed as finished only if all of it was read."""
        try:
            for piece in self._pieces:
                view = memoryview(piece)
                for start in range(0, len(view), _PIECE_BYTES):
                    self._stream.write(bytes(view[start : start + _PIECE_BYTES]))
            self._stream.close_stdin()
        except BrokenPipeError:
            # The program is gone, and its exit code says why.
            return
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits
            self.error = error
            self._stream.close_stdin()


def _counted(content: Iterable[bytes], on_bytes: Callable[[int], None] | None) -> Iterator[bytes]:
    """Yield each piece when the next was read: the last one only after ``content`` has ended well."""
    sent_bytes, report_at = 0, _REPORT_BYTES
    held = b""
    for piece in content:
        yield held
        sent_bytes, held = sent_bytes + len(held), piece
        if on_bytes is not None and sent_bytes >= report_at:
            report_at = sent_bytes + _REPORT_BYTES
            on_bytes(sent_bytes)
    yield held


def _outcome(stream: ExecStream) -> tuple[int, str, bytes]:
    """Return exit code, the end of the output, and the end of the complaints."""
    output, complaints = b"", b""
    for name, data in stream:
        if name == "stdout":
            output = (output + data)[-_COMPLAINT_BYTES:]
        else:
            complaints = (complaints + data)[-_COMPLAINT_BYTES:]
    return stream.exit_code(), output.decode("utf-8", "replace"), complaints


def _failed(
    engine: Engine, container: Container, program: str, code: int, complaints: bytes
) -> OwctlError:
    now = inspect_container(engine, container.id)
    if now is None or not now.is_running:
        message = f"The container {container.name} stopped while the dump was loaded."
    elif code == 0:
        message = f"The dump was not loaded: {program} met its end within a statement."
    else:
        message = f"{program} could not load the dump in {container.name} (exit code {code})."
    return OwctlError(
        message,
        hint=f"owctl logs {container.service}",
        details=_words(complaints),
    )


def _words(complaints: bytes) -> list[str]:
    """Return the lines that say what is wrong: the statement that failed may follow them, whole."""
    lines = [line for line in complaints.decode("utf-8", "replace").splitlines() if line]
    telling = [line for line in lines if re.search("error:|ERROR:|FATAL:|DETAIL:", line)]
    return (telling or lines)[-5:]
