"""docker-py, loaded without what owctl never uses of it."""

import sys

_SSH = "docker.transport.sshconn"


def import_docker() -> None:
    """Import the package, for the first time or again.

    Where paramiko is installed, which an extra of owctl brings, docker-py loads it for addresses of its
    own kind of ssh, and that takes as long as all the rest. Here such an engine is behind a socket
    file (``ssh_tunnel``), so that part is said not to be there, which docker-py allows for.
    """
    if "docker" not in sys.modules:
        sys.modules[_SSH] = None  # type: ignore[assignment]  # what makes its import fail
    try:
        import docker  # noqa: F401
    finally:
        if _SSH in sys.modules and sys.modules[_SSH] is None:
            del sys.modules[_SSH]
