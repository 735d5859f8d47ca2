"""Why a container is not running: its exit code, memory, health log and last words."""

from typing import TYPE_CHECKING

from owctl.errors import OwctlError

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container

LOG_LINES = 20

# Exit codes with a meaning of their own: 128 + signal number, and the shell's two.
MEANINGS = {
    126: "its command is not executable",
    127: "its command was not found",
    137: "killed (SIGKILL)",
    139: "it crashed (SIGSEGV)",
    143: "ended by SIGTERM",
}


def how_it_ended(container: "Container") -> str:
    """Return one clause, such as ``exited with code 1``."""
    if container.oom_killed:
        return "was killed because it ran out of memory"
    if container.error:
        return f"could not run: {container.error}"
    if container.exit_code is None:
        return f"is {container.state}"
    meaning = MEANINGS.get(container.exit_code)
    return f"exited with code {container.exit_code}" + (f" ({meaning})" if meaning else "")


def last_words(engine: "Engine", container: "Container", lines: int = LOG_LINES) -> list[str]:
    """Return the container's last log lines, under a heading; empty without any.

    The evidence must not hide the failure: where the log cannot be read, it says so instead.
    """
    from owctl.engine.logs import stream_logs
    from owctl.environment.masking import harmless_text

    try:
        stream = stream_logs(
            engine,
            container.id,
            tty=container.tty,
            follow=False,
            tail=lines,
            since=None,
            until=None,
        )
        found = [harmless_text(line.message) for line in stream]
    except OwctlError as error:
        return [f"(its log could not be read: {error.message})"]
    if not found:
        return ["(it wrote nothing to its log)"]
    heading = f"last {len(found)} log lines:" if len(found) > 1 else "its only log line:"
    return [heading, *(f"  {line}" for line in found)]
