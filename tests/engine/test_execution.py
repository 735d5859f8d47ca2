"""Commands in a container: output, input, exit code, and ends that are none."""

import gc
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import engine_helpers
import pytest
from cut_proxy import cut_off_engine

from owctl.compose.model import Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, stop_container
from owctl.engine.execution import open_exec, run
from owctl.errors import EngineError, EngineUnavailable, NotFound, TimedOut

pytestmark = pytest.mark.engine


@pytest.fixture
def container(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service]
) -> Container:
    stack = make_stack(service := sleeper())
    return engine_helpers.run(engine, stack, service)


def test_streams_and_exit_code(engine: Engine, container: Container):
    result = run(engine, container.id, ["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (result.exit_code, result.stdout, result.stderr) == (7, b"out\n", b"err\n")
    assert "out" not in repr(result)


def test_the_environment_is_in_no_argument_list(engine: Engine, container: Container):
    script = 'printf %s "$SECRET"; tr "\\0" " " < /proc/$$/cmdline >&2'
    result = run(engine, container.id, ["sh", "-c", script], environment={"SECRET": "hush"})
    assert result.stdout == b"hush"
    assert b"hush" not in result.stderr


def test_user(engine: Engine, container: Container):
    assert run(engine, container.id, ["id", "-un"], user="nobody").stdout == b"nobody\n"


def test_early_output_is_not_lost(engine: Engine, container: Container):
    for number in range(20):
        result = run(engine, container.id, ["echo", str(number)])
        assert result.stdout == b"%d\n" % number


def test_input_and_output_at_once(engine: Engine, container: Container):
    data = bytes(range(256)) * 20_000
    result = run(engine, container.id, ["cat"], stdin=data)
    assert result.exit_code == 0
    assert result.stdout == data


def test_a_command_that_does_not_read_its_input(engine: Engine, container: Container):
    result = run(engine, container.id, ["sh", "-c", "exit 3"], stdin=b"x" * 3_000_000)
    assert result.exit_code == 3


def test_half_close(engine: Engine, container: Container):
    with open_exec(engine, container.id, ["sh", "-c", "cat; echo after"], stdin=True) as stream:
        stream.write(b"before ")
        stream.close_stdin()
        assert b"".join(data for _, data in stream) == b"before after\n"
        assert stream.exit_code() == 0


def test_much_output_arrives_whole(engine: Engine, container: Container):
    script = "head -c 60000000 /dev/zero | tr '\\0' x; echo end >&2"
    digest, size, errors = hashlib.sha256(), 0, b""
    with open_exec(engine, container.id, ["sh", "-c", script]) as stream:
        for name, data in stream:
            if name == "stderr":
                errors += data
            else:
                digest.update(data)
                size += len(data)
        assert stream.exit_code() == 0
    assert (size, errors) == (60_000_000, b"end\n")
    assert digest.digest() == hashlib.sha256(b"x" * 60_000_000).digest()


def test_a_slow_reader_holds_the_command_back(engine: Engine, container: Container):
    """Backpressure: while nobody reads, the command cannot go on for ever."""
    script = "while head -c 65536 /dev/zero; do echo x >> /tmp/written; done"
    count = ["sh", "-c", "wc -l < /tmp/written"]

    def written() -> int:
        return int(run(engine, container.id, count).stdout or 0)

    with open_exec(engine, container.id, ["sh", "-c", script]) as stream:
        next(iter(stream))
        seen = [-1, 0]

        def stands_still() -> bool:
            seen.append(written())
            return seen[-1] == seen[-2] == seen[-3]

        engine_helpers.wait_until(stands_still, "the command is held back")
        assert 0 < seen[-1] < 1000


def test_a_timeout(engine: Engine, container: Container):
    began = time.monotonic()
    with pytest.raises(TimedOut, match="Cannot run sleep"):
        run(engine, container.id, ["sleep", "30"], timeout_seconds=0.3)
    assert time.monotonic() - began < 5


def test_a_timeout_while_input_is_not_taken(engine: Engine, container: Container):
    with pytest.raises(TimedOut):
        run(engine, container.id, ["sleep", "30"], stdin=b"x" * 3_000_000, timeout_seconds=0.5)


def test_a_command_that_closes_its_output_is_waited_for(engine: Engine, container: Container):
    script = "exec >/dev/null 2>&1; sleep 0.3; exit 5"
    assert run(engine, container.id, ["sh", "-c", script]).exit_code == 5


def test_a_program_that_does_not_exist(engine: Engine, container: Container):
    result = run(engine, container.id, ["no-such-program"])
    assert result.exit_code in (126, 127)
    assert b"no-such-program" in result.stdout + result.stderr


def test_a_container_that_does_not_run(engine: Engine, container: Container):
    stop_container(engine, container.id, 0)
    with pytest.raises(EngineError, match=r"Cannot run true .*not running"):
        run(engine, container.id, ["true"])
    with pytest.raises(NotFound):
        run(engine, "no-such-container", ["true"])


def test_a_container_that_dies_meanwhile(engine: Engine, container: Container):
    with open_exec(engine, container.id, ["sh", "-c", "echo ready; sleep 60"]) as stream:
        output = iter(stream)
        assert next(output) == ("stdout", b"ready\n")
        stop_container(engine, container.id, 0)
        assert list(output) == []
        assert stream.exit_code() != 0


# docker-py leaves a socket to the garbage collector that cannot connect.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_the_engines_death_is_never_an_end(engine: Engine, container: Container, tmp_path: Path):
    with cut_off_engine(engine, tmp_path) as (reached, proxy):
        with open_exec(reached, container.id, ["sh", "-c", "echo ready; sleep 60"]) as stream:
            output = iter(stream)
            assert next(output) == ("stdout", b"ready\n")
            proxy.cut()
            # The end may look good to the socket: the exit code is what cannot be had.
            with pytest.raises(EngineUnavailable):
                [*output, stream.exit_code()]
        with pytest.raises(EngineUnavailable, match="Cannot run true"):
            run(reached, container.id, ["true"])
    gc.collect()


def test_a_terminal_has_one_stream(engine: Engine, container: Container):
    script = "stty size; test -t 0 && echo terminal >&2"
    with open_exec(engine, container.id, ["sh", "-c", script], stdin=True, tty=True) as stream:
        output = list(stream)
        assert stream.exit_code() == 0
    assert {name for name, _ in output} == {"stdout"}
    assert b"terminal" in b"".join(data for _, data in output)
