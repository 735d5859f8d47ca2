"""Programs that a test uses beside Python; scripts/test-tools installs them."""

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """Return a program's path; without it the test fails where CI runs, else it is left out."""
    # sshd lies where only root looks.
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        reason = f"needs {name} (Debian: {package}); scripts/test-tools installs it"
        pytest.fail(reason) if os.environ.get("OWCTL_REQUIRE_DOCKER") == "1" else pytest.skip(
            reason
        )
    assert path is not None
    return path
