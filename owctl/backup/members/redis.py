"""Redis: has it write its data out, so that the volume that is archived next holds all of it."""

import time

from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.execution import run
from owctl.errors import OwctlError
from owctl.health.credentials import redis_password

_WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.05


def write_out(engine: Engine, container: Container) -> None:
    """Rewrite the append-only file where there is one, else save the snapshot; wait for the end.

    Raises OwctlError if Redis refuses, fails, or takes longer than two minutes.
    """
    append_only = _persistence(engine, container).get("aof_enabled") == "1"
    running = "aof_rewrite_in_progress" if append_only else "rdb_bgsave_in_progress"
    scheduled = "aof_rewrite_scheduled" if append_only else running
    outcome = "aof_last_bgrewrite_status" if append_only else "rdb_last_bgsave_status"
    deadline = time.monotonic() + _WAIT_SECONDS

    def wait() -> dict[str, str]:
        while True:
            now = _persistence(engine, container)
            if now.get(running, "0") == "0" and now.get(scheduled, "0") == "0":
                return now
            if time.monotonic() > deadline:
                raise _failed(container, f"it was not done in {_WAIT_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    # One that is under way may have begun before the last changes.
    wait()
    answer = _ask(engine, container, "BGREWRITEAOF" if append_only else "BGSAVE")
    if "started" not in answer and "scheduled" not in answer:
        raise _failed(container, answer)
    result = wait().get(outcome)
    if result != "ok":
        raise _failed(container, f"{outcome} is {result}")


def _persistence(engine: Engine, container: Container) -> dict[str, str]:
    lines = _ask(engine, container, "INFO", "persistence").splitlines()
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name: value.strip() for name, _, value in pairs}


def _ask(engine: Engine, container: Container, *command: str) -> str:
    config = container.raw.get("Config") or {}
    words = (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))
    password = redis_password(container.environment, words)
    answer = run(
        engine,
        container.id,
        ["redis-cli", "--raw", *command],
        environment={"REDISCLI_AUTH": password} if password else None,
        timeout_seconds=60,
    )
    text = answer.stdout.decode("utf-8", "replace").strip()
    if answer.exit_code or text.startswith(("NOAUTH", "ERR", "WRONGPASS", "NOPERM")):
        raise _failed(container, text or answer.stderr.decode("utf-8", "replace").strip())
    return text


def _failed(container: Container, why: str) -> OwctlError:
    return OwctlError(
        f"Redis in {container.name} cannot write its data out: {why}.",
        hint=f"owctl logs {container.service}",
    )
