"""The swap of a volume's files, killed at each of its commands, and gone on with or back from."""

import itertools
import threading
from collections.abc import Callable

import pytest
from engine_helpers import wait_until
from restore_place import Given, Place, listing

from owctl.engine.connection import Engine
from owctl.engine.containers import inspect_container, remove_container
from owctl.engine.execution import run
from owctl.errors import OwctlError
from owctl.volumes import swap
from owctl.volumes.swap import stage_volume, swap_volume, unswap_volume, volume_state

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

# Stands for each command: at the chosen one the shell dies, and mv has done only its first part.
DYING = r"""
mkdir /crash
for name in mv sync touch chown chmod rm mkdir; do
  cat >"/crash/$name" <<EOF
#!/bin/bash
read -r count </crash-count; read -r at </crash-at
echo \$((count + 1)) >/crash-count
if [ \$((count + 1)) -eq "\$at" ]; then
  [ $name != mv ] || [ \$# -lt 4 ] || /bin/mv -f "\$2" "\${@: -1}"
  kill -9 \$PPID
  exit
fi
exec /bin/$name "\$@"
EOF
  chmod 755 "/crash/$name"
done
"""
LIVE = "printf a >a; mkdir b .h; printf c >b/c; printf n >$'x\\ny'; ln -s a l; chown 5:6 .; chmod 751 ."
NEW = "rm -rf a l; mkdir a; printf new >a/f; printf new >-d; printf m >m; chown 7:8 .; chmod 2710 ."


class Swapping(Place):
    """A place with something staged, whose archive is ``new``."""

    new: bytes


@pytest.fixture
def place(engine: Engine, project: str, base_image: str):
    made = Swapping(engine, project, base_image)
    made.shell(f"{NEW}\ntouch -d 2001-01-01 .")
    made.new = made.archive()
    made.shell(f"rm -rf ./* .h\n{LIVE}\ntouch -d 2002-02-02 .")
    stage_volume(*made.arguments, Given(made.new), (), lambda _: None)
    yield made
    made.remove_worker()


def go(place: Place, goal: str, die_at: int = 0) -> bool:
    """Run the script in the worker; returns whether it came to its end."""
    state = f"echo 0 >/crash-count; echo {die_at} >/crash-at; stat -c '%u:%g %a' ."
    owner, mode = place.shell(state).split()
    argv = ["sh", "-euc", f'cd "$0"\n{swap.GO}', "/v", place.staging, goal]
    answer = run(
        place.engine,
        place.worker,
        [*argv, f"{owner} {int(mode, 8):05o}"],
        environment={"LC_ALL": "C", "PATH": "/crash:/usr/bin:/bin"},
    )
    assert answer.exit_code in (0, 137), answer.stderr.decode()
    return answer.exit_code == 0


# All in one process: there are more than a hundred runs. $1 is the script, $2 the staging folder.
EACH_COMMAND = r"""
look() {
  find . -path "./$staging" -prune -o -printf '%P %y %U:%G %m %l ' \
    \( -path ./"$staging" -o -printf '%T+ %s\n' \) | LC_ALL=C sort | md5sum
}
go() {
  echo 0 >/crash-count; echo "$2" >/crash-at
  PATH=/crash:/usr/bin:/bin sh -euc "$script" /v "$staging" "$1" "$(stat -c '%u:%g 0%a' .)"
}
script=$1 staging=$2
declare -A wanted=([staged]=$(look)) opposite=([staged]=swapped [swapped]=staged)
go swapped 0; wanted[swapped]=$(look); go staged 0
[ "${wanted[staged]}" != "${wanted[swapped]}" ]
for first in swapped staged; do
  for then in swapped staged; do
    for ((die_at = 1; ; die_at++)); do
      go ${opposite[$first]} 0
      ! go $first $die_at || break
      go $then 0
      [ "$(look)" = "${wanted[$then]}" ] || { echo "$first $die_at $then" >&2; exit 1; }
    done
    echo $die_at
  done
done
"""


def test_killed_at_each_command_it_goes_on_or_back(place: Swapping):
    place.shell(DYING)
    before = place.listing()
    script = f'cd "$0"\n{swap.GO}'
    argv = ["bash", "-euc", f"cd /v\n{EACH_COMMAND}", "test", script, place.staging]
    answer = run(place.engine, place.worker, argv, environment={"LC_ALL": "C"})
    assert answer.exit_code == 0, answer.stderr.decode()[-500:]
    assert min(map(int, answer.stdout.split())) > 10
    go(place, "swapped")
    assert place.listing() == listing(place.new)
    go(place, "staged")
    assert place.listing() == before


def test_helpers_killed_at_random_moments(place: Swapping, engine: Engine):
    wanted = {"staged": place.listing(), "swapped": listing(place.new)}
    changes = [(swap_volume, "swapped"), (unswap_volume, "staged")] * 3
    failures = 0
    for number, (change, arrive) in enumerate(changes):
        failures += killed_meanwhile(place, change, number * 3)
        assert volume_state(*place.arguments) in ("staged", "swapping", "swapped")
        change(*place.arguments)
        assert place.listing() == wanted[arrive]
    assert failures


def killed_meanwhile(place: Place, change: Callable[..., None], looks: int) -> bool:
    """Remove the helper of a change after so many looks at it; returns whether it then failed."""
    helper = f"{place.project}-owctl-restore-{place.volume}"
    errors: list[OwctlError] = []

    def changing() -> None:
        try:
            change(*place.arguments)
        except OwctlError as error:
            errors.append(error)

    def is_up() -> bool:
        container = inspect_container(place.engine, helper)
        return container is not None and container.is_running

    thread = threading.Thread(target=changing)
    thread.start()
    wait_until(lambda: is_up() or not thread.is_alive(), "the helper runs")
    for _ in range(looks):
        is_up()
    remove_container(place.engine, helper, force=True)
    thread.join(60)
    assert not thread.is_alive()
    return bool(errors)


def test_what_somebody_writes_in_the_middle_is_put_aside(place: Swapping):
    before, after = place.listing(), listing(place.new)
    place.shell(DYING)
    for goal, wanted in (("swapped", after), ("staged", before)):
        for die_at in itertools.count(1):
            # A service that was started meanwhile makes its files anew, all the time.
            place.shell("rm -rf intruder; printf mine >intruder; [ -e b ] || printf mine >b")
            if go(place, goal, die_at=die_at):
                break
        found = place.listing()
        # What came when all was done is live, of course; the rest is as it was to be.
        for name in ("", "intruder", *({"b"} - wanted.keys())):
            found.pop(name, None)
        assert found == {name: each for name, each in wanted.items() if name}
    assert "mine" in place.shell(f"cat {place.staging}/aside/*/b")


def test_more_entries_than_fit_into_one_command(place: Swapping):
    place.shell("touch many-{1..250}")
    before = place.listing()
    swap_volume(*place.arguments)
    assert place.listing() == listing(place.new)
    unswap_volume(*place.arguments)
    assert place.listing() == before


def test_a_staging_folder_that_is_a_link_is_not_followed(place: Swapping):
    place.shell(f"mv {place.staging} real; ln -s real {place.staging}")
    with pytest.raises(OwctlError, match="is a link"):
        swap_volume(*place.arguments)
    assert place.shell("ls real/new/m")
