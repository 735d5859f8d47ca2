"""What is left when a push or a pull is killed, or its connection cut: something to go on from."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import paramiko
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

from owctl.backup.catalogue import Backup
from owctl.backup.manifest import MANIFEST_NAME
from owctl.backup.remote import place as places
from owctl.backup.remote.folder_store import FolderStore
from owctl.backup.remote.place import open_store
from owctl.backup.remote.pull import pull_backup
from owctl.backup.remote.push import push_backup, send_bytes
from owctl.backup.remote.sftp_store import _hush_prefetch
from owctl.backup.remote.store import Content, Store, parse_address
from owctl.progress import Event

# Tells each event on stdout and waits for a line, so that a kill comes at a known moment.
PROGRAM = """
import sys
from pathlib import Path
from owctl.backup.catalogue import look_at
from owctl.backup.remote.store import parse_address
from owctl.backup.remote.pull import pull_backup
from owctl.backup.remote.push import push_backup
from owctl.backup.remote.place import open_store
what, address, folder = sys.argv[1:]
def receive(event):
    if event.subject.startswith("volumes") and event.text in ("sending", "checking", "fetching"):
        print(event.text, event.done, flush=True)
        sys.stdin.readline()
with open_store(parse_address(address, Path("/"))) as store:
    if what == "push":
        push_backup(look_at(Path(folder)), store, receive, part_bytes=1 << 20)
    else:
        pull_backup(store, Path(folder).name, Path(folder).parent, receive)
"""


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
    if request.param == "file":
        return f"file://{tmp_path}/remote"
    if request.param == "sftp":
        server: SshServer = request.getfixturevalue("ssh")
        use_environment(monkeypatch, {"HOME": str(server.home)})
        return server.address(tmp_path / "remote")
    s3: CheckedS3 = request.getfixturevalue("s3")
    use_environment(monkeypatch, aws_environment(s3, tmp_path))
    return f"s3://{s3.bucket}/{tmp_path.name}"


EACH = pytest.mark.parametrize("place", ["file", "sftp", "s3"], indirect=True)


def kill_at(what: str, address: str, folder: Path, events: int, number: signal.Signals) -> int:
    """Let a transfer run for so many events, and kill it; returns its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, what, address, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for _ in range(events):
        assert process.stdout.readline(), "it ended by itself"
        process.stdin.write("\n")
        with suppress(BrokenPipeError):
            process.stdin.flush()
    process.send_signal(number)
    with suppress(BrokenPipeError):
        process.communicate(timeout=60)
    return process.wait(60)


def same(one: Path, other: Path) -> bool:
    names = [path.relative_to(one) for path in one.rglob("*.*") if path.is_file()]
    return all(
        (one / name).read_bytes() == (other / name).read_bytes()
        for name in names
        if name.name != "verification.json"
    )


@EACH
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_push_that_was_killed_goes_on(place: str, tmp_path: Path, number: signal.Signals) -> None:
    backup = make_backup(tmp_path / "backups")
    dice = random.Random(f"{place.split(':')[0]}{number}")
    sent: list[str] = []
    for _ in range(2):
        with open_store(parse_address(place, tmp_path)) as store:
            before = {n for n in store.files(BACKUP_ID) if not n.endswith(".tmp")}
            kill_at("push", place, backup.path, dice.randrange(4, 9), number)
            after = {n for n in store.files(BACKUP_ID) if not n.endswith(".tmp")}
        assert before <= after
        assert MANIFEST_NAME not in after
    with open_store(parse_address(place, tmp_path)) as store:
        real_send = store.send

        def count(name: str, content: Content) -> None:
            if name.startswith(f"{BACKUP_ID}/"):
                sent.append(name.removeprefix(f"{BACKUP_ID}/"))
            real_send(name, content)

        store.send = count  # type: ignore[method-assign]
        pushed = push_backup(backup, store, part_bytes=MIB)
        assert after
        # What was there whole was not sent again.
        assert not after & set(sent)
        assert pushed.sent_parts == pushed.parts - len(after) == len(sent) - 2
        pulled = pull_backup(store, BACKUP_ID, tmp_path / "elsewhere")
    assert same(backup.path, pulled.path)


@EACH
def test_a_pull_that_was_killed_goes_on(place: str, tmp_path: Path) -> None:
    backup = make_backup(tmp_path / "backups")
    target = tmp_path / "elsewhere" / BACKUP_ID
    with open_store(parse_address(place, tmp_path)) as store:
        whole = push_backup(backup, store, part_bytes=MIB)
        events = 120 if place.startswith("sftp") else 4
        kill_at("pull", place, target, events, signal.SIGKILL)
        assert not target.exists()
        pulled = pull_backup(store, BACKUP_ID, target.parent)
    assert 0 < pulled.fetched_parts < whole.parts - 1
    assert same(backup.path, pulled.path)
    assert [path.name for path in target.parent.iterdir()] == [BACKUP_ID]


def everything(store: Store) -> dict[str, set[str]]:
    """All files of a place, by their folder at the top, where there are any."""
    found = {folder: set(store.files(folder)) for folder in store.folders()}
    return {folder: names for folder, names in found.items() if names}


@EACH
def test_a_push_that_was_killed_leaves_nothing_that_the_next_does_not_remove(
    place: str, tmp_path: Path
) -> None:
    killed = make_backup(tmp_path / "backups")
    following = make_backup(tmp_path / "backups", "20250201T031500Z-000000", volume_bytes=MIB)
    with open_store(parse_address(place, tmp_path)) as store:
        kill_at("push", place, killed.path, 5, signal.SIGKILL)
        # As a kill in the middle of a part leaves it, in a place that can be asked for its names.
        half = f"{BACKUP_ID}/volumes/data.tar.zst/.part-00003.0123abcd.tmp"
        send_bytes(store, half, b"half")
        assert MANIFEST_NAME not in everything(store)[BACKUP_ID]
        # It can be gone on with as long as it is here.
        push_backup(following, store, part_bytes=MIB)
        assert everything(store)[BACKUP_ID]
        shutil.rmtree(killed.path)
        (following.path.parent / "20250202T031500Z-000000").mkdir()
        last = make_backup(tmp_path / "backups", "20250203T031500Z-000000", volume_bytes=MIB)
        push_backup(last, store, part_bytes=MIB)
        assert set(everything(store)) == {following.id, last.id}
        if place.startswith("file"):
            assert not (tmp_path / "remote" / BACKUP_ID).exists()


@EACH
def test_half_a_part_goes_with_the_same_push_again(place: str, tmp_path: Path) -> None:
    backup = make_backup(tmp_path / "backups")
    with open_store(parse_address(place, tmp_path)) as store:
        kill_at("push", place, backup.path, 5, signal.SIGKILL)
        send_bytes(store, f"{BACKUP_ID}/volumes/data.tar.zst/.part-00003.0123abcd.tmp", b"half")
        push_backup(backup, store, part_bytes=MIB)
        assert set(everything(store)) == {BACKUP_ID}
        assert not [name for name in everything(store)[BACKUP_ID] if name.split("/")[-1][0] == "."]


def test_another_machines_push_under_way_is_left_alone(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "remote")
    send_bytes(store, f".pushing/{BACKUP_ID}", b"elsewhere:/srv/backups")
    send_bytes(store, f"{BACKUP_ID}/db/part-00001", b"x")
    push_backup(make_backup(tmp_path / "backups", "20250201T031500Z-000000"), store)
    assert set(store.files(BACKUP_ID)) == {"db/part-00001"}


class CuttingProxy:
    """A TCP port that hands on to another, and cuts each connection after so many bytes.

    ``cuts`` is how many connections are cut; the ones after that live.
    """

    def __init__(self, port: int, *, after_bytes: int, cuts: int) -> None:
        self.after_bytes, self.cuts_left, self.cut = after_bytes, cuts, 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self._sockets: list[socket.socket] = []

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                allowance = [self.after_bytes]
                for one, other in ((client, server), (server, client)):
                    thread = threading.Thread(target=self._pass_on, args=(one, other, allowance))
                    thread.start()
                    self._threads.append(thread)

    def _pass_on(self, one: socket.socket, other: socket.socket, allowance: list[int]) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                allowance[0] -= len(data)
                if allowance[0] < 0 and self.cuts_left > 0:
                    self.cuts_left -= 1
                    self.cut += 1
                    break
                other.sendall(data)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in self._sockets:
            each.close()


