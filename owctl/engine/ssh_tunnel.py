"""One ssh connection to the engine's machine, and through it the engine's socket and its ports.

The OpenSSH client makes it, with the user's own configuration, agent and known hosts; it never
asks, and never accepts a host key that is not known. The engine's socket and each port that is
asked for become sockets in a folder that only this user can enter.

The client lives as long as its input, a pipe that this process holds, stays open: however
owctl ends, also by SIGKILL, the far side sees the end, and the connection with it.
"""

import contextlib
import os
import select
import subprocess
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from shlex import quote

from owctl.engine.endpoint import SshAddress
from owctl.engine.ssh_failures import (
    Far,
    connection_failure,
    forward_failure,
    lost_connection,
    no_client,
)
from owctl.errors import EngineUnavailable
from owctl.scratch_folder import ScratchFolder

CONNECT_TIMEOUT_SECONDS = 15
# The whole of it: a jump host, a slow key, a far side that swaps.
READY_TIMEOUT_SECONDS = 60.0
FORWARD_TIMEOUT_SECONDS = 30.0
ALIVE_INTERVAL_SECONDS = 15
_LAST_BREATH_SECONDS = 0.5
_KEPT_LINES = 20
_PREFIX = "owctl-ssh-"
_LONGEST_PARENT = 60
_ASKED = "owctl-asks"
_READY = "owctl-ready"
# The far side says which socket its own docker command uses, then waits for the end of its input.
_FAR_SCRIPT = (
    f"echo {_ASKED}; docker context inspect --format '{{{{.Endpoints.docker.Host}}}}' 2>&1; "
    f"echo {_READY}; exec cat"
)
_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": str(CONNECT_TIMEOUT_SECONDS),
    "ServerAliveInterval": str(ALIVE_INTERVAL_SECONDS),
    "ServerAliveCountMax": "3",
    # Ours alone, and gone with owctl: what the user's configuration says is for their own sessions.
    "ControlMaster": "yes",
    "ControlPersist": "no",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "LogLevel": "INFO",
    "StreamLocalBindMask": "0177",
}


