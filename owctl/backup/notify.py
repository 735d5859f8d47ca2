"""Telling somebody how a backup ended: a command of the user's, and an HTTP address that is asked."""

import os
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

from owctl.errors import UsageError

COMMAND_SECONDS = 60.0
PING_SECONDS = 10.0
_LARGEST_BODY_BYTES = 10_000
_STDERR = 2
_NO_SHELLS = ("nologin", "false", "true")


def run_command(
    command: str, environ: Mapping[str, str], timeout_seconds: float = COMMAND_SECONDS
) -> str | None:
    """Run a command line through the user's shell; return what went wrong with it, or None.

    What it prints goes to stderr. ``environ`` is its whole environment. At the end of the time it
    is killed, with all that it started.
    """
    try:
        process = subprocess.Popen(
            [_shell(environ), "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=_STDERR,
            env=dict(environ),
            # A Ctrl-C that ended the backup must not end what tells of it.
            start_new_session=True,
        )
    except OSError as error:
        return f"it cannot be run: {error.strerror or error}"
    try:
        code = process.wait(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        return f"it was not done in {timeout_seconds:g} s and was ended"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return None if code == 0 else f"it ended with exit code {code}"


def check_address(url: str) -> None:
    """Raise UsageError unless the address is one of HTTP or HTTPS."""
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            "--ping takes an address that begins with http:// or https://.",
            hint="owctl backup --ping https://hc-ping.com/YOUR-CHECK",
        )


def ping(url: str, failure: str | None = None, timeout_seconds: float = PING_SECONDS) -> str | None:
    """Tell an address of success, or ``<address>/fail`` of a failure; return why that failed, or None.

    Success is a GET, a failure a POST with the text as its body.
    """
    parts = urllib.parse.urlsplit(url)
    body = None
    if failure is not None:
        parts = parts._replace(path=parts.path.rstrip("/") + "/fail")
        body = failure.encode("utf-8", "replace")[:_LARGEST_BODY_BYTES]
    host = parts.hostname or ""
    request = urllib.request.Request(  # noqa: S310  # the scheme was checked
        urllib.parse.urlunsplit(parts._replace(fragment="")),
        data=body,
        headers={"User-Agent": "owctl", "Content-Type": "text/plain; charset=utf-8"},
    )
    try:
        with _opener().open(request, timeout=timeout_seconds) as answer:
            answer.read(_LARGEST_BODY_BYTES)
    except urllib.error.HTTPError as error:
        error.close()
        return f"{host} answered {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        # The text of an error may hold the address, and that is often a secret.
        reason = getattr(error, "reason", error)
        words = getattr(reason, "strerror", None) or type(reason).__name__
        return f"{host} cannot be asked: {words}"
    return None


def _shell(environ: Mapping[str, str]) -> str:
    """Return the user's shell; /bin/sh where they have none to speak of, as in a timer."""
    shell = environ.get("SHELL") or ""
    path = Path(shell)
    usable = path.is_absolute() and path.name not in _NO_SHELLS and os.access(path, os.X_OK)
    return shell if usable else "/bin/sh"


def _opener() -> urllib.request.OpenerDirector:
    """Return what opens HTTP and HTTPS, and nothing else that a redirection may name."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