@pytest.fixture
def backup(tmp_path: Path) -> Backup:
    return make_backup(tmp_path / "backups")


def there_and_back(address: str, backup: Backup, tmp_path: Path) -> list[Event]:
    events: list[Event] = []
    with open_store(parse_address(address, tmp_path)) as store:
        push_backup(backup, store, events.append, part_bytes=MIB)
        pulled = pull_backup(store, BACKUP_ID, tmp_path / "elsewhere", events.append)
    assert same(backup.path, pulled.path)
    return events


def test_an_ssh_connection_that_breaks(
    ssh: SshServer, backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PAUSES_SECONDS", (0.05, 0.05))
    use_environment(monkeypatch, {"HOME": str(ssh.home)})
    proxy = CuttingProxy(ssh.port, after_bytes=4 * MIB, cuts=4)
    known = ssh.home / ".ssh" / "known_hosts"
    try:
        known.write_text(known.read_text().replace(str(ssh.port), str(proxy.port)))
        address = ssh.address(tmp_path / "remote", proxy.port)
        events = there_and_back(address, backup, tmp_path)
    finally:
        ssh.know_host()
        proxy.close()
    assert proxy.cut == 4
    assert any(event.text == "trying again" for event in events)


def test_a_server_whose_connections_break(
    s3: CheckedS3, backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PAUSES_SECONDS", (0.05, 0.05))
    proxy = CuttingProxy(s3.port, after_bytes=700_000, cuts=5)
    values = aws_environment(s3, tmp_path)
    values["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{proxy.port}"
    use_environment(monkeypatch, values)
    try:
        there_and_back(f"s3://{s3.bucket}/{tmp_path.name}", backup, tmp_path)
    finally:
        proxy.close()
    assert proxy.cut == 5


def test_memory_stays_flat(s3: CheckedS3, ssh: SshServer, tmp_path: Path) -> None:
    """Parts of their real size, in a process of its own: never as much as a part in memory."""
    backup = make_backup(tmp_path / "backups", volume_bytes=80 * MIB)
    code = """
import sys
from pathlib import Path
from owctl.backup.catalogue import look_at
from owctl.backup.remote.store import parse_address
from owctl.backup.remote.pull import pull_backup
from owctl.backup.remote.push import push_backup
from owctl.backup.remote.place import open_store
address, folder, target = sys.argv[1:]
def peak():
    # Not getrusage: that remembers what the process was forked from.
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) // 1024
with open_store(parse_address(address, Path("/"))) as store:
    list(store.folders())
    before = peak()
    backup = look_at(Path(folder))
    assert push_backup(backup, store).parts == 5
    pull_backup(store, backup.id, Path(target))
    print(peak() - before)
"""
    base = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    for name, address, values in (
        ("s3", f"s3://{s3.bucket}/{tmp_path.name}", aws_environment(s3, tmp_path)),
        ("sftp", ssh.address(tmp_path / "remote"), {"HOME": str(ssh.home)}),
    ):
        argv = [sys.executable, "-c", code, address, str(backup.path), str(tmp_path / name)]
        answer = subprocess.run(
            argv, capture_output=True, text=True, check=True, timeout=100, env=base | values
        )
        assert int(answer.stdout) < 40, (name, answer.stdout)


def test_the_thread_that_asks_ahead_ends_without_a_traceback() -> None:
    """pytest fails where a thread ends with an exception that nobody caught."""
    asked: list[object] = []

    class Gone:
        def _async_request(self, *request: object) -> None:
            asked.append(request)
            raise EOFError

        def _log(self, *_: object) -> None: ...

    file = paramiko.SFTPFile(Gone(), b"handle", "rb")
    _hush_prefetch(file)
    before = set(threading.enumerate())
    file._start_prefetch([(0, 10)])
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
    assert len(asked) == 1
