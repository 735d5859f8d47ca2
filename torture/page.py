"""docs/reliability.md: what was done to owctl, and what came of it."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime

from owctl import __version__
from torture.report import Tally

_HEAD = """\
# Reliability

What is done to owctl, and what held. Made by `make torture`, which writes this page: do not edit it, but for the section
"Found elsewhere, tried here", which it keeps. A short run of the same scenarios is part of `make test`.

The stack is a real PostgreSQL, Redis and backend with files of every kind (links, odd owners, modes and times). After
every single run these must hold, or the whole stops:

- **No false word.** What is named as a backup reads back whole; "Backup created" was said of nothing else. What could not be
  done ended with an exit code other than 0 and a way out.
- **Nothing lost.** Earlier backups are the same, byte for byte. The stack's rows, files (content, owner, mode, times, links) and
  Redis keys are exactly those from before, or exactly those of the backup: never a mixture.
- **Usable.** Every service answers again after `owctl start`, or after `owctl restore resume` or `undo` where a restore was
  cut off. No session, no container, no folder, no database of the killed run is left.
"""


# From here on the page is written by hand.
_BY_HAND = "\n## Found elsewhere, tried here\n"


def render(tallies: Sequence[Tally], seed: int, seconds: float, before: str) -> str:
    """Return the page as Markdown; what was written by hand in the page ``before`` stays."""
    runs, killed = sum(t.runs for t in tallies), sum(t.killed for t in tallies)
    engine = _said("docker", "version", "--format", "{{.Server.Version}}")
    commit = _said("git", "describe", "--always", "--dirty")
    rows = [
        f"| {t.subject} | {t.scenario} | {t.runs} | {t.killed} | {t.summary} |" for t in tallies
    ]
    lines = [
        _HEAD,
        f"Run of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {seconds / 60:.0f} min, seed {seed}: owctl "
        f"{__version__} ({commit}), Docker Engine {engine}, Linux {platform.release()}, "
        f"{os.cpu_count()} CPUs.",
        "",
        f"**{runs} runs, {killed} of them ended by SIGKILL; all that must hold did.**",
        "",
        "| what | what was done to it | runs | killed | what came of it |",
        "|---|---|---:|---:|---|",
        *rows,
    ]
    _, heading, by_hand = before.partition(_BY_HAND)
    return "\n".join(lines) + "\n" + heading + by_hand


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()
