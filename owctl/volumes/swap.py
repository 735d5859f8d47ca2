"""A volume's files: unpacked beside the live ones, then put in their place by renames on the volume's own disk."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal

from owctl.engine.archives import read_start, write_archive
from owctl.engine.connection import Engine
from owctl.engine.volumes import inspect_volume
from owctl.errors import BackupInvalid, OwctlError
from owctl.volumes import tar
from owctl.volumes.archive_edit import STAGING_PREFIX, ArchiveEdit, Content, digest_of
from owctl.volumes.losses import Loss
from owctl.volumes.one_off import Helper, read_folder, volume_helper
from owctl.volumes.sparse import fill, sparse_files
from owctl.volumes.tar import DIRECTORY, TarHeader, TarStream

# -- The shell scripts that change a volume in place.
# In the volume's root, ``.owctl-restore-<id>`` holds ``new`` (what was staged), ``old`` (what was
# live), ``aside`` (what somebody wrote to the volume in the middle of a swap) and ``phase``. A phase
# is on the disk before anything of it is done, and what was done in it is on the disk before the
# next; each can be begun again at any point. So whoever comes after a kill reads ``phase`` and goes
# on, or back:
# staged → out → in → swapped                live entries to old, then new ones to the root
# staged ← returning-in ← returning-out      new ones back, then old ones to the root
# They need sh, printf, mv, rm, mkdir, chown, chmod, touch and sync, of coreutils or busybox.


# An upgrade of PostgreSQL keeps its files as a restore does.
CLUSTER_PREFIX = ".owctl-postgres-"

Phase = Literal["staged", "out", "in", "swapped", "returning-out", "returning-in"]
PHASE_FILE = "phase"
# What a phase means to who looks; a folder without one is "absent".
State = Literal["absent", "staged", "swapping", "swapped"]
STATES: dict[str, State] = {
    "staged": "staged",
    "out": "swapping",
    "in": "swapping",
    "swapped": "swapped",
    "returning-out": "swapping",
    "returning-in": "swapping",
}

# $1 is the staging folder. The root's own time must not tell that there was one.
_COMMON = """
work=./$1
[ ! -L "$work" ] || { echo "$work is a link" >&2; exit 1; }
flush() { sync -f . 2>/dev/null || sync; }
advance() {
  echo "$1" >"$work/phase.next"
  flush
  mv -f "$work/phase.next" "$work/phase"
  flush
}
"""

BEGIN = (
    _COMMON
    + """
touch -r . /owctl-root-time
rm -rf "$work"
mkdir -m 700 "$work" "$work/old"
touch -r /owctl-root-time .
"""
)

# $2 is the owner and the mode that the root is to have; its time is that of new.
STAGED = (
    _COMMON
    + """
echo "$2" >"$work/new-root"
touch -r "$work/new" "$work/new-root"
flush
advance staged
"""
)

# Further arguments are pairs of a time in seconds and a name in new, its bytes as octal escapes.
# A touch that knows no such time is no reason to give up.
AGE = (
    _COMMON
    + """
shift
while [ $# -gt 1 ]; do
  name=$(printf '%b.' "$2")
  touch -h -d "@$1" "$work/new/${name%.}" || :
  shift 2
done
"""
)

# $2 is the phase to arrive at, $3 the owner and the mode of the root as it is now.
GO = (
    _COMMON
    + f"""
put_aside() {{
  number=0
  while [ -e "$work/aside/$number" ]; do number=$((number + 1)); done
  mkdir -p "$work/aside/$number"
  mv -f "./$1" "$work/aside/$number/"
}}
move() {{
  from=$1 to=$2
  set --
  for entry in "$from"/* "$from"/.[!.]* "$from"/..?*; do
    [ -e "$entry" ] || [ -L "$entry" ] || continue
    name=${{entry##*/}}
    case $name in {STAGING_PREFIX}* | {CLUSTER_PREFIX}*) continue ;; esac
    # What is in both was put into the root by somebody who did not know of this.
    if [ -e "$to/$name" ] || [ -L "$to/$name" ]; then
      put_aside "$name"
      [ "$from" != . ] || continue
    fi
    set -- "$@" "$entry"
    if [ $# -ge 100 ]; then
      mv -f "$@" "$to/"
      set --
    fi
  done
  [ $# -eq 0 ] || mv -f "$@" "$to/"
}}
become() {{
  read -r owner mode <"$1"
  chown "$owner" .
  chmod "$mode" .
  touch -r "$1" .
}}
live=$3
while :; do
  phase=
  [ ! -f "$work/phase" ] || read -r phase <"$work/phase" || :
  case $2/$phase in
    swapped/swapped | staged/staged) exit 0 ;;
    swapped/staged)
      echo "$live" >"$work/old-root"
      touch -r . "$work/old-root"
      advance out
      ;;
    swapped/out)
      move . "$work/old"
      advance in
      ;;
    swapped/in)
      move "$work/new" .
      become "$work/new-root"
      advance swapped
      ;;
    staged/out) advance returning-in ;;
    staged/in | staged/swapped) advance returning-out ;;
    */returning-out)
      move . "$work/new"
      advance returning-in
      ;;
    */returning-in)
      move "$work/old" .
      become "$work/old-root"
      live="$owner $mode"
      advance staged
      ;;
    *) echo "nothing is staged in $work" >&2; exit 1 ;;
  esac
