"""A Docker engine of its own, in a network namespace of its own: to be killed, and started again."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from torture.subject import Trouble

_PATIENCE_SECONDS = 60
# The engine's layers cannot lie on every file system; where the usual data root lies, they can.
_PLACE = Path("/var/lib")


class OwnEngine:
    """A dockerd with its own data root, socket, containerd and bridge. A context manager.

    ``environment`` and ``prefix`` are what a command needs to talk to it and to its containers.
    """

    def __init__(self, images: Sequence[str]) -> None:
        self.name = f"owctl{secrets.token_hex(3)}"
        self.images = tuple(images)
        self.root = _PLACE / f"owctl-torture-{self.name}"
        self.environment = {"DOCKER_HOST": f"unix://{self.root}/docker.sock"}
        # Not `ip netns exec`: it puts another /sys in place, without the control groups.
        self.prefix = ("nsenter", f"--net=/run/netns/{self.name}")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "OwnEngine":
        self.root.mkdir(mode=0o700)
        try:
            _run("ip", "netns", "add", self.name)
            _run(*self.prefix, "ip", "link", "set", "lo", "up")
            self.start()
            self._load()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end(signal.SIGTERM)
        self._end_orphans()
        with contextlib.suppress(Trouble):
            _run("ip", "netns", "del", self.name)
        self._unmount()
        shutil.rmtree(self.root, ignore_errors=True)

    def start(self) -> None:
        """Start the engine and wait until it answers."""
        for name in ("docker.pid", "exec/containerd/containerd.pid"):
            (self.root / name).unlink(missing_ok=True)
        arguments = [
            f"--data-root={self.root}/data",
            f"--exec-root={self.root}/exec",
            f"--pidfile={self.root}/docker.pid",
            f"--host={self.environment['DOCKER_HOST']}",
        ]
        with (self.root / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.prefix, "dockerd", *arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self.root / "dockerd.log").read_text(errors="replace")[-2000:]
                raise Trouble(f"the engine does not start:\n{said}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL the engine; its containers go on without it, as they do."""
        self._end(signal.SIGKILL)

    def _answers(self) -> bool:
        environment = os.environ | self.environment
        with contextlib.suppress(subprocess.TimeoutExpired):
            command = ["docker", "version"]
            done = subprocess.run(
                command, env=environment, capture_output=True, timeout=10, check=False
            )
            return done.returncode == 0
        return False

    def _load(self) -> None:
        with subprocess.Popen(["docker", "save", *self.images], stdout=subprocess.PIPE) as saving:
            loading = subprocess.run(
                ["docker", "load"],
                env=os.environ | self.environment,
                stdin=saving.stdout,
                capture_output=True,
                check=False,
            )
        if saving.returncode or loading.returncode:
            raise Trouble(f"the images cannot be copied: {loading.stderr.decode()}")

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(timeout=_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _end_orphans(self) -> None:
        """End what a killed engine left: containerd, its shims, the containers' processes."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while found := self._processes():
            for process in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise Trouble(f"processes {found} of the engine do not end")
            time.sleep(0.05)

    def _processes(self) -> set[int]:
        """Return those whose command line names this engine's folder, and those in its namespace."""
        found = set()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if os.fsencode(self.root) in (folder / "cmdline").read_bytes():
                        found.add(int(folder.name))
        inside = subprocess.run(
            ["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False
        )
        return found | set(map(int, inside.stdout.split()))

    def _unmount(self) -> None:
        listing = ["findmnt", "--json", "--list", "--output", "TARGET"]
        mounted = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
        targets = [entry["target"] for entry in json.loads(mounted)["filesystems"]]
        for target in sorted(targets, reverse=True):
            if target.startswith(f"{self.root}/"):
                subprocess.run(["umount", "--lazy", target], check=False, capture_output=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Trouble(f"{' '.join(command)}: {done.stderr}")
