"""Telling somebody how a backup ended: a command of the user's, and an HTTP address that is asked."""

import os
import signal
import subprocess
import urllib.parse
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from owctl.errors import UsageError
from owctl.network import Deadline

COMMAND_SECONDS = 60.0
PING_SECONDS = 10.0
_LARGEST_BODY_BYTES = 10_000
_MOST_REDIRECTS = 10
_STDERR = 2
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
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

    Success is a GET, a failure a POST with the text as its body. ``timeout_seconds`` is for all of it, redirections
    included, which are followed to other addresses of HTTP and HTTPS.
    """
    from owctl.http_client import HttpClient, NotHttpError, read_body

    parts = urllib.parse.urlsplit(url)
    method, body = "GET", None
    if failure is not None:
        parts = parts._replace(path=parts.path.rstrip("/") + "/fail")
        method, body = "POST", failure.encode("utf-8", "replace")[:_LARGEST_BODY_BYTES]
    host = parts.hostname or ""
    address = urllib.parse.urlunsplit(parts._replace(fragment=""))
    with closing(HttpClient(Deadline(timeout_seconds), proxies=True)) as client:
        try:
            with client.answer(
                method, address, headers=_TEXT, content=body, redirects=_MOST_REDIRECTS
            ) as answer:
                read_body(answer, _LARGEST_BODY_BYTES)
        except TimeoutError:
            return f"{host} gave no complete answer within {timeout_seconds:g} s"
        except (OSError, ValueError, NotHttpError) as error:
            # The text of an error may hold the address, and that is often a secret.
            words = getattr(error, "strerror", None) or type(error).__name__
            return f"{host} cannot be asked: {words}"
    return None if answer.is_success else f"{host} answered {answer.status_code}"


def _shell(environ: Mapping[str, str]) -> str:
    """Return the user's shell; /bin/sh where they have none to speak of, as in a timer."""
    shell = environ.get("SHELL") or ""
    path = Path(shell)
    usable = path.is_absolute() and path.name not in _NO_SHELLS and os.access(path, os.X_OK)
    return shell if usable else "/bin/sh"
