"""What ``owctl top`` shows: health, consumption and logs as they come; and what its keys start."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from owctl.context import Context
from owctl.errors import OwctlError
from owctl.observe.sampling import rounds
from owctl.ui.log_text import Safety

if TYPE_CHECKING:
    from owctl.commands.top.rows import Row
    from owctl.health.result import HealthReport
    from owctl.observe.newest_lines import Entry
    from owctl.observe.sampling import Round
    from owctl.ui.top_screen import LogLine


# -- What is asked: a thread for each thing that takes time


HEALTH_INTERVAL_SECONDS = 3.0
PROBE_TIMEOUT_SECONDS = 3.0


class Feeds:
    """The newest answers; ``on_change`` is called, from their threads, when there is another.

    ``trouble`` is what the engine says in place of an answer. ``crash`` is an error that no feed
    knows: whoever looks is to raise it. Threads end with the process; ``stop`` makes them silent.
    """

    def __init__(
        self, context: "Context", interval_seconds: float, on_change: Callable[[], None]
    ) -> None:
        from owctl.observe.newest_lines import NewestLines

        self._context = context
        self._interval_seconds = interval_seconds
        self._on_change = on_change
        self._stopped = threading.Event()
        self.usage: Round | None = None
        self.health: HealthReport | None = None
        self.trouble: OwctlError | None = None
        self.crash: Exception | None = None
        self.logs = NewestLines(context.engine, context.stack.project, None, self._changed)

    def start(self) -> None:
        """Begin to ask."""
        for name, work in (
            ("usage", self._follow_usage),
            ("health", self._follow_health),
            ("logs", self.logs.follow),
        ):
            threading.Thread(
                target=self._guarded, args=(work,), name=f"owctl-top-{name}", daemon=True
            ).start()

    def stop(self) -> None:
        """Let nothing that a thread still meets be of consequence."""
        self._stopped.set()
        self.logs.stop()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # not swallowed: the main thread raises it
            if not self._stopped.is_set():
                self.crash = error
                self._on_change()

    def _follow_usage(self) -> None:
        from owctl.observe.sampling import StatsSampler

        stack = self._context.stack
        names = [name for name, service in stack.services.items() if service.scale > 0]
        with StatsSampler(self._context.engine, stack.project, names, others=True) as sampler:
            for found in rounds(sampler.sample, self._interval_seconds, first_seconds=1.0):
                if self._stopped.is_set():
                    return
                if isinstance(found, OwctlError):
                    self.trouble = found
                else:
                    self.usage, self.trouble = found, None
                self._changed()

    def _follow_health(self) -> None:
        for found in rounds(self._ask_health, HEALTH_INTERVAL_SECONDS):
            if self._stopped.is_set():
                return
            # An engine that does not answer is told once, where the containers are asked for.
            if not isinstance(found, OwctlError):
                self.health = found
                self._changed()

    def _ask_health(self) -> "HealthReport":
        from owctl.engine.containers import list_containers
        from owctl.health.check import check_containers

        context = self._context
        return check_containers(
            context.engine,
            context.stack,
            tuple(context.stack.services.values()),
            list_containers(context.engine, context.stack.project),
            timeout_seconds=PROBE_TIMEOUT_SECONDS,
            # The cheap form: a session every few seconds would fill the log that one looks at.
            gating=True,
        )

    def _changed(self) -> None:
        if not self._stopped.is_set():
            self._on_change()


# -- Log lines


LONGEST_LINE_CHARACTERS = 2000


class ShownLines:
    """Turns entries into lines for the screen. ``colors`` maps a service to its SGR code."""

    def __init__(self, mask: Callable[[bytes], bytes], colors: Mapping[str, str]) -> None:
        self._safety = Safety(mask)
        self._colors = colors
        self._ready: dict[int, LogLine] = {}

    def choose(
        self, entries: Sequence["Entry"], text: str, only: "Row | None"
    ) -> "list[tuple[int, LogLine]]":
        """Return the lines with ``text`` in them, of one container or of all, with their numbers."""
        if entries:
            oldest = entries[0].number
            self._ready = {key: line for key, line in self._ready.items() if key >= oldest}
        wanted = text.lower()
        found = []
        for entry in entries:
            if only is not None and entry.source.service != only.service:
                continue
            line = self._line(entry)
            if not wanted or wanted in line.label.lower() or wanted in line.text.lower():
                found.append((entry.number, line))
        return found

    def _line(self, entry: "Entry") -> "LogLine":
        ready = self._ready.get(entry.number)
        if ready is None:
            ready = self._ready[entry.number] = self._made(entry)
        return ready

    def _made(self, entry: "Entry") -> "LogLine":
        from owctl.ui.top_screen import LogLine

        label = entry.source.label
        color = self._colors.get(entry.source.service, "")
        if entry.line is None:
            return LogLine(label, color, entry.sentence, "italic dim")
        # Masked as a whole before it is cut: half a secret would be shown otherwise.
        _, _, _, written = entry.line
        text = self._safety.plain(written).decode("utf-8", "replace").rstrip("\n")
        return LogLine(label, color, text[:LONGEST_LINE_CHARACTERS])


# -- What is done to a service: other runs of owctl, so that they do what these always do


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
