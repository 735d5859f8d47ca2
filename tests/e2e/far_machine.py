"""Another machine, as far as the network goes: an engine and an sshd in a network of their own.

Its loopback is not this machine's, so a port that the stack publishes there is out of reach from
here but through ssh. Files are shared, which no test makes use of.
"""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torture.own_engine import OwnEngine

SSH = "/usr/bin/ssh"
SSHD = "/usr/sbin/sshd"
DEMO_IMAGES = tuple(
    f"owctl-demo-{name}"
    for name in ("postgres", "redis", "rust-backend", "socketio-bridge", "frontend")
)


class FarMachine(OwnEngine):
    """A context manager; ``address`` is its own, ``engine_host`` what DOCKER_HOST says here."""

    def __init__(self, folder: Path, images: tuple[str, ...] = DEMO_IMAGES) -> None:
        super().__init__(images)
        self.folder = folder
        self.port = 22022
        number = secrets.randbelow(200 * 64)
        network = f"198.{18 + number // 12800}.{number // 64 % 200}.{number % 64 * 4}"
        base, _, last = network.rpartition(".")
        self.here, self.address = f"{base}.{int(last) + 1}", f"{base}.{int(last) + 2}"
        self._links = (f"{self.name}h", f"{self.name}f")
        self._sshd: subprocess.Popen[bytes] | None = None

    @property
    def engine_host(self) -> str:
        return f"ssh://root@{self.address}:{self.port}"

    @property
    def socket(self) -> Path:
        return self.root / "docker.sock"

    def start(self) -> None:
        if not (self.folder / "bin").exists():
            self._make_network()
            self._make_keys()
            self.start_sshd()
        super().start()

    def __exit__(self, *_: object) -> None:
        self.stop_sshd()
        # Otherwise the engine gives each of its containers time to end.
        running = self._docker("ps", "--quiet").split()
        if running:
            self._docker("rm", "--force", "--volumes", *running)
        super().__exit__()
        _run("ip", "link", "del", self._links[0], check=False)

    def _docker(self, *arguments: str) -> str:
        host = self.environment["DOCKER_HOST"]
        return _run("docker", "--host", host, *arguments, check=False)

    def client(self, **options: str) -> dict[str, str]:
        """Return what is in the environment of somebody who works from here.

        ``options`` are of the ssh client's configuration, in place of those that let them in.
        """
        settings = {
            "IdentityFile": str(self.folder / "id_ed25519"),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
            "GlobalKnownHostsFile": "/dev/null",
        } | options
        place = self.folder / f"client-{secrets.token_hex(3)}"
        place.mkdir()
        lines = [f"    {name} {value}" for name, value in settings.items()]
        (place / "config").write_text("\n".join(["Host *", *lines, ""]))
        # The ssh client finds its configuration by the user's entry in passwd, not by HOME.
        _write_program(place / "ssh", f'exec {SSH} -F {place}/config "$@"')
        return {
            "PATH": f"{place}:{os.environ['PATH']}",
            "DOCKER_HOST": self.engine_host,
            "DOCKER_BUILDKIT": "0",
        }

    def run(self, *command: str) -> str:
        """Run a command on the far machine's network and return its output."""
        return _run(*self.prefix, *command)

    def start_sshd(self, **options: str) -> None:
        """Start the ssh server, with more options than usual."""
        config = self.folder / "sshd_config"
        settings = {
            "Port": str(self.port),
            "ListenAddress": self.address,
            "HostKey": str(self.folder / "host_key"),
            "AuthorizedKeysFile": str(self.folder / "id_ed25519.pub"),
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "MaxStartups": "100",
            # What the docker command of that machine uses.
            "SetEnv": f"DOCKER_HOST={self.environment['DOCKER_HOST']}",
        } | options
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with (self.folder / "sshd.log").open("wb") as log:
            self._sshd = subprocess.Popen(
                [*self.prefix, SSHD, "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        with (self.folder / "sshd.log").open("rb") as said:
            text = b""
            while b"Server listening" not in text:
                text += said.read()
                assert self._sshd.poll() is None, text.decode()

    def stop_sshd(self) -> None:
        """End the ssh server; connections that it made go on."""
        if self._sshd is not None:
            self._sshd.terminate()
            self._sshd.wait(30)
            self._sshd = None

    @contextmanager
    def other_sshd(self, **options: str) -> Iterator[None]:
        """Have an ssh server with other options for the while."""
        self.stop_sshd()
        self.start_sshd(**options)
        try:
            yield
        finally:
            self.stop_sshd()
            self.start_sshd()

    def _make_network(self) -> None:
        here, far = self._links
        _run("ip", "link", "add", here, "type", "veth", "peer", "name", far, "netns", self.name)
        _run("ip", "address", "add", f"{self.here}/30", "dev", here)
        _run("ip", "link", "set", here, "up")
        self.run("ip", "address", "add", f"{self.address}/30", "dev", far)
        self.run("ip", "link", "set", far, "up")

    def _make_keys(self) -> None:
        (self.folder / "bin").mkdir(parents=True)
        for name in ("host_key", "id_ed25519", "stranger"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name))
        self.know()

    def know(self, key: str = "host_key") -> None:
        """Write the file of known hosts, with this machine's key or another one."""
        words = " ".join((self.folder / f"{key}.pub").read_text().split()[:2])
        known = f"[{self.address}]:{self.port} {words}\n"
        (self.folder / "known_hosts").write_text(known)


def tunnels() -> set[int]:
    """Return the processes that are an owctl's connection to another machine."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if b"ControlMaster=yes" in words and words[0].endswith(b"ssh"):
                    found.add(int(folder.name))
    return found


def _write_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout
