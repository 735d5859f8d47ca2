"""HTTP over a socket file, for clients that are built on requests."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests


def speak_through(session: "requests.Session", path: Path, timeout_seconds: float) -> None:
    """Let a session send all its ``http://`` requests to the server behind a socket file."""
    from docker.transport import UnixHTTPAdapter

    adapter = UnixHTTPAdapter(f"http+unix://{path}", timeout=math.ceil(timeout_seconds))
    session.mount("http://", adapter)