class SshTunnel:
    """The connection to one machine, made when it is first needed, and again when it was lost."""

    def __init__(self, address: SshAddress, chosen_by: str) -> None:
        self.address = address
        self._chosen_by = chosen_by
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._private: ScratchFolder | None = None
        self._folder: Path | None = None
        self._said: deque[str] = deque(maxlen=_KEPT_LINES)
        self._reader: threading.Thread | None = None
        self._forwards: dict[str, Path] = {}
        self._far = Far(address, chosen_by)
        self._closed = False
        # Whether the engine has answered: then nobody forbids the way to it.
        self.was_used = False
        # Counts the connections: what one began, the next cannot end.
        self.number = 0

    def engine_socket(self) -> Path:
        """Return the local socket that leads to the engine; raises EngineUnavailable."""
        return self._forward(str(self._ready_far().socket), "engine")

    def port(self, host: str, port: int) -> Path:
        """Return a local socket that leads to a TCP port as the far machine sees it.

        Its name is the one that PostgreSQL's library looks for in a folder. Raises
        EngineUnavailable.
        """
        with self._lock:
            self._ready_far()
            number = sum(1 for path in self._forwards.values() if path.parent != self._folder)
            shown = f"[{host}]" if ":" in host else host
            return self._forward(f"{shown}:{port}", f"{number}/.s.PGSQL.{port}")

    def is_lost(self) -> bool:
        """Return whether the connection has ended by itself; waits a moment to be sure."""
        process = self._process
        if process is None:
            return False
        try:
            # Its sockets close a little before it can be seen that it has ended.
            process.wait(_LAST_BREATH_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def host_name(self) -> str:
        """Return the machine's name as the user's configuration resolves it, for links."""
        argv = ["ssh", "-G", *self.address.arguments]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=CONNECT_TIMEOUT_SECONDS, check=False
            )
            for line in done.stdout.splitlines():
                name, _, value = line.partition(" ")
                if name == "hostname" and value:
                    return value
        return self.address.host

    def explain(self, action: str) -> EngineUnavailable:
        """Return the error for a request that failed: the way was lost, or nobody is at its end."""
        if self.is_lost():
            return lost_connection(self.address, action, list(self._said))
        script = (
            f"p={quote(str(self._far.socket))}; "
            'if [ ! -e "$p" ]; then echo missing; elif [ ! -S "$p" ]; then echo no-socket; '
            'elif [ ! -w "$p" ]; then echo forbidden; '
            'elif docker --host "unix://$p" version >/dev/null 2>&1; then echo answers; '
            "else echo there; fi"
        )
        state = self._run(script).strip()
        if self.was_used and state == "answers":
            return lost_connection(self.address, action, ["the engine answers again"])
        return forward_failure(self._far, action, state)

    def close(self) -> None:
        """End the connection and remove its folder; called again, it does nothing."""
        with self._lock:
            self._closed = True
            self._drop()
            if self._private is not None:
                self._private.remove()
                self._private = self._folder = None

    def _ready_far(self) -> Far:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                if self._closed:
                    raise lost_connection(self.address, "go on", ["owctl is ending"])
                self._drop()
                self._open()
            return self._far

    def _open(self) -> None:
        if self._private is None or self._folder is None:
            self._private = ScratchFolder(_PREFIX, _parent_of_sockets())
            self._folder = self._private.path
        folder = self._folder
        self._said.clear()
        self.number += 1
        options = [word for key, value in _OPTIONS.items() for word in ("-o", f"{key}={value}")]
        argv = ["ssh", "-T", "-S", str(folder / "control"), *options]
        try:
            self._process = subprocess.Popen(
                [*argv, *self.address.arguments, _FAR_SCRIPT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Ctrl-C is for owctl, which may have something to put right through this.
                start_new_session=True,
            )
        except OSError as error:
            self._drop()
            raise no_client(self._far, error) from error
        self._reader = threading.Thread(target=self._listen, name="owctl-ssh", daemon=True)
        self._reader.start()
        try:
            self._far.take(self._answer())
        except BaseException:
            self._drop()
            raise
        # A banner; what it says later is of what went wrong.
        self._said.clear()

    def _answer(self) -> list[str]:
        """Return the lines that the far side said when it was asked for its engine."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        text = b""
        while f"{_READY}\n".encode() not in text:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                raise connection_failure(self._far, ["timed out: it did not get ready"], None)
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                code = process.wait(CONNECT_TIMEOUT_SECONDS)
                if self._reader is not None:
                    self._reader.join(1)
                raise connection_failure(self._far, list(self._said), code)
            text += data
        lines = text.decode("utf-8", "replace").splitlines()
        start = lines.index(_ASKED) + 1 if _ASKED in lines else 0
        return lines[start : lines.index(_READY)]

    def _listen(self) -> None:
        process = self._process
        assert process is not None
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                text = line.decode("utf-8", "replace").strip()
                if text:
                    self._said.append(text)

    def _forward(self, there: str, name: str) -> Path:
        with self._lock:
            self._ready_far()
            found = self._forwards.get(there)
            if found is not None:
                return found
            assert self._folder is not None
            path = self._folder / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            done = self._control("-O", "forward", "-L", f"{path}:{there}")
            if done.returncode or not path.is_socket():
                raise connection_failure(self._far, done.stderr.decode().splitlines(), None)
            self._forwards[there] = path
            return path

    def _control(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        """Let another ssh client speak to ours, over the socket in our folder."""
        argv = ["ssh", "-F", "none", "-S", f"{self._folder}/control"]
        try:
            return subprocess.run(
                [*argv, *words, "--", self.address.host],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=FORWARD_TIMEOUT_SECONDS,
                start_new_session=True,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise connection_failure(self._far, [str(error)], None) from error

    def _run(self, script: str) -> str:
        """Return what a script says on the far machine, "" where it cannot be run."""
        argv = ["ssh", "-F", "none", "-T", "-S", f"{self._folder}/control"]
        # Through our connection or not at all.
        argv += ["-o", "ProxyCommand=false", "-o", "BatchMode=yes"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            return subprocess.run(
                [*argv, "--", self.address.host, script],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=FORWARD_TIMEOUT_SECONDS,
                start_new_session=True,
                check=False,
            ).stdout
        return ""

    def _drop(self) -> None:
        process, self._process = self._process, None
        if self._folder is not None:
            for path in (self._folder / "control", *self._forwards.values()):
                path.unlink(missing_ok=True)
        self._forwards.clear()
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.terminate()
            try:
                process.wait(CONNECT_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _parent_of_sockets() -> Path:
    """Return where the folder of the sockets goes: their paths have to be short, and not every TMPDIR is."""
    parent = tempfile.gettempdir()
    return Path(parent if len(parent) < _LONGEST_PARENT else "/tmp")  # noqa: S108  # it is private
