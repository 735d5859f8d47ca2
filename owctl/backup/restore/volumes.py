"""A volume's files: unpacked beside the live ones, then put in their place by renames.

Everything here can be called again after a kill of owctl, of the helper or of the engine at any
point. The caller holds the project's lock, and nothing that uses the volume runs while it is
swapped.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from owctl.backup import tar_header
from owctl.backup.folder_archive import read_folder
from owctl.backup.restore import swap
from owctl.backup.restore.archive_edit import STAGING_PREFIX, ArchiveEdit, digest_of
from owctl.backup.restore.content import Content
from owctl.backup.restore.swap import State
from owctl.backup.tar_header import DIRECTORY, TarHeader
from owctl.backup.tar_stream import TarStream
from owctl.engine.archives import write_archive
from owctl.engine.connection import Engine
from owctl.engine.one_off import Helper, volume_helper
from owctl.engine.small_files import read_start
from owctl.engine.volumes import inspect_volume
from owctl.errors import BackupInvalid, OwctlError

_RESTORE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PIECE_BYTES = 1 << 18
# So that they fit into one command.
_AGED_AT_ONCE = 100


def stage_volume(
    engine: Engine,
    project: str,
    image_id: str,
    volume_name: str,
    restore_id: str,
    archive: Content,
    sqlite_copies: Sequence[Content],
    receive: Callable[[int], None],
) -> None:
    """Unpack ``archive`` beside the volume's live files, and read back what was unpacked.

    ``sqlite_copies`` are the backup's copies of SQLite databases in this volume: those that
    SQLite found sound replace what the archive holds of them. ``receive`` gets the bytes of the
    archive that were read until now. What was staged under ``restore_id`` before is thrown away.
    Raises BackupInvalid if the archive is damaged or hostile, and OwctlError.
    """
    folder = _folder(restore_id)
    copies = {
        str(copy.member.detail["path"]): copy
        for copy in sqlite_copies
        if copy.member.detail.get("integrity_check") == ["ok"]
    }
    with _helper(engine, project, image_id, volume_name, running=True) as helper:
        if _state(helper, folder) in ("swapping", "swapped"):
            raise OwctlError(
                f"The volume {volume_name} is already in the middle of the restore {restore_id}.",
                hint="owctl restore undo",
            )
        live = _root(helper)
        helper.run(swap.BEGIN, [folder])
        edit = ArchiveEdit(_counted(archive, receive), f"{helper.path}/{folder}/new", copies)
        write_archive(engine, helper.id, "/", _gathered(_stream(edit, live)))
        archive.finish()
        if engine.is_podman:
            _age(helper, folder, edit.aging)
        _compare(helper, folder, edit)
        _age(helper, folder, edit.ancient)
        helper.run(swap.STAGED, [folder, _owner_and_mode(edit.root or live)])


def swap_volume(
    engine: Engine, project: str, image_id: str, volume_name: str, restore_id: str
) -> None:
    """Put what is staged in the place of what is live, which is kept beside; or go on with it.

    Raises OwctlError if nothing is staged, or a rename fails: then ``unswap_volume`` goes back.
    """
    with _helper(engine, project, image_id, volume_name, running=True) as helper:
        live = _owner_and_mode(_root(helper))
        helper.run(swap.GO, [_folder(restore_id), "swapped", live])


def unswap_volume(
    engine: Engine, project: str, image_id: str, volume_name: str, restore_id: str
) -> None:
    """Put what was live back in its place, from any state, and keep the rest as staged.

    No error where nothing was staged. Raises OwctlError if a rename fails.
    """
    folder = _folder(restore_id)
    if inspect_volume(engine, volume_name) is None:
        return
    with _helper(engine, project, image_id, volume_name, running=True) as helper:
        if _state(helper, folder) != "absent":
            helper.run(swap.GO, [folder, "staged", ""])


def discard_staging(
    engine: Engine, project: str, image_id: str, volume_name: str, restore_id: str
) -> None:
    """Remove what is kept beside the live files: the new after an undo, the old after a finish.

    No error where there is nothing. Raises OwctlError in the middle of a swap.
    """
    folder = _folder(restore_id)
    if inspect_volume(engine, volume_name) is None:
        return
    with _helper(engine, project, image_id, volume_name, running=True) as helper:
        if _state(helper, folder) == "swapping":
            raise OwctlError(
                f"The volume {volume_name} is in the middle of the restore {restore_id}.",
                hint="owctl restore undo",
            )
        helper.run(swap.DISCARD, [folder])


def volume_state(
    engine: Engine, project: str, image_id: str, volume_name: str, restore_id: str
) -> State:
    """Return how far the restore of a volume is.

    "absent" is also what was not staged to its end, "swapping" an interrupted swap or unswap,
    which either of the two brings to an end.
    """
    if inspect_volume(engine, volume_name) is None:
        return "absent"
    with _helper(engine, project, image_id, volume_name, running=False) as helper:
        return _state(helper, _folder(restore_id))


def _helper(
    engine: Engine, project: str, image_id: str, volume_name: str, *, running: bool
) -> AbstractContextManager[Helper]:
    return volume_helper(
        engine, project, image_id, volume_name, "restore", writable=running, running=running
    )


def _folder(restore_id: str) -> str:
    if not _RESTORE_ID.fullmatch(restore_id):
        raise ValueError(f"{restore_id!r} is no id of a restore")
    return STAGING_PREFIX + restore_id


def _state(helper: Helper, folder: str) -> State:
    path = f"{helper.path}/{folder}/{swap.PHASE_FILE}"
    phase = read_start(helper.engine, helper.id, path) or b""
    return swap.STATES.get(phase.decode("ascii", "replace").strip(), "absent")


def _root(helper: Helper) -> TarHeader:
    """Return what the volume's root is, from the head of its archive."""
    with read_folder(helper.engine, helper.id, helper.path) as pieces:
        return next(iter(TarStream(pieces)))


