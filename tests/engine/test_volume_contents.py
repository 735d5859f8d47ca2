"""Everything that a volume can hold: what comes back, and what a backup, a verify and a restore name."""

import ast
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from backup_project import Project

from owctl.backup import manifest as manifests
from owctl.backup.catalogue import look_at
from owctl.backup.create.run import BackupRequest, create_backup
from owctl.backup.manifest import Member
from owctl.backup.member_file import MemberContent, MemberFile
from owctl.backup.restore.plan import RestoreRequest, plan_restore
from owctl.backup.restore.run import finish_restore, run_restore
from owctl.backup.restore.source import BackupSource
from owctl.backup.verify import losses_by_volume, read_back
from owctl.engine.connection import Engine
from owctl.engine.execution import run
from owctl.errors import OwctlError
from owctl.progress import Event
from owctl.volumes.archive_check import plain
from owctl.volumes.one_off import read_folder, volume_helper
from owctl.volumes.tar import TarStream

pytestmark = pytest.mark.engine
FILES = frozenset({"files"})
LONG = "n" * 255
CAPABILITY = "01000002000400000000000000000000 00000000".replace(" ", "")
ACL = (
    "02000000 01000600ffffffff 02000400d2040000 04000400ffffffff 10000400ffffffff 20000400ffffffff"
).replace(" ", "")
SOCKET = 'python3 -c "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])" "$1"'
SQLITE = r"printf 'SQLite format 3\0' >"


def attribute(name: str, value: str) -> str:
    set_it = "import os, sys; os.setxattr(sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3]))"
    return f'touch "$1"; python3 -c "{set_it}" "$1" {name} {value}'


@dataclass(frozen=True)
class Thing:
    """How ``$1`` is made in the volume's root; whether it ``comes`` back, and what of it is named."""

    name: str
    make: str
    what: str | None = None
    comes: bool = True
    shown: str | None = None


