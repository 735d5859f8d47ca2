"""How reading a backup back looks on the screen."""

from owctl.backup.events import BackupEvent, BackupWarning, MemberProgress, Receiver
from owctl.ui.console import Console
from owctl.ui.progress import Progress


def progress_receiver(progress: Progress, console: Console) -> Receiver:
    """Return what draws a row for each member."""
    from owctl.backup.space import readable

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
    from owctl.backup.space import readable

    def receive(event: BackupEvent) -> None:
        if isinstance(event, BackupWarning):
            console.warn(event.text)
        elif isinstance(event, MemberProgress) and event.stage == "verifying":
            done = f": {readable(event.done_bytes)}" if event.done_bytes else ""
            progress.update(subject, "working", f"verifying {event.member}{done}")

    return receive
