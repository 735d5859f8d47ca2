"""A folder for what is needed only now, that goes with its owner, at the latest with the next one."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType


class ScratchFolder:
    """A new folder, mode 0700, in ``parent`` (the system's for temporary files); ``remove`` it.

    Its name begins with ``prefix``. What killed owctls left of that prefix is removed first. Raises
    OSError. Also a context manager, of its path.
    """

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        parent = Path(tempfile.gettempdir()) if parent is None else parent
        remove_abandoned(prefix, parent)
        # Locked before it has the name under which others look for what nobody holds.
        unnamed = Path(tempfile.mkdtemp(prefix=f".new-{prefix}", dir=parent))
        self._descriptor = os.open(unnamed, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self.path = parent / unnamed.name.removeprefix(".new-")
            unnamed.rename(self.path)
        except OSError:
            os.close(self._descriptor)
            unnamed.rmdir()
            raise

    def remove(self) -> None:
        """Remove the folder with what is in it; once it is gone, nothing is done."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()


def remove_abandoned(prefix: str, parent: Path) -> None:
    """Remove this user's folders of that prefix that no living process holds."""
    for path in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if path.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
