"""Makes a backup, or says beforehand what it would hold."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from owctl.backup import catalogue
from owctl.backup import manifest as manifests
from owctl.backup.catalogue import FOLDER_NAME, list_backups
from owctl.backup.create.capture import BackupRequest, Capture, CreatedBackup
from owctl.backup.create.interlude import (
    check_something_exists,
    dormant_database,
    require_dump,
    writers,
)
from owctl.backup.create.origin import configuration_files
from owctl.backup.create.volumes import remove_helpers
from owctl.backup.encryption import Encryption, read_recipients
from owctl.backup.freshness import backups_of
from owctl.backup.inventory import Inventory, take_inventory
from owctl.backup.manifest import MANIFEST_NAME, PARTS, Manifest, Part
from owctl.backup.member_file import write_small
from owctl.backup.publish import new_id, partial_folder
from owctl.backup.schedule.schedule import read_schedule
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.errors import BackupInvalid
from owctl.postgres.place import find_server
from owctl.progress import Receiver, ignore


def foresee(engine: Engine, stack: Stack, request: BackupRequest) -> list[str]:
    """Return one line for each thing that a backup would do, in order; changes nothing.

    Raises OwctlError for what can be seen to fail.
    """
    inventory = take_inventory(engine, stack)
    request = replace(request, parts=inventory.captured(request.parts))
    if request.parts != {"config"}:
        check_something_exists(engine, stack, inventory)
    before: list[str] = []
    after: list[str] = []
    if "db" in request.parts:
        before, after = _waking(engine, stack, inventory)
    lines = [*before, *_captured(stack, request, inventory)]
    if request.verify:
        lines.append("read everything back")
    return [*lines, *after]


def _waking(engine: Engine, stack: Stack, inventory: Inventory) -> tuple[list[str], list[str]]:
    """Return what is done first and last, so that there is a database to dump."""
    require_dump(stack, inventory)
    dormant = dormant_database(engine, inventory)
    if isinstance(dormant, str):
        return [f"create and start {dormant}"], [f"stop and remove {dormant} again"]
    if dormant is not None:
        return [f"start {dormant.name}"], [f"stop {dormant.name} again"]
    # Raises where there is none.
    find_server(engine, stack)
    return [], []


def _captured(stack: Stack, request: BackupRequest, inventory: Inventory) -> Iterator[str]:
    halted = writers(stack, inventory, request.parts) if request.quiesce else []
    for container in halted:
        yield f"stop {container.name} for the while"
    if "db" in request.parts:
        yield f"dump the database of {inventory.database_service}"
    stopped = {container.id for container in halted}
    for source in inventory.volumes_of(request.parts):
        if source.postgres and source.in_use(stopped):
            yield f"leave the volume {source.name} out: PostgreSQL of {source.postgres} runs on it"
            continue
        yield f"archive the volume {source.name} ({source.part})"
    for container in halted:
        yield f"start {container.name} again"
    if "config" in request.parts:
        for _, path in configuration_files(stack):
            yield f"store {path}"


__all__ = ["BackupRequest", "CreatedBackup", "create_backup", "create_safety_backup", "foresee"]


def create_backup(
    engine: Engine, stack: Stack, request: BackupRequest, receive: Receiver = ignore
) -> CreatedBackup:
    """Make a backup of the stack and return it once it is durable, and verified unless asked not to.

    The caller holds the project's lock. Raises OwctlError; then nothing is left of it. Raises
    BackupInvalid if what was written does not read back as what was captured. Services that were
    stopped or started for the while are as before, or ``failures`` of the result says why not.
    """
    remove_helpers(engine, stack.project)
    parent = request.parent or stack.working_dir / FOLDER_NAME
    with partial_folder(parent, new_id(datetime.now(UTC))) as partial:
        capture = Capture(engine, stack, request, partial, receive)
        manifest = capture.run()
        _store_manifest(partial.folder, manifest)
        if request.verify:
            catalogue.write_record(partial.folder, catalogue.now("ok"))
        return CreatedBackup(
            partial.publish(),
            manifest,
            verified=request.verify,
            downtime_seconds=capture.interlude.downtime_seconds,
            failures=tuple(capture.interlude.failures),
        )


def _store_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, the last file, and read it back."""
    write_small(folder, MANIFEST_NAME, manifests.dump(manifest))
    if manifests.read(folder) != manifest:
        raise BackupInvalid(
            f"{MANIFEST_NAME} does not read back as what was written.",
            hint="owctl backup, with --output naming a folder on another disk",
        )


# -- The backup that owctl makes by itself before it replaces or removes data.


_BEFORE = "before "
_ENCRYPT_TO = "--encrypt-to"


def create_safety_backup(
    engine: Engine,
    stack: Stack,
    before: str,
    receive: Receiver = ignore,
    *,
    parts: frozenset[Part] = frozenset(PARTS),
    quiesce: bool = False,
) -> CreatedBackup:
    """Make a backup that is labelled "before …", encrypted as the project's backups are.

    Raises what ``create_backup`` raises, and UsageError, ConfigurationError and OwctlError where it
    cannot be encrypted: one that everybody can read is never made instead.
    """
    encryption = usual_encryption(stack.working_dir, stack.project)
    request = BackupRequest(
        label=f"{_BEFORE}{before}", parts=parts, encryption=encryption, quiesce=quiesce
    )
    return create_backup(engine, stack, request, receive)


def usual_encryption(project_dir: Path, project: str) -> Encryption | None:
    """Return how a project's backups are encrypted: as scheduled, else as the newest one is.

    Those that owctl made by itself do not count: an earlier one left them as they are.
    """
    schedule = read_schedule(project_dir)
    if schedule is not None and schedule.project == project:
        asked = _values(schedule.command, _ENCRYPT_TO)
        if asked:
            return Encryption(read_recipients(asked, project_dir))
    folders = dict.fromkeys((project_dir / FOLDER_NAME, backups_of(project_dir, project)))
    made = (each for folder in folders for each in list_backups(folder)[::-1])
    for manifest in (each.manifest for each in made):
        if manifest is None or manifest.project != project:
            continue
        if not (manifest.label or "").startswith(_BEFORE):
            found = manifest.encryption
            return None if found is None else Encryption(found["recipients"])
    return None


def _values(words: Sequence[str], option: str) -> list[str]:
    """Return the values of an option in a command line."""
    found = [word.removeprefix(f"{option}=") for word in words if word.startswith(f"{option}=")]
    return found + [value for word, value in pairwise(words) if word == option]
