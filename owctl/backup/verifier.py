"""Verifying members in the background while the next ones are written, or not at all."""

import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from owctl.backup.encryption import Identity
from owctl.backup.events import MemberProgress, Receiver
from owctl.backup.manifest import Member
from owctl.backup.verify import verify_member


class NoVerifier:
    """Stands in for the verifier where nothing is to be read back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def submit(self, member: Member, also: Callable[[], None] | None = None) -> None:
        """Let a member pass."""

    def finish(self) -> None:
        """Have nothing to wait for."""


class BackgroundVerifier:
    """Reads members of ``folder`` back, one after the other, in a thread of its own.

    A context manager: leaving it with an error stops the thread at once. ``finish`` waits and
    raises the first error (BackupInvalid).
    """

    def __init__(
        self, folder: Path, receive: Receiver, identities: Sequence[Identity] = ()
    ) -> None:
        self._identities = identities
        self._folder = folder
        self._receive = receive
        self._queue: queue.SimpleQueue[tuple[Member, Callable[[], None] | None] | None] = (
            queue.SimpleQueue()
        )
        self._cancelled = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="owctl-backup-verifier")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._cancelled.set()
        self._queue.put(None)
        self._thread.join()

    def submit(self, member: Member, also: Callable[[], None] | None = None) -> None:
        """Have a member verified, by ``also`` as well; raises what an earlier one brought to light."""
        self._raise()
        self._queue.put((member, also))

    def finish(self) -> None:
        """Wait until all that was submitted is verified; raises BackupInvalid."""
        self._queue.put(None)
        self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (item := self._queue.get()) is not None and not self._cancelled.is_set():
            member, also = item
            self._receive(MemberProgress(member.name, "verifying", 0))
            try:
                verify_member(
                    self._folder,
                    member,
                    identities=self._identities,
                    cancelled=self._cancelled.is_set,
                )
                if also is not None:
                    also()
            except BaseException as error:  # noqa: BLE001  # handed to the thread that waits
                self._error = error
                return
            self._receive(MemberProgress(member.name, "verified", member.content_size_bytes))
