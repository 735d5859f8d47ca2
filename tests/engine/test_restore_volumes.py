"""A volume is put back exactly, beside the live one first, and gone back from."""

import contextlib
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from restore_place import Given, Place, entry, listing, tar_of

from owctl.engine.archives import write_archive
from owctl.engine.connection import Engine
from owctl.errors import BackupInvalid, OwctlError
from owctl.volumes.losses import Loss
from owctl.volumes.swap import (
    discard_staging,
    stage_volume,
    swap_volume,
    unswap_volume,
    volume_state,
)

pytestmark = pytest.mark.engine

# Of everything that a volume can hold, at least one.
EVERYTHING = r"""
mkdir -p uploads/deep/er 'a b' -- -dash .hidden ..twodots empty
printf 'one' >uploads/f1; printf 'two' >'uploads/ü f2'; printf x >-n; printf x >./--; printf x >...
printf 'x' >$'new\nline'; printf 'y' >$'bad\xff\xfebytes'; printf 'y' >$'bad\xffdir-is-not'
mkdir $'dir\xff\n'; printf z >$'dir\xff\n/in'
long=$(printf 'n%.0s' {1..200}); mkdir -p "$long/$long"; printf l >"$long/$long/$long"
ln -s /app/data/uploads/f1 absolute; ln -s ../../../../outside escaping; ln -s nowhere dangling
ln -s "$long/$long/$long" longlink
ln uploads/f1 zz-hard; ln uploads/f1 .hidden/hard; ln dangling uploads/hard-symlink
mkfifo -m 640 pipe
truncate -s 5000000 sparse; printf end >>sparse
head -c 3000000 /dev/urandom >blob
: >nothing
chmod 600 uploads/f1; chmod 4755 blob; chmod 2770 uploads; chmod 1777 'a b'; chmod 000 nothing
chown 999:1000 uploads uploads/f1; chown -h 33:33 dangling; chown 3000000:4000000 blob
chown 70:71 .; chmod 2750 .
touch -h -d '2001-02-03 04:05:06' dangling; touch -d '1999-12-31 23:59:59' uploads/f1 empty
touch -d '1960-01-01' -- -n; touch -d '2150-06-01' nothing
touch -d '2010-10-10 10:10:10' uploads; touch -d '2012-12-12 12:12:12' .
"""


@pytest.fixture
def place(engine: Engine, project: str, base_image: str) -> Iterator[Place]:
    made = Place(engine, project, base_image)
    yield made
    made.remove_worker()


def stage(place: Place, archive: bytes, *copies: Given) -> list[Loss]:
    content = Given(archive)
    seen: list[int] = []
    losses = stage_volume(*place.arguments, content, copies, seen.append)
    assert content.finished
    assert seen[-1] == len(archive)
    return losses


def helpers(place: Place) -> list[dict]:
    return place.engine.api.containers(all=True, filters={"label": "io.owctl.helper=restore"})


def test_exactly_what_was_archived_and_exactly_back(place: Place):
    place.shell(EVERYTHING)
    archive = place.archive()
    wanted = listing(archive)
    assert len(wanted) > 30
    place.shell("rm -rf blob uploads/f1; printf more >extra; mkdir uploads/later; chmod 700 .")
    place.shell("printf changed >pipe-no-more; rm pipe; mkdir pipe; touch -d 2020-02-02 .")
    before = place.listing()

    assert volume_state(*place.arguments) == "absent"
    stage(place, archive)
    assert volume_state(*place.arguments) == "staged"
    assert place.listing() == before
    swap_volume(*place.arguments)
    assert volume_state(*place.arguments) == "swapped"
    assert place.listing() == wanted
    # The links are links still.
    assert place.shell("stat -c %h uploads/f1").strip() == "3"

    unswap_volume(*place.arguments)
    assert volume_state(*place.arguments) == "staged"
    assert place.listing() == before
    swap_volume(*place.arguments)
    discard_staging(*place.arguments)
    assert volume_state(*place.arguments) == "absent"
    assert listing(place.archive()) == wanted
    assert place.staging not in place.shell("ls -A")
    assert not [item for item in helpers(place) if place.project in item["Names"][0]]


def test_each_step_again_changes_nothing(place: Place):
    place.shell("printf live >file")
    before = place.listing()
    stage(place, tar_of((entry("file", size=3), b"new")))
    stage(place, tar_of((entry("file", size=5), b"newer")))
    for _ in range(2):
        swap_volume(*place.arguments)
        assert place.shell("cat file") == "newer"
    for _ in range(2):
        unswap_volume(*place.arguments)
        assert place.listing() == before
    for _ in range(2):
        discard_staging(*place.arguments)
        assert place.listing() == before
    unswap_volume(*place.arguments)
    with pytest.raises(OwctlError, match="nothing is staged"):
        swap_volume(*place.arguments)
    assert place.listing() == before


def test_what_was_written_after_the_swap_is_kept_aside_by_an_undo(place: Place):
    place.shell("printf live >file")
    stage(place, tar_of((entry("file", size=3), b"new")))
    swap_volume(*place.arguments)
    place.shell("printf later >upload")
    unswap_volume(*place.arguments)
    assert place.shell("ls") == "file\n"
    assert place.shell(f"cat file {place.staging}/new/upload") == "livelater"


def test_a_swapped_volume_is_not_staged_over(place: Place):
    stage(place, tar_of())
    swap_volume(*place.arguments)
    with pytest.raises(OwctlError, match="in the middle of the restore"):
        stage(place, tar_of())
    assert volume_state(*place.arguments) == "swapped"


