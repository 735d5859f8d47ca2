"""Pushing and pulling, the same on every kind of place: whole, resumed, verified, never half."""

import hashlib
import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from remote_places import (
    BACKUP_ID,
    MIB,
    CheckedS3,
    SshServer,
    aws_environment,
    make_backup,
    ssh_server,
    use_environment,
)

from owctl.backup import catalogue
from owctl.backup.catalogue import Backup, look_at
from owctl.backup.manifest import MANIFEST_NAME
from owctl.backup.remote.folder_store import FolderStore
from owctl.backup.remote.parts import PARTS_NAME
from owctl.backup.remote.place import find_remote, list_remote, open_store
from owctl.backup.remote.pull import Pulled, pull_backup
from owctl.backup.remote.push import Pushed, push_backup
from owctl.backup.remote.store import Content, Store, parse_address
from owctl.errors import BackupInvalid, Locked, OwctlError, UsageError
from owctl.progress import Event

PARTS = 9
ALL = pytest.mark.parametrize("place", ["file", "sftp", "s3", "s3 that checks"], indirect=True)
EACH = pytest.mark.parametrize("place", ["file", "sftp", "s3"], indirect=True)
# What does not depend on how a place is spoken with.
ONE = pytest.mark.parametrize("place", ["file"], indirect=True)
# An empty part need not be fetched.
FETCHED = 8


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture(scope="module")
def s3() -> Iterator[CheckedS3]:
    server = CheckedS3()
    server.client().create_bucket(Bucket=server.bucket)
    yield server
    server.stop()


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty place."""
    if request.param == "file":
        return f"file://{tmp_path}/remote"
    if request.param == "sftp":
        server: SshServer = request.getfixturevalue("ssh")
        use_environment(monkeypatch, {"HOME": str(server.home)})
        return server.address(tmp_path / "remote")
    s3: CheckedS3 = request.getfixturevalue("s3")
    s3.refuses_wrong_checksums = request.param != "s3"
    use_environment(monkeypatch, aws_environment(s3, tmp_path))
    return f"s3://{s3.bucket}/{tmp_path.name}/deep"


@pytest.fixture
def remote(place: str, tmp_path: Path) -> Iterator[Store]:
    with open_store(parse_address(place, tmp_path)) as opened:
        yield opened


@pytest.fixture
def backup(tmp_path: Path) -> Backup:
    return make_backup(tmp_path / "backups")


def push(backup: Backup, store: Store, **options: bool) -> Pushed:
    return push_backup(backup, store, part_bytes=MIB, **options)


def put(store: Store, name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / "put").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    with Content(tmp_path / "put", 0, len(data), sha256) as content:
        store.send(name, content)


def get(store: Store, name: str) -> bytes:
    folder, _, rest = name.partition("/")
    return b"".join(store.read(name, store.files(folder)[rest]))


def flip(store: Store, name: str, tmp_path: Path) -> None:
    data = bytearray(get(store, name))
    data[len(data) // 2] ^= 1
    put(store, name, bytes(data), tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != catalogue.RECORD_NAME
    }


@ALL
def test_there_and_back(backup: Backup, remote: Store, tmp_path: Path) -> None:
    assert list_remote(remote) == []
    events: list[Event] = []
    pushed = push_backup(backup, remote, events.append, part_bytes=MIB)
    assert (pushed.parts, pushed.sent_parts) == (PARTS, PARTS)
    assert pushed.sent_bytes == pushed.size_bytes == backup.read_manifest().size_bytes
    assert {event.subject for event in events if event.state == "done"} == {
        member.name for member in backup.read_manifest().members
    }
    assert [each.id for each in list_remote(remote)] == [BACKUP_ID]
    assert find_remote(remote, "latest") == find_remote(remote, "2025") == BACKUP_ID
    pulled = pull_backup(remote, BACKUP_ID, tmp_path / "elsewhere")
    assert (pulled.fetched_parts, pulled.fetched_bytes) == (FETCHED, pushed.size_bytes)
    assert contents(pulled.path) == contents(backup.path)
    assert look_at(pulled.path).is_verified
    assert pulled.path.stat().st_mode & 0o777 == 0o700
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in pulled.path.rglob("*") if p.is_file())
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == [BACKUP_ID]
    assert pull_backup(remote, BACKUP_ID, tmp_path / "elsewhere").was_here


@EACH
def test_parts_in_a_row_are_the_member(backup: Backup, remote: Store, tmp_path: Path) -> None:
    push(backup, remote)
    names = sorted(name for name in remote.files(BACKUP_ID) if name.startswith("volumes/"))
    assert names[0] == "volumes/data.tar.zst/part-00001"
    assert len(names) == PARTS - 3
    joined = b"".join(get(remote, f"{BACKUP_ID}/{name}") for name in names)
    assert joined == (backup.path / "volumes" / "data.tar.zst").read_bytes()
    listed = json.loads(get(remote, f"{BACKUP_ID}/{PARTS_NAME}"))
    for member in listed["members"]:
        for part in member["parts"]:
            data = get(remote, f"{BACKUP_ID}/{part['name']}")
            assert len(data) == part["size_bytes"]
            assert hashlib.sha256(data).hexdigest() == part["sha256"]


@ALL
def test_what_is_there_is_not_sent_again(backup: Backup, remote: Store) -> None:
    push(backup, remote)
    assert push(backup, remote).sent_parts == 0
    assert push(backup, remote, read_back=True).sent_parts == 0


@ALL
def test_a_push_goes_on_where_it_stopped(backup: Backup, remote: Store) -> None:
    sent: list[str] = []

    def stop_after_four(event: Event) -> None:
        if event.text == "checking" and event.done > 3 * MIB:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push_backup(backup, remote, stop_after_four, part_bytes=MIB)
    there = {name for name in remote.files(BACKUP_ID) if not name.split("/")[-1].startswith(".")}
    assert MANIFEST_NAME not in there
    assert len(there) >= 4
    (listed,) = list_remote(remote)
    assert "not whole" in (listed.problem or "")
    with pytest.raises(UsageError, match="no whole backup"):
        find_remote(remote, "latest")
    real_send = remote.send

    def count(name: str, content: Content) -> None:
        if name.startswith(f"{BACKUP_ID}/"):
            sent.append(name.removeprefix(f"{BACKUP_ID}/"))
        real_send(name, content)

    remote.send = count  # type: ignore[method-assign]
    push(backup, remote)
    assert not there & set(sent)
    assert len(there) + len(sent) == PARTS + 2
    assert sent[-2:] == [PARTS_NAME, MANIFEST_NAME]


@ALL
def test_a_flipped_bit_there_is_noticed_and_mended(
    backup: Backup, remote: Store, tmp_path: Path
) -> None:
    push(backup, remote)
    flip(remote, f"{BACKUP_ID}/volumes/data.tar.zst/part-00003", tmp_path)
    parent = tmp_path / "elsewhere"
    with pytest.raises(BackupInvalid, match=r"data\.tar\.zst/part-00003 is damaged") as caught:
        pull_backup(remote, BACKUP_ID, parent)
    assert "--read-back" in (caught.value.hint or "")
    assert not (parent / BACKUP_ID).exists()
    assert push(backup, remote).sent_parts == 0
    assert push(backup, remote, read_back=True).sent_parts == 1
    pulled = pull_backup(remote, BACKUP_ID, parent)
    # The two parts before it, and the members before that, were fetched the first time.
    assert pulled.fetched_parts == FETCHED - 3
    assert contents(pulled.path) == contents(backup.path)


@ALL
def test_a_part_that_is_damaged_while_it_is_stored_is_sent_again(
    backup: Backup, remote: Store, tmp_path: Path
) -> None:
    real_send, damaged = remote.send, []

    def damage_once(name: str, content: Content) -> None:
        real_send(name, content)
        if name.endswith("part-00002") and not damaged:
            damaged.append(name)
            remote.send = real_send  # type: ignore[method-assign]
            flip(remote, name, tmp_path)

    remote.send = damage_once  # type: ignore[method-assign]
    push(backup, remote)
    assert damaged
    assert contents(pull_backup(remote, BACKUP_ID, tmp_path / "e").path) == contents(backup.path)


@ONE
def test_a_missing_part_is_named_before_anything_is_fetched(
    backup: Backup, remote: Store, tmp_path: Path
) -> None:
    push(backup, remote)
    remote.remove(f"{BACKUP_ID}/postgres.dump.zst/part-00001")
    with pytest.raises(BackupInvalid, match="1 of 9 parts") as caught:
        pull_backup(remote, BACKUP_ID, tmp_path / "elsewhere")
    assert caught.value.details == ("postgres.dump.zst/part-00001",)
    assert not (tmp_path / "elsewhere").exists()
    assert push(backup, remote).sent_parts == 1
    pull_backup(remote, BACKUP_ID, tmp_path / "elsewhere")


@EACH
def test_without_its_manifest_there_is_no_backup(
    backup: Backup, remote: Store, tmp_path: Path
) -> None:
    push(backup, remote)
    remote.remove(f"{BACKUP_ID}/{MANIFEST_NAME}")
    with pytest.raises(BackupInvalid, match="not whole"):
        pull_backup(remote, BACKUP_ID, tmp_path / "elsewhere")
    assert push(backup, remote).sent_parts == 0
    pull_backup(remote, BACKUP_ID, tmp_path / "elsewhere")


@ONE
@pytest.mark.parametrize("change", ["cut", "flip", "gone", "record"])
def test_a_backup_that_is_broken_here_is_not_pushed(
    backup: Backup, remote: Store, change: str
) -> None:
    path = backup.path / "volumes" / "data.tar.zst"
    data = path.read_bytes()
    if change == "record":
        catalogue.write_record(backup.path, catalogue.now("failed", problem="bad."))
    elif change == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if change == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BackupInvalid):
        push(look_at(backup.path), remote)
    assert remote.files(BACKUP_ID) == {}


@ONE
def test_another_backup_of_that_name_is_left_alone(
    backup: Backup, remote: Store, tmp_path: Path
) -> None:
    push(backup, remote)
    other = make_backup(tmp_path / "other", volume_bytes=100)
    before = remote.files(BACKUP_ID)
    with pytest.raises(OwctlError, match="another backup"):
        push(other, remote)
    assert remote.files(BACKUP_ID) == before
    with pytest.raises(OwctlError, match="another backup"):
        pull_backup(remote, BACKUP_ID, tmp_path / "other")


@EACH
def test_parts_of_another_size_give_way(backup: Backup, remote: Store, tmp_path: Path) -> None:
    push(backup, remote)
    push_backup(backup, remote, part_bytes=2 * MIB)
    names = [name for name in remote.files(BACKUP_ID) if name.startswith("volumes/")]
    assert len(names) == 3
    assert contents(pull_backup(remote, BACKUP_ID, tmp_path / "e").path) == contents(backup.path)


@EACH
def test_two_at_once_do_no_harm(backup: Backup, place: str, tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with open_store(parse_address(place, tmp_path)) as store:
                push(backup, store)
        except Exception as error:  # noqa: BLE001  # told by the test
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with open_store(parse_address(place, tmp_path)) as store:
        pulled = pull_backup(store, BACKUP_ID, tmp_path / "elsewhere")
        assert contents(pulled.path) == contents(backup.path)
        assert len(store.files(BACKUP_ID)) == PARTS + 2


@EACH
def test_a_pull_goes_on_where_it_stopped(backup: Backup, remote: Store, tmp_path: Path) -> None:
    push(backup, remote)

    def stop(event: Event) -> None:
        if event.text == "fetching" and event.done > 3.5 * MIB:
            raise KeyboardInterrupt

    parent = tmp_path / "elsewhere"
    with pytest.raises(KeyboardInterrupt):
        pull_backup(remote, BACKUP_ID, parent, stop)
    assert [path.name for path in parent.iterdir()] == [f"{BACKUP_ID}.pulling"]
    # Another backup that is made meanwhile takes nothing of it away.
    from owctl.backup.publish import partial_folder

    with partial_folder(parent, "20250201T000000Z-000000"):
        pass
    pulled = pull_backup(remote, BACKUP_ID, parent)
    # The fourth part may have arrived whole.
    assert pulled.fetched_parts in (FETCHED - 4, FETCHED - 5)
    assert contents(pulled.path) == contents(backup.path)


@ONE
def test_two_pulls_of_one_backup_exclude_each_other(
    backup: Backup, remote: Store, tmp_path: Path
) -> None:
    push(backup, remote)
    refused: list[Locked] = []

    def pull_meanwhile(event: Event) -> None:
        if event.text == "fetching" and not refused:
            with pytest.raises(Locked) as caught:
                pull_backup(remote, BACKUP_ID, tmp_path / "elsewhere")
            refused.append(caught.value)

    pulled: Pulled = pull_backup(remote, BACKUP_ID, tmp_path / "elsewhere", pull_meanwhile)
    assert len(refused) == 1
    assert contents(pulled.path) == contents(backup.path)


@ONE
def test_a_dry_run_sends_nothing(backup: Backup, remote: Store) -> None:
    would = push(backup, remote, dry_run=True)
    assert (would.sent_parts, would.parts) == (PARTS, PARTS)
    assert remote.files(BACKUP_ID) == {}


def damaged_documents() -> dict[str, Callable[[dict], object]]:
    return {
        "sizes": lambda parts: parts["members"][1]["parts"].pop(),
        "hash": lambda parts: parts["members"][0]["parts"][0].update(sha256="../../etc/passwd"),
        "negative": lambda parts: parts["members"][0]["parts"][0].update(size_bytes=-1),
        "name": lambda parts: parts["members"][0].update(name="../../outside"),
        "manifest": lambda parts: parts.update(manifest_sha256="0" * 64),
        "newer": lambda parts: parts.update(schema=99),
        "shape": lambda parts: parts.pop("members"),
        "none": lambda parts: parts["members"][3].update(parts=[]),
    }


@pytest.mark.parametrize("damage", damaged_documents())
def test_a_list_of_parts_is_not_trusted(damage: str, backup: Backup, tmp_path: Path) -> None:
    with open_store(parse_address(str(tmp_path / "remote"), tmp_path)) as store:
        push(backup, store)
        path = tmp_path / "remote" / BACKUP_ID / PARTS_NAME
        document = json.loads(path.read_bytes())
        damaged_documents()[damage](document)
        path.write_text(json.dumps(document))
        with pytest.raises(BackupInvalid):
            pull_backup(store, BACKUP_ID, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere" / BACKUP_ID).exists()
    assert not (tmp_path / "outside").exists()


def test_listing_and_finding_among_several(tmp_path: Path) -> None:
    ids = ["20250131T031500Z-9f3a01", "20250131T031500Z-9f3a02", "20250201T031500Z-9f3a03"]
    with open_store(parse_address(str(tmp_path / "remote"), tmp_path)) as store:
        for each in ids:
            push(make_backup(tmp_path / "backups", each, volume_bytes=10), store)
        (tmp_path / "remote" / "lost+found").mkdir()
        (tmp_path / "remote" / "photos").mkdir()
        damaged = tmp_path / "remote" / "broken"
        damaged.mkdir()
        (damaged / MANIFEST_NAME).write_text("{")
        found = list_remote(store)
        assert [each.id for each in found] == ["broken", *ids]
        assert "not JSON" in (found[0].problem or "")
        assert find_remote(store, "latest") == ids[2]
        own = look_at(tmp_path / "backups" / ids[0]).read_manifest().project
        assert find_remote(store, "latest", own) == ids[2]
        with pytest.raises(UsageError, match="of the project somebody-else there, but of others"):
            find_remote(store, "latest", "somebody-else")
        assert find_remote(store, "20250201") == ids[2]
        with pytest.raises(UsageError, match="2 backups"):
            find_remote(store, "20250131")
        with pytest.raises(UsageError, match="no backup"):
            find_remote(store, "2024")


def test_the_page_tells_how_to_get_it_back_by_hand(backup: Backup, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "off-site.md").read_text()
    (block,) = [each for each in re.findall(r"```sh\n(.*?)```", page, re.S) if "joined" in each]
    lines = [line for line in block.splitlines() if not line.startswith(("aws", "cd", "jq"))]
    assert len(lines) == 3
    with open_store(parse_address(str(tmp_path / "remote"), tmp_path)) as store:
        push(backup, store)
    folder = tmp_path / "remote" / BACKUP_ID
    subprocess.run(["sh", "-ec", "\n".join(lines)], cwd=folder, check=True, timeout=60)
    (folder / PARTS_NAME).unlink()
    assert contents(folder) == contents(backup.path)


def test_latest_there_is_none_of_the_future_while_there_is_another(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    ahead, real = (make_backup(folder, f"20250131T03150{n}Z-9f3a1c") for n in (1, 2))
    manifest = json.loads((ahead.path / "manifest.json").read_bytes())
    manifest["created_at"] = "2131-01-01T00:00:00Z"
    (ahead.path / "manifest.json").write_text(json.dumps(manifest))
    store = FolderStore(tmp_path / "there")
    push(look_at(ahead.path), store)
    assert find_remote(store, "latest") == ahead.id
    push(real, store)
    assert find_remote(store, "latest") == real.id
    assert [(each.id, each.is_future) for each in list_remote(store)] == [
        (ahead.id, True),
        (real.id, False),
    ]
