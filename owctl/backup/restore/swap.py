"""The shell scripts that change a volume in place: renames on its own disk, and a file that tells.

In the volume's root, ``.owctl-restore-<id>`` holds ``new`` (what was staged), ``old`` (what was
live), ``aside`` (what somebody wrote to the volume in the middle of a swap) and ``phase``. A phase
is on the disk before anything of it is done, and what was done in it is on the disk before the
next; each can be begun again at any point. So whoever comes after a kill reads ``phase`` and goes
on, or back:

    staged → out → in → swapped                live entries to old, then new ones to the root
    staged ← returning-in ← returning-out      new ones back, then old ones to the root

They need sh, printf, mv, rm, mkdir, chown, chmod, touch and sync, of coreutils or busybox.
"""

from typing import Literal

from owctl.backup.restore.archive_edit import STAGING_PREFIX

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
