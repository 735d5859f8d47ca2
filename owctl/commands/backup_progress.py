"""How reading a backup back looks on the screen."""

from owctl.backup.events import BackupEvent, BackupWarning, MemberProgress, Receiver
from owctl.ui.console import Console
from owctl.ui.progress import Progress


def progress_receiver(progress: Progress, console: Console, prefix: str = "") -> Receiver:
    """Return what draws a row for each member; ``prefix`` tells several backups apart."""
    from owctl.backup.space import readable

    def receive(event: BackupEvent) -> None:
        if isinstance(event, BackupWarning):
            console.warn(event.text)
            return
        if isinstance(event, MemberProgress):
            subject, size = prefix + event.member, readable(event.done_bytes)
            if event.stage == "verified":
                progress.update(subject, "done", f"verified, {size}")
            elif event.stage == "damaged":
                progress.update(subject, "failed", "damaged")
            else:
                done = f": {size}" if event.done_bytes else ""
                progress.update(subject, "working", event.stage + done)

    return receive