done
"""
)

# Without its phase it is no staging folder any more, however much of it is left.
DISCARD = (
    _COMMON
    + """
[ -d "$work" ] || exit 0
rm -f "$work/phase"
flush
touch -r . /owctl-root-time
rm -rf "$work"
touch -r /owctl-root-time .
flush
"""
)


# -- Staging and swapping.
# Everything here can be called again after a kill of owctl, of the helper or of the engine at any
# point. The caller holds the project's lock, and nothing that uses the volume runs while it is
# swapped.


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
    hidden: Collection[str] = (),
    second: Content | None = None,
) -> list[Loss]:
    """Unpack ``archive`` beside the volume's live files, and read back what was unpacked.

    ``sqlite_copies`` are the backup's copies of SQLite databases in this volume: those that
    SQLite found sound replace what the archive holds of them. ``receive`` gets the bytes of the
    archive that were read until now. What the archive has below the paths ``hidden`` is left out.
    ``second`` is the archive once more: with it, files that its manifest calls sparse get holes.
    What was staged under ``restore_id`` before is thrown away. Returns what came back otherwise than
    the archive has it, beyond what reading it shows. Raises BackupInvalid if the archive is damaged
    or hostile, and OwctlError.
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
        helper.run(BEGIN, [folder])
        target = f"{helper.path}/{folder}/new"
        sparse = {} if second is None else sparse_files(archive.member.detail)
        edit = ArchiveEdit(_counted(archive, receive), target, copies, hidden, sparse)
        write_archive(engine, helper.id, "/", _gathered(_stream(edit, live)))
        archive.finish()
        if second is not None and edit.emptied:
            fill(helper, target, edit.emptied, second)
            second.finish()
        if engine.is_podman:
            _age(helper, folder, edit.aging)
        _age(helper, folder, edit.odd_times)
        losses = [*edit.losses, *_compare(helper, folder, edit)]
        helper.run(STAGED, [folder, _owner_and_mode(edit.root or live)])
    return losses


def swap_volume(
    engine: Engine, project: str, image_id: str, volume_name: str, restore_id: str
) -> None:
    """Put what is staged in the place of what is live, which is kept beside; or go on with it.

    Raises OwctlError if nothing is staged, or a rename fails: then ``unswap_volume`` goes back.
    """
    with _helper(engine, project, image_id, volume_name, running=True) as helper:
        live = _owner_and_mode(_root(helper))
        helper.run(GO, [_folder(restore_id), "swapped", live])


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
            helper.run(GO, [folder, "staged", ""])


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
        helper.run(DISCARD, [folder])


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
    path = f"{helper.path}/{folder}/{PHASE_FILE}"
    phase = read_start(helper.engine, helper.id, path) or b""
    return STATES.get(phase.decode("ascii", "replace").strip(), "absent")


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
    yield tar.encode(target)
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


def _compare(helper: Helper, folder: str, edit: ArchiveEdit) -> Iterator[Loss]:
    """Read back what was unpacked, and return what the disk cannot hold.

    Raises OwctlError if it is otherwise not what the archive holds.
    """
    path = f"{helper.path}/{folder}/new"
    with read_folder(helper.engine, helper.id, path) as pieces:
        odd = {name for name, (second, _) in edit.digest.odd.items() if second is not None}
        found = digest_of(pieces, with_root=edit.root is not None, odd=odd)
    different = edit.digest.differences(found)
    if different:
        raise OwctlError(
            f"What was unpacked into {helper.mount_name} is not what the archive holds: "
            f"{', '.join(different)}.",
            hint="docker info, and the engine's log: look for the volume's driver and its disk",
        )
    return edit.digest.losses(found)


def _age(helper: Helper, folder: str, times: Sequence[tuple[str, str]]) -> None:
    for start in range(0, len(times), _AGED_AT_ONCE):
        arguments = [folder]
        for name, modified_at in times[start : start + _AGED_AT_ONCE]:
            # A name need not be UTF-8, which the engine's API wants.
            escaped = "".join(f"\\0{byte:03o}" for byte in name.encode(errors="surrogateescape"))
            arguments += [modified_at, escaped]
        helper.run(AGE, arguments)
