"""An engine behind ssh, on a machine whose loopback and ports are not this one's."""

import contextlib
import hashlib
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import OWCTL, Project, clean_environment, make_project
from tests.e2e.far_machine import SSH, SSHD, FarMachine

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a network and an engine: root only"),
]
PATIENCE_SECONDS = 60


@dataclass
class Remote:
    """A demonstration stack that runs on the far machine, and who works on it from here."""

    machine: FarMachine
    project: Project
    environment: dict[str, str]

    def owctl(
        self, *arguments: str | Path, code: int = 0, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        """Run owctl here for the engine there; it has to end with ``code``."""
        done = self.project.owctl(*arguments, environment=self.environment | changes)
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Have an owctl run, in the background; it is killed in the end."""
        with subprocess.Popen(
            [str(OWCTL), *arguments],
            cwd=self.project.directory,
            env=clean_environment(**self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def docker(self, *arguments: str) -> str:
        """Run docker on the far machine itself."""
        environment = os.environ | self.machine.environment
        done = subprocess.run(
            ["docker", *arguments], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    def psql(self, *arguments: str) -> str:
        name = f"{self.project.project}-postgres-1"
        return self.docker("exec", name, "psql", "-U", "open_webui", "-At", *arguments)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, demo_stack: Project) -> Iterator[FarMachine]:
    """The far machine, with the images that ``demo_stack`` has built."""
    for path in (SSH, SSHD):
        if not Path(path).exists():
            pytest.fail(f"{path} is missing; scripts/test-tools installs it")
    with FarMachine(tmp_path_factory.mktemp("far")) as far:
        yield far


@pytest.fixture(scope="module")
def remote(
    machine: FarMachine, tmp_path_factory: pytest.TempPathFactory, demo_base_image: str
) -> Iterator[Remote]:
    project = make_project(tmp_path_factory.mktemp("remote"), demo_base_image)
    here = Remote(machine, project, machine.client())
    started = here.owctl("start")
    # What everybody reaches has the machine's name; what is on its loopback says so.
    assert f"http://{machine.address}:{project.ports['frontend']}" in started.stdout
    assert f"127.0.0.1:{project.ports['postgres']} (there)" in started.stdout
    assert "localhost" not in started.stdout
    yield here
    assert not ssh_of(os.getpid()), "an ssh of owctl's outlived it"


def ssh_of(parent: int) -> list[int]:
    """Return the ssh clients that a process has started, or left to the tests."""
    found = []
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text().split()):
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                if b"ControlMaster=yes" in words and words[0].endswith(b"ssh"):
                    found.append(child)
    return found


def wait_for(look: Callable[[], object]) -> object:
    """Return what ``look`` finds, as soon as it finds something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)
    return found


