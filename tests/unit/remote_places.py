"""Places for backups that tests push to: a folder, a real SSH server, a real S3-compatible server."""

import base64
import getpass
import hashlib
import os
import random
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from needed_programs import program
from test_backup_dump_scan import dump
from test_backup_verify import described, store, tar_of

from owctl.backup import catalogue
from owctl.backup import manifest as manifests
from owctl.backup.catalogue import Backup, look_at
from owctl.backup.manifest import MANIFEST_NAME, Manifest

MIB = 1 << 20
BACKUP_ID = "20250131T031500Z-9f3a1c"


def make_backup(
    parent: Path, backup_id: str = BACKUP_ID, *, volume_bytes: int = 5_500_000
) -> Backup:
    """A whole, verified backup with a member of several parts of a mebibyte, and small ones."""
    folder = parent / backup_id
    folder.mkdir(parents=True)
    rows = {"public.chat": 2, "public.user": 9}
    content = tar_of(random.Random(backup_id).randbytes(volume_bytes))
    members = (
        described(store(folder, "postgres.dump.zst", dump()), "database", rows=rows),
        described(store(folder, "volumes/data.tar.zst", content), "volume", volume="data"),
        described(store(folder, "config/.env", b"WEBUI_SECRET_KEY=s\n"), "configuration", path="x"),
        described(store(folder, "config/empty.yaml", b""), "configuration", path="y"),
    )
    created_at = f"2025-01-31T03:15:{int(backup_id[-2:], 16) % 60:02d}Z"
    manifest = Manifest(backup_id, "owls", created_at, 1000, members, stack={"parts": ["db"]})
    (folder / MANIFEST_NAME).write_bytes(manifests.dump(manifest))
    catalogue.write_record(folder, catalogue.now("ok"))
    return look_at(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class SshServer:
    """An sshd of its own host key on a loopback port; ``home`` is that of the user who comes in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.port = free_port()
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        for path in (folder / "host_key", self.home / ".ssh" / "id_ed25519"):
            keygen = program("ssh-keygen", "openssh-client")
            argv = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", path]
            subprocess.run(argv, check=True, timeout=30)
        self.know_host()
        config = folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\n"
            f"AuthorizedKeysFile {self.home}/.ssh/id_ed25519.pub\nPidFile none\n"
            "UsePAM no\nStrictModes no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\n"
        )
        if os.geteuid() == 0:
            # Compiled into sshd: without it, it does not start for root.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        argv = [program("sshd", "openssh-server"), "-D", "-e", "-f", str(config)]
        self._log = (folder / "sshd.log").open("wb")
        self._process = subprocess.Popen(argv, stderr=self._log)
        self._wait()

    @property
    def fingerprint(self) -> str:
        data = base64.b64decode((self.folder / "host_key.pub").read_text().split()[1])
        return "SHA256:" + base64.b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")

    def know_host(self, key: str | None = None) -> None:
        words = key or " ".join((self.folder / "host_key.pub").read_text().split()[:2])
        known = self.home / ".ssh" / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self.port} {words}\n")

    def address(self, path: Path | str, port: int | None = None) -> str:
        return f"sftp://{getpass.getuser()}@127.0.0.1:{port or self.port}{path}"

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()

    def _wait(self) -> None:
        # It listens as soon as its log says so.
        with (self.folder / "sshd.log").open("rb") as log:
            text = b""
            while b"Server listening" not in text:
                text += log.read()
                assert self._process.poll() is None, text.decode()


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    server = SshServer(folder)
    try:
        yield server
    finally:
        server.stop()


class CheckedS3:
    """An S3-compatible server; ``refuses_wrong_checksums`` makes it compare SHA-256 as Amazon's does.

    ``puts`` has the keys of all objects that were stored, in order.
    """

    bucket = "backups"

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            create_backend_app,
        )
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log(self, *_: Any) -> None:
                """Say nothing of requests."""

        self.refuses_wrong_checksums = False
        self.puts: list[str] = []
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(
            "127.0.0.1", 0, self._serve, threaded=True, request_handler=Quiet
        )
        self.port = self._server.server_port
        import threading

        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] == "PUT":
            self.puts.append(environ["PATH_INFO"])
            if self.refuses_wrong_checksums and (response := self._refusal(environ)) is not None:
                start_response("400 Bad Request", [("Content-Length", str(len(response)))])
                return [response]
        return self._moto(environ, start_response)

    @staticmethod
    def _refusal(environ: dict[str, Any]) -> bytes | None:
        import io

        said = environ.get("HTTP_X_AMZ_CHECKSUM_SHA256")
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if said is None or base64.b64encode(hashlib.sha256(body).digest()).decode() == said:
            return None
        return b"<Error><Code>BadDigest</Code><Message>The SHA256 you gave is not it.</Message></Error>"

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


def aws_environment(server: CheckedS3, home: Path) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": str(home),
    }


def use_environment(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for key in [key for key in os.environ if key.startswith("AWS_")]:
        monkeypatch.delenv(key)
    for key in ("SSH_AUTH_SOCK", "NO_PROXY", "HTTP_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(key, raising=False)
    for key, value in values.items():
        monkeypatch.setenv(key, value)