def test_an_archive_without_its_root_leaves_the_roots_owner(place: Place):
    place.shell("chown 70:71 .; chmod 2750 .")
    archive = tar_of((entry("file", size=3), b"new"))[512:]
    stage(place, archive)
    swap_volume(*place.arguments)
    assert place.shell("stat -c '%u:%g %a' .; cat file") == "70:71 2750\nnew"


def test_staging_folders_within_the_archive_are_dropped(place: Place):
    place.shell("mkdir .owctl-restore-other; printf kept >.owctl-restore-other/f; printf x >file")
    archive = place.archive()
    stage(place, archive)
    assert place.shell(f"ls -A {place.staging}/new") == "file\n"
    swap_volume(*place.arguments)
    # That of another restore stays where it is.
    assert place.shell("cat .owctl-restore-other/f") == "kept"
    hard = tar_of(
        entry(".owctl-restore-x", tarfile.DIRTYPE, mode=0o700),
        (entry(".owctl-restore-x/f", size=1), b"x"),
        entry("link", tarfile.LNKTYPE, linkname=".owctl-restore-x/f"),
    )
    unswap_volume(*place.arguments)
    # verify takes it, so a restore does, too.
    assert stage(place, hard) == [Loss("link", "a hard link to '.owctl-restore-x/f'")]
    assert place.shell(f"ls -A {place.staging}/new") == ""


def database(path: Path, rows: int) -> bytes:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (v TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [(str(i) * 50,) for i in range(rows)])
    return path.read_bytes()


def test_sqlite_databases_come_from_their_consistent_copies(place: Place, tmp_path: Path):
    old, new = database(tmp_path / "old", 10), database(tmp_path / "new", 2000)
    owner = {"uid": 1000, "gid": 1001, "mode": 0o640}
    archive = tar_of(
        entry("vector_db", tarfile.DIRTYPE, mode=0o755),
        (entry("vector_db/chroma.db", size=len(old), **owner), old),
        (entry("webui.db", size=len(old), **owner), old),
        (entry("webui.db-shm", size=4), b"junk"),
        (entry("webui.db-wal", size=4), b"junk"),
        (entry("webui.db-journal", size=4), b"junk"),
        (entry("webui.db-notes", size=4), b"kept"),
        (entry("vector_db/chroma.db-wal", size=4), b"kept"),
    )
    copy = Given(new, "sqlite", path="webui.db", integrity_check=["ok"])
    broken = Given(new, "sqlite", path="vector_db/chroma.db", integrity_check=["page 3 is bad"])
    stage(place, archive, copy, broken)
    assert (copy.finished, broken.finished) == (True, False)
    swap_volume(*place.arguments)
    found = listing(place.archive())
    assert found["webui.db"][1:3] == ((1000, 1001, 0o640), "1700000000")
    assert found["webui.db"][4][0] == len(new)
    assert {"webui.db-wal", "webui.db-shm", "webui.db-journal"}.isdisjoint(found)
    assert {"webui.db-notes", "vector_db/chroma.db-wal"} <= found.keys()
    assert found["vector_db/chroma.db"][4][0] == len(old)

    missing = Given(new, "sqlite", path="gone.db", integrity_check=["ok"])
    unswap_volume(*place.arguments)
    with pytest.raises(BackupInvalid, match=r"lacks 'gone\.db'"):
        stage(place, archive, missing)
    short = Given(new, "sqlite", path="webui.db", integrity_check=["ok"])
    short.data = new[:-1]
    with pytest.raises(BackupInvalid, match="not as long as"):
        stage(place, archive, short)
    assert volume_state(*place.arguments) == "absent"


def test_what_was_unpacked_wrongly_is_noticed(place: Place, monkeypatch: pytest.MonkeyPatch):
    archive = tar_of((entry("file", size=3), b"new"), (entry("other", size=3), b"new"))

    def spoil(script: str) -> None:
        def spoiled(*arguments: object) -> None:
            write_archive(*arguments)  # type: ignore[arg-type]
            place.shell(f"cd {place.staging}/new; {script}")

        monkeypatch.setattr("owctl.volumes.swap.write_archive", spoiled)

    for script, complaint in (
        ("printf NEW | dd of=file conv=notrunc status=none; touch -d @1700000000 file", "contents"),
        ("rm other; touch -d @1700000000 .", r"entries \(3 and 2\)"),
        ("chmod 600 file", "owners and modes"),
        ("chown 5 .", "owners and modes"),
        ("touch file", "times"),
        ("mv other another; touch -d @1700000000 .", "names"),
    ):
        spoil(script)
        with pytest.raises(OwctlError, match=complaint):
            stage(place, archive)
        assert volume_state(*place.arguments) == "absent"


def test_what_no_disk_can_hold_is_named_and_costs_nothing_else(place: Place):
    late = entry("late", size=3, mtime=20_000_000_000)
    wrong = entry("wrong", pax_headers={"SCHILY.xattr.security.capability": "none"})
    losses = stage(place, tar_of((late, b"new"), wrong, entry("plain")))
    swap_volume(*place.arguments)
    assert losses[0] == Loss("wrong", "its capabilities")
    # ext4 ends in 2446.
    assert losses[1].path == "late"
    assert losses[1].what.startswith("dated 2603-10-11, now ")
    assert place.shell("cat late; stat -c %Y plain; ls") == "new1700000000\nlate\nplain\nwrong\n"


def test_a_volume_that_is_gone(place: Place):
    place.remove_worker()
    place.engine.api.remove_volume(place.volume)
    assert volume_state(*place.arguments) == "absent"
    unswap_volume(*place.arguments)
    discard_staging(*place.arguments)
    with pytest.raises(OwctlError, match="There is no volume"):
        stage(place, tar_of())
    place.worker = "none"