def _owner_and_mode(root: TarHeader) -> str:
    # With five digits chmod sets the special bits of a folder, too.
    return f"{root.user_id}:{root.group_id} {root.mode:05o}"


def _stream(edit: ArchiveEdit, live: TarHeader) -> Iterator[bytes]:
    """Yield the tar to unpack; the root is as the live one, unless the archive says otherwise."""
    target = TarHeader(
        edit.target, DIRECTORY, 0, live.mode, live.user_id, live.group_id, live.modified_at
    )
    yield tar_header.encode(target)
    yield from edit


def _counted(archive: Content, receive: Callable[[int], None]) -> Iterator[bytes]:
    done = 0
    most = archive.member.content_size_bytes
    for data in archive:
        done += len(data)
        if done > most:
            raise BackupInvalid(f"{archive.member.name} is longer than the manifest says.")
        receive(done)
        yield data


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces that are worth a call to the engine."""
    waiting = bytearray()
    for data in pieces:
        if len(data) >= _PIECE_BYTES:
            # To copy it once more would take longer than a call.
            yield bytes(waiting)
            waiting.clear()
            yield data
            continue
        waiting += data
        if len(waiting) >= _PIECE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def _compare(helper: Helper, folder: str, edit: ArchiveEdit) -> None:
    """Read back what was unpacked; raises OwctlError if it is not what the archive holds."""
    path = f"{helper.path}/{folder}/new"
    with read_folder(helper.engine, helper.id, path) as pieces:
        found = digest_of(pieces, with_root=edit.root is not None)
    different = edit.digest.differences(found)
    if different:
        raise OwctlError(
            f"What was unpacked into {helper.mount_name} is not what the archive holds: "
            f"{', '.join(different)}.",
            hint="docker info, and the engine's log: look for the volume's driver and its disk",
        )


def _age(helper: Helper, folder: str, ancient: Sequence[tuple[str, str]]) -> None:
    for start in range(0, len(ancient), _AGED_AT_ONCE):
        arguments = [folder]
        for name, modified_at in ancient[start : start + _AGED_AT_ONCE]:
            # A name need not be UTF-8, which the engine's API wants.
            escaped = "".join(f"\\0{byte:03o}" for byte in name.encode(errors="surrogateescape"))
            arguments += [modified_at, escaped]
        helper.run(swap.AGE, arguments)
