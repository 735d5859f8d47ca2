"""Connects a real Socket.IO client, by long polling and by websocket."""

import logging
import threading
from typing import Literal

from owctl.engine.transport import speak_through
from owctl.health.deep.subject import Skipped, Subject
from owctl.health.parallel import within
from owctl.health.result import ProbeResult, printable
from owctl.health.target import Address

Transport = Literal["polling", "websocket"]
# How long the server may take to be told that the client leaves; it has proven what it should.
LEAVE_SECONDS = 1.0


def connect(subject: Subject, transport: Transport) -> ProbeResult:
    """Return healthy once the server has accepted a client; raises Skipped."""
    address = subject.address
    seconds = subject.timeout_seconds
    try:
        # The library bounds each request, not the whole.
        within(seconds, lambda: connect_client(address, transport, seconds))
    except ImportError as error:
        raise Skipped(f"{error.name} is not installed") from None
    except TimeoutError:
        return ProbeResult("unhealthy", f"no Socket.IO session within {seconds:g} s")
    except OSError as error:
        return ProbeResult("unhealthy", printable(str(error), 160))
    except Exception as error:  # noqa: BLE001  # what the library makes of a senseless answer
        said = printable(f"{type(error).__name__}: {error}", 120)
        return ProbeResult("unhealthy", f"no Socket.IO server: {said}")
    return ProbeResult("healthy", "connected and left")


def connect_client(address: Address, transport: Transport, timeout_seconds: float) -> None:
    """Connect to the default namespace and disconnect; OSError says what went wrong."""
    import requests
    import socketio  # type: ignore[import-untyped]
    import socketio.exceptions  # type: ignore[import-untyped]
    import websocket  # noqa: F401  # without it the library would fall silent, not fail

    logger = logging.Logger("owctl-socketio")
    logger.disabled = True
    options = {}
    with requests.Session() as session:
        # A stack on this machine is not behind the proxy that the environment names.
        session.trust_env = False
        if address.through is not None:
            speak_through(session, address.through, timeout_seconds)
        if transport == "websocket":
            # Given a connection, the websocket does not ask the environment how to make one.
            options["socket"] = address.connect(timeout_seconds)
        client = socketio.Client(
            reconnection=False,
            logger=logger,
            engineio_logger=logger,
            handle_sigint=False,
            request_timeout=timeout_seconds,
            http_session=session,
            websocket_extra_options=options,
        )
        try:
            client.connect(
                f"http://{address.authority}", transports=[transport], wait_timeout=timeout_seconds
            )
        except socketio.exceptions.ConnectionError as error:
            raise ConnectionError(_reason(error, transport)) from error
        sender = client.eio.write_loop_task
        # In a thread, because by polling it returns when the server has ended the last poll, which
        # older servers do when their next ping is due, half a minute later.
        threading.Thread(target=client.disconnect, name="owctl-socketio", daemon=True).start()
        if sender is not None:
            sender.join(LEAVE_SECONDS)


def _reason(error: BaseException, transport: Transport) -> str:
    words = str(error)
    # The library says "Connection error" and keeps the reason in what it raised that from.
    cause: BaseException | None = error
    while cause is not None:
        words = str(cause) or words
        cause = cause.__cause__ or cause.__context__
    if "namespaces failed" in str(error):
        return "the server refuses clients without a token"
    if transport == "websocket" and "Handshake status" in words:
        status = words.partition("Handshake status ")[2].partition(" -+-+-")[0]
        return f"no upgrade to a websocket: HTTP {status}"
    return words
