"""A folder for sockets that only this user can enter, and that goes with its owner."""

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

_PREFIX = "owctl-ssh-"
# The path of a socket has to be short, and not every TMPDIR is.
_LONGEST_PARENT = 60
_YOUNG_SECONDS = 60.0


class PrivateFolder:
    """A new folder, mode 0700; ``remove`` it. What killed owctls left of theirs is removed, too."""

    def __init__(self) -> None:
        parent = tempfile.gettempdir()
        short = parent if len(parent) < _LONGEST_PARENT else "/tmp"  # noqa: S108  # mkdtemp is private
        _remove_abandoned(Path(short))
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=short))
        # Held as long as this process lives.
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove the folder with what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._descriptor)


def _remove_abandoned(parent: Path) -> None:
    for path in parent.glob(f"{_PREFIX}*"):
        try:
            status = path.lstat()
            # A young one may not be locked yet.
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _YOUNG_SECONDS:
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            # Its owner lives.
            continue
        finally:
            os.close(descriptor)
