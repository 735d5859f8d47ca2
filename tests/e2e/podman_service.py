"""Debian's Podman behind its docker interface, with storage, networks and mounts of its own."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

PATIENCE_SECONDS = 60
_CONFIGURATION = """\
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[network]
network_backend = "netavark"
network_config_dir = "{home}/networks"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{run}/libpod"
"""
_ROOTLESS_STORAGE = """\
[storage]
driver = "overlay"
[storage.options.overlay]
mount_program = "/usr/bin/fuse-overlayfs"
"""
_STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{home}/storage"
runroot = "{run}/storage"
"""


class PodmanService:
    """A context manager; ``host`` is what DOCKER_HOST says. ``rootless`` is a user of its own."""

    def __init__(self, images: Sequence[str], *, rootless: bool) -> None:
        self.name = f"owctl{secrets.token_hex(4)}"
        self.rootless = rootless
        self.images = tuple(images)
        # Not below /var/lib: there a rootless Podman puts a folder of its own over what is.
        self.home = Path("/srv") / self.name
        self.run = Path("/run") / self.name
        self.host = f"unix://{self.run}/podman.sock"
        self._service: subprocess.Popen[bytes] | None = None
        self._user_ids: list[range] = []

    def __enter__(self) -> "PodmanService":
        try:
            self._prepare()
            self._start()
            self._load()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._service is not None and self._service.poll() is None:
            self.podman("rm", "--all", "--force", "--time", "0", check=False)
            self.podman("network", "prune", "--force", check=False)
            self._service.terminate()
            self._service.wait(PATIENCE_SECONDS)
        if self.rootless:
            self._end_processes()
            subprocess.run(["userdel", self.name], check=False, capture_output=True)
        for folder in (self.home, self.run):
            shutil.rmtree(folder, ignore_errors=True)

    def podman(self, *arguments: str, check: bool = True) -> str:
        """Run podman as the service does, in its mounts."""
        assert self._service is not None
        inside = ["nsenter", f"--target={self._service.pid}", "--mount", "--wd=/"]
        command = [*inside, *self._as_user(), "podman", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert not check or done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def _prepare(self) -> None:
        owner = 0
        if self.rootless:
            command = ["useradd", "--no-create-home", "--home-dir", self.home, "--shell", "/bin/sh"]
            subprocess.run([*command, self.name], check=True, capture_output=True)
            owner = pwd.getpwnam(self.name).pw_uid
            self._user_ids = [range(owner, owner + 1), *_subordinate(self.name)]
        for folder in (self.home, self.run):
            folder.mkdir(mode=0o700)
            os.chown(folder, owner, -1)
        text = _CONFIGURATION.format(home=self.home, run=self.run)
        (self.home / "containers.conf").write_text(text)
        storage = _ROOTLESS_STORAGE if self.rootless else _STORAGE
        (self.home / "storage.conf").write_text(storage.format(home=self.home, run=self.run))
        for name, minor in (("tun", 200), ("fuse", 229)):
            # As they are on a usual machine, where users may open them.
            device = self.home / name
            os.mknod(device, 0o020666, os.makedev(10, minor))
            device.chmod(0o666)

    def _start(self) -> None:
        script = (
            f"mount --bind {self.home}/tun /dev/net/tun && "
            f"mount --bind {self.home}/fuse /dev/fuse; cd /; "
            'exec "$@"'
        )
        command = ["podman", "system", "service", "--time=0", self.host]
        with (self.home / "service.log").open("wb") as log:
            self._service = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", script, "sh", *self._as_user(), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (self.run / "podman.sock").exists():
            said = (self.home / "service.log").read_text()
            assert self._service.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    def _load(self) -> None:
        save = ["docker", "save", *self.images]
        load = ["docker", "--host", self.host, "load", "--quiet"]
        with subprocess.Popen(save, stdout=subprocess.PIPE) as saving:
            loaded = subprocess.run(load, stdin=saving.stdout, capture_output=True, check=False)
        assert loaded.returncode == 0, loaded.stderr

    def _as_user(self) -> list[str]:
        variables = {
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.run),
            "CONTAINERS_CONF": f"{self.home}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.home}/storage.conf",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        words = ["env", "--ignore-environment", *(f"{k}={v}" for k, v in variables.items())]
        if not self.rootless:
            return words
        return ["setpriv", f"--reuid={self.name}", f"--regid={self.name}", "--init-groups", *words]

    def _end_processes(self) -> None:
        """End what the user, or one of those that belong to them, still runs."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while found := self._processes():
            for process in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            assert time.monotonic() < deadline, f"processes {found} do not end"
            time.sleep(0.05)

    def _processes(self) -> list[int]:
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                owner = folder.stat().st_uid
                if folder.name.isdigit() and any(owner in ids for ids in self._user_ids):
                    found.append(int(folder.name))
        return found


def _subordinate(name: str) -> list[range]:
    found = []
    for line in Path("/etc/subuid").read_text().splitlines():
        user, start, count = line.split(":")
        if user == name:
            found.append(range(int(start), int(start) + int(count)))
    return found
