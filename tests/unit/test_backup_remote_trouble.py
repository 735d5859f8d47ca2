"""What can be wrong with a place for backups, and what is said then: in words, without secrets."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from remote_places import (
    BACKUP_ID,
    CheckedS3,
    SshServer,
    aws_environment,
    free_port,
    make_backup,
    ssh_server,
    use_environment,
)

from owctl.backup.remote import place, s3_store, sftp_store
from owctl.backup.remote.place import list_remote, open_store
from owctl.backup.remote.push import push_backup
from owctl.backup.remote.store import Address, ConnectionLost, parse_address
from owctl.cli import run
from owctl.errors import OwctlError, UsageError

PASSWORD = "correct-horse-battery"


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
def at_home(ssh: SshServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    use_environment(monkeypatch, {"HOME": str(ssh.home)})
    yield ssh
    ssh.know_host()
    (ssh.home / ".ssh" / "config").unlink(missing_ok=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "PAUSES_SECONDS", (0.0,))


def trouble(address: str, tmp_path: Path, **options: str) -> OwctlError:
    with (
        pytest.raises(OwctlError) as caught,
        open_store(parse_address(address, tmp_path), **options) as store,
    ):
        list_remote(store)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://bucket", Address("s3", "", "bucket")),
        ("s3://my.bucket/a/b/", Address("s3", "a/b", "my.bucket")),
        ("sftp://host/srv/x", Address("sftp", "/srv/x", "host")),
        ("sftp://me@host:2222/srv/a%20b/", Address("sftp", "/srv/a b", "host", 2222, "me")),
        ("sftp://host/~/backups", Address("sftp", "backups", "host")),
        ("sftp://host/~", Address("sftp", "", "host")),
        ("file:///mnt/x/", Address("file", "/mnt/x")),
        ("/mnt/x", Address("file", "/mnt/x")),
        ("../x", Address("file", "/srv/x")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text, Path("/srv/here")) == address
    if address.scheme != "file":
        assert parse_address(str(address), Path("/")) == address


@pytest.mark.parametrize(
    "text",
    [
        f"sftp://me:{PASSWORD}@host/x",
        f"s3://key:{PASSWORD}@bucket/x",
        "ftp://host/x",
        "file://other/x",
        "s3://",
        "sftp://host",
        "sftp://host:no/x",
        "s3://bucket/x?versionId=1",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text, Path("/"))
    assert PASSWORD not in str(caught.value)
    assert caught.value.hint


def test_a_host_that_nobody_knows_is_refused(at_home: SshServer, tmp_path: Path) -> None:
    (at_home.home / ".ssh" / "known_hosts").unlink()
    address = at_home.address(tmp_path)
    refused = trouble(address, tmp_path)
    assert at_home.fingerprint in refused.message
    assert f"--accept-host-key {at_home.fingerprint}" in (refused.hint or "")
    trouble(address, tmp_path, host_key="SHA256:" + "A" * 43)
    with open_store(parse_address(address, tmp_path), host_key=at_home.fingerprint) as store:
        assert list_remote(store) == []
    assert not (at_home.home / ".ssh" / "known_hosts").exists()


def test_a_host_that_is_not_who_it_was_is_refused(at_home: SshServer, tmp_path: Path) -> None:
    other = (at_home.home / ".ssh" / "id_ed25519.pub").read_text()
    at_home.know_host(" ".join(other.split()[:2]))
    found = trouble(at_home.address(tmp_path), tmp_path, host_key=at_home.fingerprint)
    assert "another host key" in found.message
    assert "ssh-keygen -R" in (found.hint or "")


def test_a_user_without_a_key_is_told(
    at_home: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    known = at_home.home / ".ssh" / "known_hosts"
    (tmp_path / ".ssh" / "known_hosts").write_bytes(known.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "does not let" in trouble(at_home.address(tmp_path), tmp_path).message


def test_the_ssh_configuration_counts(at_home: SshServer, tmp_path: Path) -> None:
    config = at_home.home / ".ssh" / "config"
    config.write_text(f"Host nas\n  HostName 127.0.0.1\n  Port {at_home.port}\n")
    with open_store(parse_address(f"sftp://nas{tmp_path}", tmp_path)) as store:
        assert list_remote(store) == []
    config.write_text("Host nas\n  ProxyJump bastion\n")
    assert "proxyjump" in trouble(f"sftp://nas{tmp_path}", tmp_path).message


def test_nobody_listens(
    at_home: SshServer,
    s3: CheckedS3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    impatient: None,
) -> None:
    silent = free_port()
    found = trouble(at_home.address(tmp_path, silent), tmp_path)
    assert isinstance(found, ConnectionLost)
    assert "cannot be reached" in found.message
    values = aws_environment(s3, tmp_path) | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent}"}
    use_environment(monkeypatch, values)
    assert isinstance(trouble("s3://backups", tmp_path), ConnectionLost)


def test_a_server_that_never_says_anything(
    at_home: SshServer,
    s3: CheckedS3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    impatient: None,
) -> None:
    monkeypatch.setattr(sftp_store, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(s3_store, "_SILENCE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        found = trouble(at_home.address(tmp_path, port), tmp_path)
        assert isinstance(found, ConnectionLost)
        values = aws_environment(s3, tmp_path) | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        use_environment(monkeypatch, values)
        found = trouble("s3://backups", tmp_path)
        assert isinstance(found, ConnectionLost)
        assert "does not answer" in found.message


def test_libraries_print_nothing_of_their_own(ssh: SshServer, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("name: owls\nservices: {web: {image: web}}\n")
    with socket.create_server(("127.0.0.1", 0)) as rude:

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    rude.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        remote = ssh.address("/x", rude.getsockname()[1])
        answer = subprocess.run(
            [sys.executable, "-m", "owctl", "backup", "pull", remote],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(ssh.home)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        rude.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert answer.returncode == 1
    assert [line.split(":")[0] for line in answer.stderr.splitlines()] == ["Error", "Try"]


def test_a_folder_that_may_not_be_written(at_home: SshServer, tmp_path: Path) -> None:
    backup = make_backup(tmp_path / "backups", volume_bytes=10)
    # A file where a folder should be: refused to root, too.
    (tmp_path / "file").write_text("")
    for address in (at_home.address(tmp_path / "file" / "x"), str(tmp_path / "file" / "x")):
        with open_store(parse_address(address, tmp_path)) as store:
            with pytest.raises(OwctlError) as caught:
                push_backup(backup, store)
            assert caught.value.hint
            assert not isinstance(caught.value, ConnectionLost)


def test_a_bucket_that_is_not_there(
    s3: CheckedS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_environment(monkeypatch, aws_environment(s3, tmp_path))
    found = trouble("s3://nobody-has-this", tmp_path)
    assert found.message == "There is no bucket nobody-has-this."
    assert "AWS_ENDPOINT_URL" in (found.hint or "")


def test_no_credentials(s3: CheckedS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = aws_environment(s3, tmp_path)
    del values["AWS_SECRET_ACCESS_KEY"], values["AWS_ACCESS_KEY_ID"]
    use_environment(monkeypatch, values)
    found = trouble("s3://backups", tmp_path)
    assert "no credentials" in found.message
    assert "AWS_PROFILE" in (found.hint or "")


def answering(status: str, code: str) -> type[CheckedS3]:
    """A server of the same protocol that answers everything with one error."""

    class Answering(CheckedS3):
        def _serve(self, environ, start_response):
            body = f"<Error><Code>{code}</Code><Message>{code} it is</Message></Error>".encode()
            start_response(status, [("Content-Length", str(len(body)))])
            return [body]

    return Answering


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        ("403 Forbidden", "AccessDenied", "is denied"),
        ("403 Forbidden", "InvalidAccessKeyId", "is denied"),
        ("403 Forbidden", "SignatureDoesNotMatch", "is denied"),
        ("507 Insufficient Storage", "XMinioStorageFull", "No space is left"),
        ("403 Forbidden", "QuotaExceeded", "No space is left"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "refused it"),
        ("503 Service Unavailable", "ServiceUnavailable", "does not answer"),
    ],
)
def test_what_a_server_answers(
    status: str,
    code: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    impatient: None,
) -> None:
    server = answering(status, code)()
    try:
        use_environment(monkeypatch, aws_environment(server, tmp_path))
        assert says in trouble("s3://backups", tmp_path).message
    finally:
        server.stop()


def test_a_full_disk_there(tmp_path: Path) -> None:
    backup = make_backup(tmp_path / "backups")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small], capture_output=True, check=False
    ).returncode:
        reason = "needs the right to mount a tmpfs"
        pytest.fail(reason) if os.environ.get("OWCTL_REQUIRE_DOCKER") == "1" else pytest.skip(
            reason
        )
    try:
        with open_store(parse_address(str(small / "remote"), tmp_path)) as store:
            with pytest.raises(OwctlError, match="No space is left") as caught:
                push_backup(backup, store, part_bytes=1 << 20)
            assert "goes on where it stopped" in (caught.value.hint or "")
            names = store.files(BACKUP_ID)
            assert names
            assert not any(name.endswith(".tmp") for name in names)
            subprocess.run(["mount", "-o", "remount,size=20m", small], check=True)
            again = push_backup(backup, store, part_bytes=1 << 20)
            assert again.sent_parts == again.parts - len(names)
    finally:
        subprocess.run(["umount", small], check=True)


def test_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "compose.yaml").write_text("name: owls\nservices: {web: {image: web}}\n")
    monkeypatch.chdir(project)
    monkeypatch.setenv("PWD", str(project))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    first = make_backup(project / "backups", "20250131T031500Z-9f3a01", volume_bytes=10)
    make_backup(project / "backups", "20250131T031500Z-9f3a02", volume_bytes=10)
    remote = str(tmp_path / "remote")
    assert run(["backup", "push", remote, "--dry-run"]) == 0
    assert "20250131T031500Z-9f3a02: would send 4 of 4 parts" in capsys.readouterr().out
    assert run(["backup", "push", remote, "--json"]) == 0
    (pushed,) = json.loads(capsys.readouterr().out)["backups"]
    assert (pushed["id"], pushed["sent_parts"]) == ("20250131T031500Z-9f3a02", 4)
    assert run(["backup", "push", remote, "--all"]) == 0
    out = capsys.readouterr().out
    assert f"{first.id} is whole there: sent 4 of 4 parts" in out
    assert "20250131T031500Z-9f3a02 is whole there: nothing to send" in out
    assert run(["backup", "pull", remote]) == 0
    assert capsys.readouterr().out.count("owls") == 2
    assert run(["backup", "pull", remote, "latest", "--output", "there", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["id"], document["schema"]) == ("20250131T031500Z-9f3a02", 1)
    assert Path(document["path"]) == project / "there" / "20250131T031500Z-9f3a02"
    assert run(["backup", "pull", remote, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["backups"]) == 2
    assert run(["backup", "push", f"sftp://me:{PASSWORD}@host/x"]) == 2
    assert run(["backup", "push", remote, "2024"]) == 2
    assert run(["backup", "pull", str(tmp_path / "nothing"), "latest"]) == 2
    assert run(["backup", "push", remote, "--all", "latest"]) == 2
    history = (project / ".owctl" / "history.jsonl").read_text()
    assert PASSWORD not in history + "".join(capsys.readouterr())
    assert history.count('"command": "backup push"') == 3


def test_without_the_extra_the_way_to_it_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['s3fs'] = sys.modules['paramiko'] = None\n"
        "from pathlib import Path\n"
        "from owctl.backup.remote.store import parse_address\n"
        "from owctl.backup.remote.place import open_store\n"
        "from owctl.errors import OwctlError\n"
        "for text in ('s3://bucket', 'sftp://host/x'):\n"
        "    try: open_store(parse_address(text, Path('/')))\n"
        "    except OwctlError as error: print(error.hint)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout.count("pip install 'owctl[remote]'") == 2
