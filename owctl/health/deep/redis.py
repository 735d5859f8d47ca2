"""Writes, reads and deletes a key of its own in Redis.

Over our own connection where the server can be reached, else with the container's redis-cli. The
key is random and expires by itself, should owctl be stopped in between.
"""

import secrets

from owctl.errors import TimedOut
from owctl.health import target
from owctl.health.deep.subject import Skipped, Subject
from owctl.health.redis import command, sign_in
from owctl.health.result import ProbeResult, printable
from owctl.health.wire import Wire, WrongProtocolError, converse

KEY_PREFIX = "owctl:health:"
EXPIRES_SECONDS = 30
_DONE = "SET, GET and DEL of a key"
_ADVICE = {
    "NOAUTH": "the stack has no password for it; set REDIS_PASSWORD",
    "WRONGPASS": "the server was started with another password than the stack's",
    "NOPERM": "the user may not write",
    "READONLY": "it is a replica, or lost its role; look at INFO replication",
    "MISCONF": "it cannot save to its disk; look for a full disk",
    "OOM": "its memory limit is reached; raise maxmemory or REDIS_MEMORY",
    "LOADING": "it still reads its data; ask again in a moment",
}


def set_get_delete(subject: Subject) -> ProbeResult:
    """Return healthy if a value comes back as it was written; raises Skipped, EngineError."""
    password = target.redis_password(
        subject.environment, target.command_of(subject.service, subject.container)
    )
    if subject.found_address is None:
        return _through_client(subject, password)
    address = subject.address
    return converse(
        address.host,
        address.port,
        subject.timeout_seconds,
        lambda wire: exchange(wire, password),
        address.through,
    )


def exchange(wire: Wire, password: str | None) -> ProbeResult:
    """Do it over a connected wire."""
    note, refusal = sign_in(wire, password)
    if refusal is not None:
        # To the application a server that refuses its password is down.
        return ProbeResult("unhealthy", refusal.detail)
    key, value = _fresh()
    steps = (
        (command(b"SET", key, value, b"EX", b"%d" % EXPIRES_SECONDS), "+OK"),
        (command(b"GET", key), None),
        (command(b"DEL", key), ":1"),
    )
    for request, expected in steps:
        wire.send(request)
        reply = _bulk(wire) if expected is None else _line(wire)
        if reply.startswith("-"):
            return ProbeResult("unhealthy", explain(reply[1:]))
        if reply != (expected or "$" + value.decode()):
            return ProbeResult("unhealthy", _differs(request, reply))
    return ProbeResult("healthy", _DONE + note)


def _differs(request: bytes, reply: str) -> str:
    name = request.split(b"\r\n")[2].decode()
    return f"answered {name} with {printable(reply, 40)!r}: something else changes its keys"


def _line(wire: Wire) -> str:
    """Return a reply of one line; unlike a probe's it may be a number."""
    line = wire.receive_line(1_000)
    if not line.startswith((b"+", b"-", b":")) or not line.endswith(b"\r\n"):
        raise WrongProtocolError(f"not Redis: answered {printable(repr(line[:40])[1:])}")
    return line.decode("utf-8", "replace").rstrip("\r\n")


def _bulk(wire: Wire) -> str:
    """Return ``$`` and a string, ``$-1`` for none, or an error's line."""
    head = wire.receive_line(1_000).decode("utf-8", "replace").rstrip("\r\n")
    length = head[1:]
    if not head.startswith("$") or not length.isdecimal():
        return head
    if int(length) > 1_000:
        return "a value that is too long"
    return "$" + wire.receive_exactly(int(length) + 2)[:-2].decode("utf-8", "replace")


def _through_client(subject: Subject, password: str | None) -> ProbeResult:
    from owctl.engine.execution import run

    key, value = (word.decode() for word in _fresh())
    commands = f"SET {key} {value} EX {EXPIRES_SECONDS}\nGET {key}\nDEL {key}\n"
    try:
        ended = run(
            subject.engine,
            subject.container.id,
            ("redis-cli", "-p", str(subject.probe.port)),
            # Empty, redis-cli would take it for a password.
            environment={"REDISCLI_AUTH": password} if password else None,
            stdin=commands.encode(),
            timeout_seconds=subject.timeout_seconds,
        )
    except TimedOut:
        return ProbeResult("unhealthy", f"no answer within {subject.timeout_seconds:g} s")
    if ended.exit_code in (126, 127):
        raise Skipped("it cannot be reached from here, and there is no redis-cli in its image")
    lines = [line for line in ended.stdout.decode("utf-8", "replace").splitlines() if line]
    if lines == ["OK", value, "1"]:
        return ProbeResult("healthy", f"{_DONE}, by its own redis-cli")
    said = printable(" ".join(lines) or ended.stderr, 160)
    return ProbeResult("unhealthy", explain(said) or f"redis-cli ended with {ended.exit_code}")


def explain(error: str) -> str:
    """Return an error of the server with what to do about it."""
    text = printable(error, 160)
    for word, advice in _ADVICE.items():
        if word in text:
            return f"{text}: {advice}"
    return text


def _fresh() -> tuple[bytes, bytes]:
    return f"{KEY_PREFIX}{secrets.token_hex(8)}".encode(), secrets.token_hex(8).encode()
