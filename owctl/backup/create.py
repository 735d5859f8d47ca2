"""Making a backup: captured into a partial folder, which gets its name when it is whole."""

from datetime import UTC, datetime
from pathlib import Path

from owctl.backup import manifest as manifests
from owctl.backup import verification
from owctl.backup.capture import Capture
from owctl.backup.catalogue import FOLDER_NAME
from owctl.backup.events import Receiver, ignore
from owctl.backup.manifest import MANIFEST_NAME, Manifest
from owctl.backup.member_file import write_small
from owctl.backup.members.volumes import remove_helpers
from owctl.backup.parts import PARTS, Part
from owctl.backup.publish import new_id, partial_folder
from owctl.backup.request import BackupRequest, CreatedBackup
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.errors import BackupInvalid

__all__ = ["FOLDER_NAME", "PARTS", "BackupRequest", "CreatedBackup", "Part", "create_backup"]


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
            verification.write_record(partial.folder, verification.now("ok"))
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
