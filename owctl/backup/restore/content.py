"""What a restore reads a member through."""

from collections.abc import Iterator
from typing import Protocol

from owctl.backup.manifest import Member


class Content(Protocol):
    """A member's content: iterate for it once; ``finish`` tells whether it was what was stored."""

    @property
    def member(self) -> Member:
        """What the manifest says of it."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the content in pieces of bounded size. Raises BackupInvalid."""

    def finish(self) -> None:
        """Raise BackupInvalid unless the whole content was what the manifest says."""