THINGS = (
    Thing("regular", 'echo content >"$1"'),
    Thing("nothing", ': >"$1"'),
    Thing("large", 'head -c 3000000 /dev/urandom >"$1"'),
    Thing("folder", 'mkdir "$1"; chown 999:1000 "$1"; chmod 2770 "$1"'),
    Thing("sticky", 'mkdir "$1"; chmod 1777 "$1"'),
    Thing("closed", 'mkdir -m 0 "$1"'),
    Thing("absolute", 'ln -s /etc/passwd "$1"'),
    Thing("upwards", 'ln -s ../../../outside "$1"; chown -h 33:33 "$1"'),
    Thing("dangling", 'ln -s nowhere "$1"; touch -h -d 1969-12-31 "$1"'),
    Thing("fifo", 'mkfifo -m 640 "$1"'),
    Thing("zz-hard-link", 'ln regular "$1"'),
    Thing("zz-hard-link-to-symlink", 'ln dangling "$1"'),
    Thing("setuid", 'echo x >"$1"; chmod 4755 "$1"'),
    Thing("mode-0000", 'echo x >"$1"; chmod 0 "$1"'),
    Thing("owner", 'echo x >"$1"; chown 4294967294:3000000 "$1"'),
    Thing("year-1902", 'echo x >"$1"; touch -d 1902-01-01 "$1"'),
    Thing("year-1960", 'mkdir "$1"; touch -d 1960-01-01 "$1"'),
    Thing("year-2039", 'echo x >"$1"; touch -d 2039-01-01 "$1"'),
    Thing("year-2107", 'echo x >"$1"; touch -d 2107-01-01 "$1"'),
    Thing("year-2300", 'echo x >"$1"; touch -d 2300-01-01 "$1"; ln "$1" zz-year-2300'),
    Thing("folder-of-2300", 'mkdir "$1"; echo x >"$1/f"; touch -d 2300-01-01 "$1"'),
    Thing("fraction", 'echo x >"$1"; touch -d @1700000000.75 "$1"'),
    Thing("-dash", 'echo x >"./$1"'),
    Thing("space ", 'echo x >"$1"'),
    Thing("new\nline", 'echo x >"$1"'),
    Thing("back\\slash", 'echo x >"$1"'),
    Thing("ü 漢", 'echo x >"$1"'),
    Thing("bytes-\udcff\udcfe", 'echo x >"$1"'),
    Thing(".wh.whiteout", 'echo x >"$1"'),
    Thing(LONG, 'echo x >"$1"'),
    Thing(f"deep/{LONG}/{LONG}", 'mkdir -p "${1%/*}"; echo x >"$1"'),
    Thing(
        "webui.db",
        """python3 -c "__import__('sqlite3').connect('$1').execute('CREATE TABLE t (v)')\"""",
    ),
    # No manifest can have the one name, and no file of a backup the other.
    Thing("database-\udcff", f'{SQLITE}"$1"', "no consistent copy", shown=r"database-\xff"),
    Thing(f"{LONG[:-3]}.db", f'{SQLITE}"$1"', "no consistent copy", shown=LONG[:100]),
    Thing("capability", attribute("security.capability", CAPABILITY)),
    Thing("user", attribute("user.note", "01"), "its extended attributes"),
    Thing("list", attribute("system.posix_acl_access", ACL), "its access control list"),
    Thing("null", 'mknod "$1" c 1 3', "a character device", comes=False),
    Thing("disk", 'mknod "$1" b 7 0', "a block device", comes=False),
    Thing("zz-null", 'ln null "$1"', "a hard link to 'null'", comes=False),
    Thing("socket", SOCKET, "a socket", comes=False),
    Thing("so\nck\udcff", SOCKET, "a socket", comes=False, shown=r"so\nck\xff"),
    # Staged, its path would be longer than any that Linux takes.
    Thing(
        f"far/{f'{LONG}/' * 15}{LONG[:80]}",
        f"mkdir far; cd far; for _ in {{1..15}}; do mkdir {LONG}; cd {LONG}; done; echo >{LONG[:80]}",
        "a path of 3924 bytes",
        comes=False,
        shown=f"far/{LONG[:100]}",
    ),
)
# Of every file: kind and mode, owner, whole second, link, number of names, content, attributes.
STATE = """
import hashlib, os, stat
found = {}
for base, folders, files in os.walk("."):
    for name in (".", *folders, *files) if base == "." else (*folders, *files):
        path = os.path.normpath(os.path.join(base, name))
        status = os.lstat(path)
        mode = status.st_mode
        link = os.readlink(path) if stat.S_ISLNK(mode) else None
        names = None if stat.S_ISDIR(mode) else status.st_nlink
        plain = stat.S_ISREG(mode)
        content = hashlib.sha256(open(path, "rb").read()).hexdigest() if plain else None
        attributes = os.listxattr(path, follow_symlinks=False)
        second = status.st_mtime_ns // 1_000_000_000
        owner = status.st_uid, status.st_gid
        found[path] = (mode, owner, second, link, names, content), attributes
print(ascii(found))
"""
Rows = dict[str, tuple[tuple[object, ...], list[str]]]


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> Iterator[Project]:
    project = Project(engine, tmp_path)
    try:
        project.start("rust-backend")
        yield project
    finally:
        project.remove()


def inside(project: Project, *argv: str) -> str:
    command = ["sh", "-c", 'cd /app/data; exec "$@"', "-", *argv]
    answer = run(project.engine, project.containers["rust-backend"], command, user="0")
    assert answer.exit_code == 0, answer.stderr.decode()
    return answer.stdout.decode()


def state(project: Project) -> Rows:
    return ast.literal_eval(inside(project, "python3", "-c", STATE))


def bash_word(name: str) -> str:
    """A name as a word of bash, in ASCII: the engine's API takes no other bytes."""
    return "$'" + "".join(f"\\x{byte:02x}" for byte in name.encode(errors="surrogateescape")) + "'"


def backed_up(project: Project) -> tuple[Path, list[str]]:
    told: list[Event] = []
    created = create_backup(project.engine, project.stack, BackupRequest(parts=FILES), told.append)
    texts = [event.text for event in told if event.state == "warning"]
    assert texts == list(created.manifest.warnings)
    return created.path, texts


