"""What `backup push` and `backup pull` share: where to, and how a transfer looks."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from owctl.context import Context

if TYPE_CHECKING:
    from owctl.backup.remote.address import Address
    from owctl.backup.remote.events import Receiver, TransferProgress
    from owctl.backup.remote.store import Store
    from owctl.ui.progress import Progress

# Below it a rate says nothing.
_LEAST_SECONDS = 0.2
remote_argument = click.argument("remote", metavar="REMOTE")
host_key_option = click.option(
    "--accept-host-key",
    "host_key",
    metavar="SHA256:…",
    help="The fingerprint of an SSH server that known_hosts does not know.",
)


def parsed(context: Context, remote: str) -> "Address":
    """Return what REMOTE names; call it before the command line is written into the history."""
    from owctl.backup.remote.address import parse_address

    return parse_address(remote, context.working_dir)


@contextmanager
def opened(address: "Address", host_key: str | None) -> "Iterator[Store]":
    """Yield the place at an address."""
    from owctl.backup.remote.store import open_store
    from owctl.interrupts import hear_at_once

    hear_at_once()
    with open_store(address, host_key=host_key) as store:
        yield store


def transfer_receiver(progress: "Progress", subject_prefix: str = "") -> "Receiver":
    """Return what shows events: bytes, and the rate of what goes over the line."""
    from owctl.backup.space import readable

    began: dict[str, float] = {}

    def receive(event: "TransferProgress") -> None:
        subject = subject_prefix + event.member
        if event.stage == "done":
            progress.update(subject, "done", f"{readable(event.size_bytes)}{rate(event)}")
            return
        done = f"{readable(event.done_bytes)} of {readable(event.size_bytes)}"
        progress.update(subject, "working", f"{event.stage}: {done}{rate(event)}")

    def rate(event: "TransferProgress") -> str:
        if not event.moved_bytes:
            return ""
        seconds = time.monotonic() - began.setdefault(event.member, time.monotonic())
        return f", {event.moved_bytes / seconds / 1e6:.1f} MB/s" if seconds > _LEAST_SECONDS else ""

    return receive
