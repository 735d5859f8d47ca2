"""``owctl shell`` on pipes: input and output, exit codes, what cannot be done."""

import io
import platform
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_helpers import create, run, wait_until
from typed_terminal import COMMAND, piped, terminal

from owctl.commands.shell import NotRunning, running_container
from owctl.compose.model import Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.naming import PROJECT

pytestmark = pytest.mark.engine


def test_without_a_terminal_input_is_passed_through(container: Container, folder: Path):
    result = piped(folder, "web", "sh", "-c", "tty; cat; echo end >&2", given="one\ntwo\n")
    assert (result.returncode, result.stdout) == (0, "not a tty\none\ntwo\n")
    assert result.stderr == "end\n"
    # A bare shell reads its commands from there.
    assert piped(folder, "web", given="echo from $0; exit 4\n").stdout == "from bash\n"


def test_much_passes_through_whole(container: Container, folder: Path):
    text = "0123456789abcdef" * 300_000
    assert piped(folder, "web", "cat", given=text).stdout == text


def test_arguments_are_the_commands_own(container: Container, folder: Path):
    assert piped(folder, "web", "ls", "-d", "/").stdout == "/\n"
    assert piped(folder, "web", "--", "echo", "--user", "-T").stdout == "--user -T\n"
    assert piped(folder, "web", "echo", "a  b", "$HOME").stdout == "a  b $HOME\n"
    assert piped(folder, "-u", "nobody", "web", "id", "-un").stdout == "nobody\n"


def test_what_cannot_be_run_is_said_on_stderr(container: Container, folder: Path):
    for arguments, code, text in (
        (
            ["web", "no-such-program"],
            127,
            "Cannot run 'no-such-program' in web: the container has no",
        ),
        (["web", "/etc/passwd"], 126, "it may not be executed"),
        (["-w", "/nowhere", "web", "ls"], 126, "there is no folder /nowhere"),
        (["-u", "nobody-at-all", "web", "ls"], 126, "no user or group nobody-at-all"),
    ):
        result = piped(folder, *arguments)
        assert (result.returncode, result.stdout) == (code, ""), arguments
        assert text in result.stderr
        assert "Try: " in result.stderr
    with terminal(folder, "web", "no-such-program") as shown:
        shown.expect("has no such program")
        assert shown.exit_code() == 127
    # A command's own words and code are its own.
    said = "OCI runtime exec failed: not really"
    result = piped(folder, "web", "sh", "-c", f"echo '{said}'; exit 5")
    assert (result.returncode, result.stdout) == (5, f"{said}\n")


def test_folder_and_variables(container: Container, folder: Path):
    script = "pwd; echo $ONE:$TWO:$THREE"
    result = piped(
        folder,
        "-w",
        "/usr",
        "-e",
        "ONE=a=b c",
        "--env",
        "TWO",
        "-e",
        "THREE=",
        "web",
        "sh",
        "-c",
        script,
        environment={"TWO": "from outside"},
    )
    assert result.stdout == "/usr\na=b c:from outside:\n"
    for wrong in ("NOT_SET_ANYWHERE", "=value"):
        result = piped(folder, "-e", wrong, "web", "env")
        assert (result.returncode, result.stdout) == (2, "")
        assert "Try:" in result.stderr


def test_a_paused_container(engine: Engine, container: Container, folder: Path):
    engine.api.pause(container.id)
    result = piped(folder, "web", "ls")
    assert (result.returncode, result.stdout) == (125, "")
    assert "web is paused: nothing can run in it" in result.stderr
    assert f"Try: docker unpause {container.name}" in result.stderr


def test_a_container_that_restarts_all_the_time(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service]
):
    stack = make_stack(service := sleeper(command=("false",), restart="always"))
    run(engine, stack, service)

    def refusal() -> str:
        try:
            running_container(engine, stack.project, "web", None)
        except NotRunning as error:
            return "" if error.can_be_started else error.message
        return ""

    wait_until(lambda: "web is restarting: it ended" in refusal(), "it waits for its next start")


# A program that does nothing but wait, for an image that holds nothing else.
MACHINE_CODE = {
    "x86_64": (62, "b822000000 0f05 ebf7"),  # pause, again and again
    "aarch64": (183, "000080d2 010080d2 020080d2 030080d2 280980d2 010000d4 faffff17"),  # ppoll
}


def waiting_program() -> bytes:
    machine, code = MACHINE_CODE[platform.machine()]
    code_bytes = bytes.fromhex(code)
    base = 0x400000
    size = 64 + 56 + len(code_bytes)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, base + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 4096) + code_bytes


@pytest.fixture
def scratch_image(engine: Engine, project: str, tmp_path: Path) -> str:
    """An image of one static program, without a shell."""
    path = tmp_path / "scratch.tar"
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("wait")
        entry.mode, entry.size = 0o755, len(waiting_program())
        archive.addfile(entry, io.BytesIO(waiting_program()))
    engine.api.import_image(
        src=str(path), repository=project, tag="scratch", changes=[f"LABEL {PROJECT}={project}"]
    )
    return f"{project}:scratch"