def restored(project: Project, backup: Path) -> tuple[str, ...]:
    """Restore into volumes that are new; return the warnings."""
    request = RestoreRequest(parts=FILES, safety_backup=False, start=False)
    source = BackupSource(look_at(backup))
    plan = plan_restore(project.engine, project.stack, source, request)
    outcome = run_restore(project.engine, project.stack, plan, request)
    finish_restore(project.engine, project.stack, outcome.journal, timeout_seconds=60)
    project.engine.api.start(project.containers["rust-backend"])
    return outcome.warnings


def test_everything_that_a_volume_can_hold(project: Project) -> None:
    script = "".join(f"(set -- {bash_word(thing.name)}; {thing.make})\n" for thing in THINGS)
    inside(project, "bash", "-euc", script + "touch -d 2012-12-12 .; chmod 2750 .")
    before = state(project)
    backup, warnings = backed_up(project)
    said = look_at(backup).read_manifest().members[0].detail["not_kept"]
    for thing in THINGS:
        shown = thing.shown or thing.name
        named = [text for text in warnings if f"{shown}" in text and (thing.what or "") in text]
        assert thing.what is None or named, thing
    lost = [thing for thing in THINGS if thing.what and "copy" not in thing.what]
    assert sorted(each["what"] for each in said) == sorted(thing.what for thing in lost)
    manifest = look_at(backup).read_manifest()
    assert [len(each) for each in losses_by_volume(manifest).values()] == [len(said)]
    assert "sqlite/rust_backend_data/webui.db.zst" in {member.name for member in manifest.members}
    (found,) = read_back(backup, manifest).losses.values()
    assert sorted(loss.path for loss in found) == sorted(each["path"] for each in said)

    inside(project, "find", ".", "-mindepth", "1", "-delete")
    again = restored(project, backup)
    assert again == tuple(text for text in warnings if "does not bring back" in text)
    after = state(project)
    gone = {thing.name for thing in THINGS if not thing.comes}
    bare = {thing.name for thing in lost if thing.comes}
    assert before.keys() - after.keys() == gone
    for name, (row, attributes) in after.items():
        assert row == before[name][0], name
        assert attributes == ([] if name in bare else before[name][1]), name


# -- Something else is mounted below a volume.


@pytest.fixture
def nested(engine: Engine, project: Project, tmp_path: Path) -> Project:
    """A volume with another one, and a folder of the host, mounted below; SQLite in both volumes."""
    project.volume("uploads")
    host = tmp_path / "hostdir"
    host.mkdir()
    (host / "model").write_text("of the host")
    engine.api.remove_container(project.containers["rust-backend"], force=True)
    mounts = [
        {"Type": kind, "Source": source, "Target": target}
        for kind, source, target in (
            ("volume", f"{project.name}_rust_backend_data", "/app/data"),
            ("volume", f"{project.name}_uploads", "/app/data/uploads"),
            ("bind", str(host), "/app/data/models"),
        )
    ]
    project.start("rust-backend", Mounts=mounts)
    make = "import sqlite3; sqlite3.connect(sys.argv[1]).executescript('CREATE TABLE t (v)')"
    for name in ("webui.db", "uploads/chroma.db"):
        inside(project, "python3", "-c", f"import sys; {make}", name)
    inside(project, "sh", "-c", "echo own >own; echo upload >uploads/upload")
    return project


def entries(folder: Path, member: Member) -> set[str]:
    with MemberContent(folder, member) as content:
        return {plain(header.name) for header in TarStream(content)}


def test_a_volume_is_read_alone(nested: Project) -> None:
    backup, warnings = backed_up(nested)
    members = {member.name: member for member in look_at(backup).read_manifest().members}
    assert sorted(members) == [
        "sqlite/rust_backend_data/webui.db.zst",
        "sqlite/uploads/chroma.db.zst",
        "volumes/rust_backend_data.tar.zst",
        "volumes/uploads.tar.zst",
    ]
    own = {"", "own", "webui.db", "uploads", "models"}
    assert entries(backup, members["volumes/rust_backend_data.tar.zst"]) == own
    uploads = {"", "upload", "chroma.db"}
    assert entries(backup, members["volumes/uploads.tar.zst"]) == uploads
    (warning,) = warnings
    assert "hostdir, which rust-backend writes to, is not in the backup" in warning


