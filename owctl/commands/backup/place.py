"""What the commands around backups share: the folder, the identity, progress as it is shown."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from owctl.backup.events import BackupEvent, BackupWarning, MemberProgress, Receiver
from owctl.commands.completers import complete_file, complete_folder
from owctl.commands.mutation import WORDS
from owctl.context import Context
from owctl.errors import ConfigurationError
from owctl.figures import rate_text, readable
from owctl.ui.console import Console
from owctl.ui.progress import Progress

if TYPE_CHECKING:
    from owctl.backup.encryption import Identity
    from owctl.lifecycle.plan import StepEvent


# -- ``--identity``: the private keys with which an encrypted backup is read.


identity_option = click.option(
    "--identity",
    "identity_files",
    multiple=True,
    metavar="FILE",
    shell_complete=complete_file,
    help="A private key of age or SSH that decrypts the backup (repeatable).",
)


def given_identities(context: Context, files: tuple[str, ...]) -> "tuple[Identity, ...]":
    """Return the keys in the files that ``--identity`` names; raises ConfigurationError."""
    if not files:
        return ()
    from pathlib import Path

    from owctl.backup.encryption import load_identities

    paths = [context.working_dir / Path(name).expanduser() for name in files]
    return tuple(identity for path in paths for identity in load_identities(path))


# -- Where the backups are that a command means, also for a project whose files are broken.


output_option = click.option(
    "--output",
    metavar="DIR",
    shell_complete=complete_folder,
    help="The folder of the backups.  [default: backups/]",
)


@dataclass(frozen=True, slots=True)
class BackupPlace:
    """A folder of backups. ``project`` is None where no file says what it is called."""

    parent: Path
    project: str | None


def find_place(context: Context, output: str | None) -> BackupPlace:
    """Return where the backups are; a broken compose file is a warning only, as far as it can be.

    Raises ConfigurationError where not even the project's folder can be found.
    """
    from owctl.backup.catalogue import FOLDER_NAME

    named = (context.working_dir / output).resolve() if output else None
    try:
        settings = context.settings
    except ConfigurationError as error:
        if named is None:
            raise
        _warn(context, error)
        return BackupPlace(named, None)
    parent = named or settings.project_dir / FOLDER_NAME
    try:
        return BackupPlace(parent, context.stack.project)
    except ConfigurationError as error:
        _warn(context, error)
        return BackupPlace(parent, settings.project_name)


def _warn(context: Context, error: ConfigurationError) -> None:
    first = f" {error.details[0]}" if error.details else ""
    context.console.warn(f"{error.message}{first}")


# -- How a backup looks while it is made: bytes and rate by member, and services that stand still.


class BackupDisplay:
    """Receives a backup's events and draws them; ``verify`` says whether members are read back."""

    def __init__(self, console: "Console", progress: "Progress", *, verify: bool) -> None:
        self.console = console
        self.progress = progress
        self.verify = verify
        self._began: dict[str, float] = {}
        self._rates: dict[str, str] = {}

    def __call__(self, event: "BackupEvent") -> None:
        """Receive one event."""
        from owctl.backup.events import BackupWarning, MemberProgress

        if isinstance(event, BackupWarning):
            self.console.warn(event.text)
        elif isinstance(event, MemberProgress):
            self._member(event)
        else:
            self._step(event)

    def _member(self, event: "MemberProgress") -> None:

        name, size = event.member, readable(event.done_bytes)
        if event.stage == "writing":
            began = self._began.setdefault(name, time.monotonic())
            rate = self._rate(event.done_bytes, began)
            self.progress.update(
                name, "working", f"writing: {size}{rate}" if event.done_bytes else "writing"
            )
        elif event.stage == "written":
            began = self._began.get(name, time.monotonic())
            self._rates[name] = self._rate(event.done_bytes, began)
            text = "written" if self.verify else f"written, {size}{self._rates[name]}"
            self.progress.update(name, "working" if self.verify else "done", text)
        elif event.stage == "verifying":
            self.progress.update(name, "working", "verifying")
        else:
            rate = self._rates.get(name, "")
            self.progress.update(name, "done", f"verified, {size}{rate}")

    @staticmethod
    def _rate(done_bytes: int, began: float) -> str:
        seconds = time.monotonic() - began
        return rate_text(done_bytes, seconds)

    def _step(self, event: "StepEvent") -> None:
        step = event.step
        if event.phase == "failed":
            self.progress.update(step.subject, "failed", event.detail)
        elif event.phase == "finished" and step.kind in ("stop", "ready", "reach"):
            self.progress.update(step.subject, "done", event.detail)
        elif event.phase == "progress" and step.kind == "ready":
            self.progress.update(step.subject, "working", f"waiting: {event.detail}")
        else:
            self.progress.update(step.subject, "working", WORDS[step.kind])


# -- How reading a backup back looks on the screen.


def progress_receiver(progress: Progress, console: Console) -> Receiver:
    """Return what draws a row for each member."""

    def receive(event: BackupEvent) -> None:
        if isinstance(event, BackupWarning):
            console.warn(event.text)
        elif isinstance(event, MemberProgress):
            size = readable(event.done_bytes)
            if event.stage == "verified":
                progress.update(event.member, "done", f"verified, {size}")
            elif event.stage == "damaged":
                progress.update(event.member, "failed", "damaged")
            else:
                done = f": {size}" if event.done_bytes else ""
                progress.update(event.member, "working", event.stage + done)

    return receive


def one_row_receiver(progress: Progress, console: Console, subject: str) -> Receiver:
    """Return what draws one row for a whole backup, of many: ``subject``. Who calls ends the row."""

    def receive(event: BackupEvent) -> None:
        if isinstance(event, BackupWarning):
            console.warn(event.text)
        elif isinstance(event, MemberProgress) and event.stage == "verifying":
            done = f": {readable(event.done_bytes)}" if event.done_bytes else ""
            progress.update(subject, "working", f"verifying {event.member}{done}")

    return receive
