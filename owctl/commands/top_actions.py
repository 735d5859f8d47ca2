"""What `owctl top` does to a service: other runs of owctl, so that they do what these always do."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from owctl.context import Context

if TYPE_CHECKING:
    from owctl.commands.top_rows import Row

# owctl itself failed, or what it was to run is not there: what it says must be read before it goes.
FAILED_TO_RUN = (125, 126, 127)
END_PATIENCE_SECONDS = 5


def own_command(context: Context, *words: str) -> list[str]:
    """Return the command line of owctl with the global options of this one."""
    flags = context.flags
    options = ["--no-color"] if context.console.color is False else []
    if flags.project_dir is not None:
        options += ["-C", str(flags.project_dir)]
    for option, values in (
        ("-f", flags.files),
        ("--env-file", flags.environment_files),
        ("--profile", flags.profiles),
    ):
        options += [word for value in values for word in (option, str(value))]
    if flags.project_name:
        options += ["-p", flags.project_name]
    if flags.context:
        options += ["--context", flags.context]
    # Without -P the folder that one stands in would be searched for modules.
    return [sys.executable, "-P", "-m", "owctl", *options, *words]


class Restart:
    """`owctl restart` of a service, under way; ``on_end`` is called from a thread.

    It is no part of the terminal's job: it goes on when the screen is left.
    """

    def __init__(self, context: Context, service: str, on_end: Callable[[], None]) -> None:
        self.service = service
        self._began = time.monotonic()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # open for as long as it runs
        self._process = subprocess.Popen(
            own_command(context, "-q", "--no-color", "restart", "--", service),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,
        )
        threading.Thread(
            target=self._wait, args=(on_end,), name="owctl-restart", daemon=True
        ).start()

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self._began

    def outcome(self) -> tuple[bool, str] | None:
        """Return whether it went well and what to say of it, None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        if code == 0:
            return True, f"{self.service} was restarted in {self.seconds:.1f} s."
        self._said.seek(0)
        said = self._said.read().decode("utf-8", "replace")
        words = " ".join(said[max(0, said.find("Error: ")) :].split())
        return False, words or f"owctl restart {self.service} ended with {code}."

    def _wait(self, on_end: Callable[[], None]) -> None:
        self._process.wait()
        on_end()


def run_shell(context: Context, row: "Row") -> None:
    """Run `owctl shell` on this terminal until it ends; the screen must be suspended."""
    words = ["shell", *(["--index", str(row.number)] if row.number else []), row.service]
    print_line(f"{row.name}: exit or Ctrl-D leads back to owctl top")
    process = subprocess.Popen(own_command(context, *words))
    try:
        code = process.wait()
    except BaseException:
        # Killed outright, it would leave the terminal raw.
        process.terminate()
        try:
            process.wait(END_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    if code in FAILED_TO_RUN:
        print_line("Press Enter to go back to owctl top.")
        sys.stdin.readline()


def print_line(text: str) -> None:
    """Print a line on the terminal, past whatever is buffered."""
    os.write(sys.stdout.fileno(), f"{text}\n".encode())