def exists(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def free_here(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_every_service_is_asked_on_its_own_machine(remote):
    assert all(free_here(port) for port in remote.project.ports.values())
    rows = json.loads(remote.owctl("health", "--json").stdout)["services"]
    assert {row["status"] for row in rows} == {"healthy"}
    assert {row["probe"] for row in rows} == {"postgres", "redis", "http", "socketio"}
    targets = {row["service"]: row["target"] for row in rows}
    port = remote.project.ports["redis"]
    assert targets["redis"] == f"127.0.0.1:{port} on {remote.machine.address}"
    assert "running" in remote.owctl("status").stdout


def test_deep_checks_go_through_ssh(remote):
    document = json.loads(remote.owctl("health", "--deep", "--json").stdout)
    assert {check["status"] for check in document["deep"]} == {"healthy"}


def test_statistics_come_from_there(remote):
    found = json.loads(remote.owctl("stats", "--json").stdout)["services"]
    assert len(found) == len(remote.project.ports)
    assert all(row["memory_bytes"] > 0 for row in found)


def test_another_start_changes_nothing(remote):
    assert "nothing changed" in remote.owctl("start").stderr


def test_doctor_draws_no_conclusions_from_this_machine(remote):
    # Somebody here holds the port: that is no business of the far machine's.
    with socket.create_server(("0.0.0.0", remote.project.ports["redis"])):
        document = json.loads(remote.owctl("doctor", "--json").stdout)
    checks = {check["check"]: check for check in document["checks"]}
    assert checks["ports"]["status"] == "ok"
    assert "the engine's data" not in checks["disk"]["detail"]
    assert remote.machine.address in checks["engine"]["detail"]
    assert remote.machine.address in checks["mounts"]["detail"]


def test_a_mount_of_a_local_folder_is_refused_before_anything_is_made(remote):
    extra = remote.project.directory / "extra.yaml"
    extra.write_text("services:\n  redis:\n    volumes: [./settings:/settings]\n")
    files = ("-f", "compose.yaml", "-f", "compose.demo.yaml", "-f", extra)
    refused = remote.owctl(*files, "start", "redis", code=1)
    assert "Nothing was started: redis mounts" in refused.stderr
    assert "--ignore mounts" in refused.stderr
    assert remote.project.owctl("status", environment=remote.environment).returncode == 0


def test_a_context_leads_there_too(remote, tmp_path):
    identity = hashlib.sha256(b"far").hexdigest()
    meta = tmp_path / "contexts" / "meta" / identity
    meta.mkdir(parents=True)
    # With the engine's socket in the address, nothing has to be asked for there.
    endpoint = {"Host": remote.machine.engine_host + str(remote.machine.socket)}
    (meta / "meta.json").write_text(json.dumps({"Name": "far", "Endpoints": {"docker": endpoint}}))
    rows = remote.owctl(
        "--context", "far", "status", "--json", DOCKER_HOST="", DOCKER_CONFIG=str(tmp_path)
    )
    assert {row["state"] for row in json.loads(rows.stdout)["services"]} == {"running"}


def test_a_build_sends_its_context(remote):
    folder = remote.project.directory / "built"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM owctl-demo-redis\nCOPY note /note\n")
    (folder / "note").write_text("from here\n")
    extra = remote.project.directory / "build.yaml"
    extra.write_text(
        f"services:\n  redis:\n    image: {remote.project.project}\n    build: built\n"
    )
    remote.owctl("-f", "compose.yaml", "-f", extra, "rebuild", "redis")
    image = remote.project.project
    assert remote.docker("run", "--rm", "--entrypoint", "cat", image, "/note") == "from here\n"


def test_logs_are_followed_on_where_ssh_was_lost(remote):
    def say(what: str) -> None:
        remote.psql("-c", f"DO $$ BEGIN RAISE LOG '{what}'; END $$")
        while what not in logs.stdout.readline():
            assert logs.poll() is None

    with remote.running("logs", "-f", "--tail", "1", "postgres") as logs:
        assert "postgres" in logs.stdout.readline()
        # A line that came later is one that was followed.
        say("before it")
        (tunnel,) = ssh_of(logs.pid)
        os.kill(tunnel, signal.SIGKILL)
        say("after it")
        wait_for(lambda: ssh_of(logs.pid) not in ([], [tunnel]))
        logs.terminate()
        _, said = logs.communicate(timeout=PATIENCE_SECONDS)
    assert f"the ssh connection to root@{remote.machine.address} was lost" in said


def test_the_connection_ends_with_owctl_however_that_ends(remote):
    for number in (signal.SIGKILL, signal.SIGINT):
        with remote.running("logs", "-f", "--tail", "1", "postgres") as logs:
            assert logs.stdout.readline()
            (tunnel,) = ssh_of(logs.pid)
            logs.send_signal(number)
            logs.wait(PATIENCE_SECONDS)
            wait_for(lambda: not exists(tunnel))  # noqa: B023  # called at once


class Shell:
    """owctl shell on a terminal."""

    def __init__(self, remote: Remote, *arguments: str) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:  # the child
            os.chdir(remote.project.directory)
            environment = clean_environment(**remote.environment)
            os.execve(OWCTL, [str(OWCTL), "shell", *arguments], environment)
        self.shown = b""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def expect(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text.encode() not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self._terminal], [], [], 1)[0]:
                with contextlib.suppress(OSError):
                    self.shown += os.read(self._terminal, 4096)
        self.shown = self.shown.partition(text.encode())[2]

    def exit_code(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(status)


def test_a_shell_has_a_terminal_there(remote):
    shell = Shell(remote, "rust-backend")
    shell.type("stty size; echo $((6*7))-there\n")
    shell.expect("42-there")
    shell.type("exit 7\n")
    assert shell.exit_code() == 7


def test_a_shell_says_that_ssh_was_lost(remote):
    shell = Shell(remote, "rust-backend")
    shell.type("echo $((6*7))-there\n")
    shell.expect("42-there")
    (tunnel,) = ssh_of(shell.pid)
    os.kill(tunnel, signal.SIGKILL)
    shell.expect("ssh")
    assert shell.exit_code() == 125


def test_output_that_ssh_cut_off_is_never_taken_for_the_whole(remote):
    script = "echo begun; sleep 3600; echo ended"
    with remote.running("shell", "rust-backend", "sh", "-c", script) as shell:
        assert shell.stdout.readline() == "begun\n"
        (tunnel,) = ssh_of(shell.pid)
        os.kill(tunnel, signal.SIGKILL)
        _, said = shell.communicate(timeout=PATIENCE_SECONDS)
    assert shell.returncode == 125
    assert "ssh" in said


def test_a_backup_travels_through_ssh_and_comes_back(remote):
    made = json.loads(remote.owctl("backup", "--json").stdout)
    assert made["verified"] is True
    assert Path(made["path"]).is_relative_to(remote.project.directory)
    remote.psql("-c", "CREATE TABLE later (id int)")
    remote.owctl("restore", made["id"], "--only", "db", "--no-safety-backup", "--yes")
    assert remote.psql("-c", "SELECT to_regclass('later') IS NULL").strip() == "t"


def test_a_backup_that_lost_ssh_is_no_backup(remote):
    folder = remote.project.directory / "backups"
    before = set(folder.iterdir()) if folder.exists() else set()
    name = f"{remote.project.project}-postgres-1"
    # pg_dump waits for this lock, so the connection is lost in its middle.
    lock = 'BEGIN; LOCK TABLE "user"; SELECT pg_sleep(3600)'
    remote.docker("exec", "-d", name, "psql", "-U", "open_webui", "-c", lock)
    wait_for(
        lambda: remote.psql("-c", "SELECT 1 FROM pg_stat_activity WHERE query ~ '^BEGIN; LOCK'")
    )
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with remote.running("backup") as backup:
        wait_for(lambda: remote.psql("-c", waiting))
        (tunnel,) = ssh_of(backup.pid)
        os.kill(tunnel, signal.SIGKILL)
        remote.psql("-c", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                          "WHERE query ~ '^BEGIN; LOCK'")  # fmt: skip
        _, said = backup.communicate(timeout=PATIENCE_SECONDS)
    assert backup.returncode == 5, said
    assert "ssh" in said
    assert "Try:" in said
    assert {path for path in folder.iterdir() if path not in before} == set()
    remote.owctl("health")


def test_host_keys_are_never_taken_on_trust(remote):
    known = remote.machine.folder / "known_hosts"
    kept = known.read_text()
    try:
        known.write_text("")
        unknown = remote.owctl("status", code=5).stderr
        assert "is not known, and owctl accepts none unseen" in unknown
        assert f"ssh -p {remote.machine.port} root@{remote.machine.address} true" in unknown
        # Not even for a user who accepts new ones in their own sessions.
        trusting = remote.machine.client(StrictHostKeyChecking="accept-new")
        remote.owctl("status", code=5, PATH=trusting["PATH"])
        assert known.read_text() == ""
        remote.machine.know("stranger")
        assert "shows another host key" in remote.owctl("status", code=5).stderr
    finally:
        known.write_text(kept)


def test_a_key_that_is_not_let_in(remote):
    stranger = remote.machine.client(IdentityFile=str(remote.machine.folder / "stranger"))
    refused = remote.owctl("status", code=5, PATH=stranger["PATH"]).stderr
    assert "does not let this user in" in refused
    assert "ssh-add" in refused


def test_the_users_own_forwards_are_left_out(remote):
    """A forward of the user's configuration that cannot be made is no obstacle."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        client = remote.machine.client(
            LocalForward=f"{port} 127.0.0.1:9", ExitOnForwardFailure="yes", RemoteCommand="false"
        )
        remote.owctl("status", PATH=client["PATH"])


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/nowhere.sock", "there is no socket /nowhere.sock on that machine"),
        ("/etc/passwd", "no socket, but something else, is at /etc/passwd"),
    ],
)
def test_a_socket_that_is_none(remote, address, said):
    refused = remote.owctl("status", code=5, DOCKER_HOST=remote.machine.engine_host + address)
    assert said in refused.stderr
    assert "Try:" in refused.stderr


def test_an_engine_that_is_not_running(remote, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "dead.sock"))
    address = f"{remote.machine.engine_host}{tmp_path}/dead.sock"
    assert (
        "nobody answers at the socket" in remote.owctl("status", code=5, DOCKER_HOST=address).stderr
    )


def test_a_user_who_may_not_use_the_engine(remote):
    name = f"owctl{remote.machine.name[-6:]}"
    keys = Path("/run") / name
    keys.mkdir(mode=0o755)
    try:
        shutil.copy(remote.machine.folder / "id_ed25519.pub", keys / "keys")
        (keys / "keys").chmod(0o644)
        subprocess.run(["useradd", "-M", "-p", "*", "-s", "/bin/sh", name], check=True)
        host = f"ssh://{name}@{remote.machine.address}:{remote.machine.port}/run/docker.sock"
        with remote.machine.other_sshd(AuthorizedKeysFile=str(keys / "keys")):
            refused = remote.owctl("status", code=5, DOCKER_HOST=host)
        assert f"{name} may not use the socket /run/docker.sock" in refused.stderr
        assert f"usermod -aG docker {name}" in refused.stderr
    finally:
        subprocess.run(["userdel", name], check=False, capture_output=True)
        shutil.rmtree(keys)


def test_a_server_that_forwards_to_no_sockets(remote):
    with remote.machine.other_sshd(AllowTcpForwarding="no"):
        refused = remote.owctl("status", code=5).stderr
    assert "lets nobody through to sockets" in refused
    assert "AllowStreamLocalForwarding" in refused


def test_no_ssh_client(remote, tmp_path):
    assert "openssh-client" in remote.owctl("status", code=5, PATH=str(tmp_path)).stderr
