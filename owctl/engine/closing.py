"""What every stream from the engine is: closed when its ``with`` block is left."""

from types import TracebackType
from typing import Self


class Closing:
    """A context manager that closes itself; a subclass says how in ``close``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; also from another thread."""
        raise NotImplementedError