@pytest.mark.skipif(platform.machine() not in MACHINE_CODE, reason="no program for this machine")
def test_an_image_without_a_shell(
    engine: Engine,
    make_stack: Callable[..., Stack],
    sleeper: Callable[..., Service],
    folder: Path,
    scratch_image: str,
):
    service = sleeper(image=scratch_image, command=("/wait",), init=False)
    run(engine, make_stack(service), service)
    for arguments in ([], ["-u", "1"]):
        result = piped(folder, *arguments, "web")
        assert (result.returncode, result.stdout) == (127, "")
        assert (
            f"web has no shell: there is neither bash nor sh in its image {scratch_image}"
            in result.stderr
        )
        assert "Try: owctl shell web PROGRAM" in result.stderr
    with terminal(folder, "web") as shown:
        shown.expect("web has no shell")
        assert shown.exit_code() == 127
    result = piped(folder, "web", "sh")
    assert (result.returncode, result.stdout) == (127, "")
    assert "Cannot run 'sh' in web: the container has no such program" in result.stderr


def test_a_reader_that_has_seen_enough(container: Container, folder: Path):
    script = f"{' '.join(COMMAND)} web yes | head -1; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (141, "y\n", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_without_a_place_for_output(container: Container, folder: Path, closed: str):
    script = f"{' '.join(COMMAND)} web sh -c 'echo out; echo err >&2; exit 3' {closed}"
    result = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 3
    assert (result.stdout + result.stderr).split() == ["err" if closed == ">&-" else "out"]


def test_an_option_behind_the_service_is_told_its_place(container: Container, folder: Path):
    result = piped(folder, "web", "--user", "nobody", "id")
    assert (result.returncode, result.stdout) == (127, "")
    assert "'--user' stands behind the service" in result.stderr
    assert "Try: owctl shell --user … web, for an option of owctl" in result.stderr


def test_without_stdin(container: Container, folder: Path):
    script = f"{' '.join(COMMAND)} web echo works <&-"
    result = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "works\n", "")


def test_what_owctl_cannot_do_is_125(
    engine: Engine,
    container: Container,
    folder: Path,
    make_stack: Callable[..., Stack],
    sleeper: Callable[..., Service],
):
    create(engine, make_stack(sleeper("redis")), sleeper("redis"))
    engine.api.kill(container.id)
    for arguments, text, hint in (
        (["wbe"], "Did you mean web?", ""),
        (["postgres"], "postgres is not running", "owctl start postgres"),
        (["db"], "postgres is not running", "owctl start postgres"),
        (["redis"], "its container is created", "owctl start redis"),
        (["--index", "4", "web"], "web number 4", "one of its numbers: 1"),
        (["web"], "its container is exited", "owctl start web; owctl logs --tail 20 web"),
    ):
        result = piped(folder, *arguments)
        assert (result.returncode, result.stdout) == (125, ""), arguments
        assert text in result.stderr
        assert f"Try: {hint}" in result.stderr
    unreachable = {"DOCKER_HOST": "unix:///no/such.sock"}
    assert piped(folder, "web", environment=unreachable).returncode == 125
    assert piped(folder).returncode == 2
    assert piped(folder, "--no-such-option", "web").returncode == 2


def stand_in(engine: Engine, container: Container, name: str) -> None:
    """Put a program in the container that tells how it was called."""
    script = 'echo "$0 $*"; echo $PGUSER $PGDATABASE $PGPASSWORD$REDISCLI_AUTH; cat'
    write = f"printf '%s\\n' '#!/bin/sh' '{script}' > /usr/bin/{name}; chmod +x /usr/bin/{name}"
    identity = engine.api.exec_create(container.id, ["sh", "-c", write])["Id"]
    engine.api.exec_start(identity)


def test_databases_get_their_own_clients(
    engine: Engine,
    make_stack: Callable[..., Stack],
    sleeper: Callable[..., Service],
    folder: Path,
):
    postgres = sleeper(
        "postgres", environment={"POSTGRES_USER": "owner", "POSTGRES_PASSWORD": "s3cret-word"}
    )
    redis = sleeper("redis", command=("sh", "-c", "sleep 600 #", "--requirepass", "hush-hush"))
    stack = make_stack(postgres, redis)
    stand_in(engine, run(engine, stack, postgres), "psql")
    stand_in(engine, run(engine, stack, redis), "redis-cli")
    result = piped(folder, "db", given="select 1")
    # SQL from a file or a pipe stops at the first error.
    assert (
        result.stdout
        == "/usr/bin/psql -X -v ON_ERROR_STOP=1 -f -\nowner owner s3cret-word\nselect 1"
    )
    with terminal(folder, "-e", "PGUSER=other", "db") as shown:
        shown.expect("/usr/bin/psql \r\nother owner s3cret-word")
    result = piped(folder, "redis", given="PING")
    assert result.stdout == "/usr/bin/redis-cli \nhush-hush\nPING"
