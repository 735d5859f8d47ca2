"""What is known of a backup's soundness: a record beside its manifest, of the last look at it."""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from owctl.backup.manifest import MANIFEST_NAME
from owctl.backup.member_file import cannot_write

RECORD_NAME = "verification.json"
SCHEMA = 1
Status = Literal["ok", "failed"]


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of reading a backup back.

    ``checked_at`` is ISO 8601 in UTC; ``drill`` says that it was restored into a database of its own,
    too; ``problem`` is what was wrong.
    """

    status: Status
    checked_at: str
    drill: bool = False
    problem: str | None = None


def now(status: Status, *, drill: bool = False, problem: str | None = None) -> Verification:
    """Return a record of a look that ends now."""
    return Verification(status, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", drill, problem)


def write_record(folder: Path, verification: Verification) -> None:
    """Put the record beside the manifest that was verified, durably; raises OwctlError."""
    document = {"schema": SCHEMA, **asdict(verification), "manifest_sha256": _manifest_hash(folder)}
    path = folder / RECORD_NAME
    temporary = folder / f".{RECORD_NAME}.{os.getpid()}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(document, file, indent=2, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # On a medium that is read-only, even removing nothing is an error.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def read_record(folder: Path) -> Verification | None:
    """Return the record, None where there is none that belongs to this very manifest."""
    try:
        document = json.loads((folder / RECORD_NAME).read_bytes())
        if document["manifest_sha256"] != _manifest_hash(folder):
            return None
        status: Status = "ok" if document["status"] == "ok" else "failed"
        return Verification(
            status, str(document["checked_at"]), bool(document["drill"]), document["problem"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _manifest_hash(folder: Path) -> str | None:
    try:
        return hashlib.sha256((folder / MANIFEST_NAME).read_bytes()).hexdigest()
    except OSError:
        return None