def test_what_an_older_backup_has_of_something_mounted_below(nested: Project) -> None:
    backup, _ = backed_up(nested)
    before = manifests.read(backup)
    members = [each for each in before.members if each.name != "volumes/rust_backend_data.tar.zst"]
    (newer,) = (each for each in before.members if each not in members)
    (backup / newer.name).unlink()
    with (
        MemberFile(backup, newer.name) as file,
        read_folder(nested.engine, nested.containers["rust-backend"], "/app/data") as pieces,
    ):
        for piece in pieces:
            file.write(piece)
        detail = {key: newer.detail[key] for key in ("volume", "mounted_at", "part")}
        older = file.finish().member("volume", **detail)
    assert {"models/model", "uploads/upload"} < entries(backup, older)
    # It has copies of the databases below, too.
    (chroma,) = (each for each in members if each.name.endswith("chroma.db.zst"))
    moved = {**chroma.detail, "volume": "rust_backend_data", "path": "uploads/chroma.db"}
    hidden = replace(chroma, detail=moved)
    document = manifests.dump(replace(before, members=(*members, hidden, older)))
    (backup / manifests.MANIFEST_NAME).write_bytes(document)

    inside(nested, "sh", "-c", "rm -rf own webui.db uploads/*")
    warnings = restored(nested, backup)
    assert warnings == (
        "In the volume rust_backend_data, what the backup has below models, uploads is left out: "
        "something else is mounted there, and it was archived with the volume.",
    )
    assert inside(nested, "sh", "-c", "cat own uploads/upload; ls") == (
        "own\nupload\nmodels\nown\nuploads\nwebui.db\n"
    )
    name = f"{nested.name}_rust_backend_data"
    image = nested.engine.api.inspect_container(nested.containers["rust-backend"])["Image"]
    with volume_helper(nested.engine, nested.name, image, name, "look", running=True) as alone:
        assert alone.run("find . | sort").split() == [
            ".",
            "./models",
            "./own",
            "./uploads",
            "./webui.db",
        ]


# -- Files with holes, on a disk that the zeros would not fit on.

HOLES = """
printf start >sparse; truncate -s 70001 sparse; printf middle >>sparse; truncate -s 39M sparse
head -c 5000000 /dev/urandom >>sparse; printf end >>sparse; truncate -s 60M sparse
chmod 4755 sparse; touch -d 2001-02-03 sparse; ln sparse zz-hard
truncate -s 20M $'all\\nhole'; touch -d 1960-01-01 $'all\\nhole'; head -c 2000000 /dev/zero >zeros
"""


@pytest.fixture
def small_disk(engine: Engine, project: Project, tmp_path: Path) -> Iterator[Project]:
    """The volume is a disk of 16 MB, mounted by this machine: it keeps what no container mounts."""
    if os.geteuid() != 0:
        pytest.skip("mounts a small disk: root only")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], check=True)
    engine.api.remove_container(project.containers["rust-backend"], force=True)
    name = f"{project.name}_rust_backend_data"
    labels = engine.api.inspect_volume(name)["Labels"]
    engine.api.remove_volume(name)
    options = {"type": "none", "device": str(disk), "o": "bind"}
    engine.api.create_volume(name, driver="local", driver_opts=options, labels=labels)
    project.start("rust-backend")
    inside(project, "bash", "-euc", HOLES)
    yield project
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_holes_come_back_as_holes(small_disk: Project) -> None:
    before = state(small_disk)
    backup, (warning,) = backed_up(small_disk)
    assert "80.7 MB of 85.9 MB are zeros, or holes of sparse files ('sparse' and 2 more)" in warning
    outcome = restored(small_disk, backup)
    assert outcome == ()
    assert state(small_disk) == before
    assert int(inside(small_disk, "du", "-sk", ".").split()[0]) < 8_000

    # One that an older owctl made does not say what can be holes: refused before it fills the disk.
    manifest = manifests.read(backup)
    (member,) = manifest.members
    detail = {key: value for key, value in member.detail.items() if key != "sparse"}
    older = replace(manifest, members=(replace(member, detail=detail),))
    (backup / manifests.MANIFEST_NAME).write_bytes(manifests.dump(older))
    with pytest.raises(OwctlError, match=r"not enough room to restore: 85\.9 MB are needed"):
        restored(small_disk, backup)
    assert state(small_disk) == before
