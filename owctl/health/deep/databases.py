"""PostgreSQL and Redis used as the application does: signed in to, asked, written to."""

import math
import secrets

from owctl.errors import TimedOut
from owctl.health import target
from owctl.health.deep.subject import Skipped, Subject
from owctl.health.result import ProbeResult, printable
from owctl.health.wire import Wire, WrongProtocolError, command, converse, sign_in
from owctl.postgres.place import Credentials

# -- Signs in to PostgreSQL as the application does, and queries.
# With the container's own psql, so that it works on any engine, also one on another machine. It
# connects to the container's own address: there the server demands the password, which it does not on
# 127.0.0.1. The application's password travels as a variable; the server's own is there already.


_QUERY = (
    "select current_setting('server_version'), count(*) from pg_catalog.pg_class c "
    "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
    "where c.relkind in ('r', 'p') and n.nspname not like 'pg\\_%' "
    "and n.nspname <> 'information_schema'"
)
# $1 host, $2 port, $3 seconds, $4 the query, $5 user and $6 database of the application, if known.
_SCRIPT = """\
command -v psql >/dev/null || exit 127
user=${5:-${POSTGRES_USER:-postgres}}
PGPASSWORD=${POSTGRES_PASSWORD:-}
if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); fi
if [ -n "$5" ]; then PGPASSWORD=$OWCTL_PASSWORD; fi
if [ -z "$PGPASSWORD" ]; then unset PGPASSWORD; else export PGPASSWORD; fi
# Who is not the server's own user may not choose the language of its messages.
options="-c statement_timeout=$3s"
if [ "$user" = "${POSTGRES_USER:-postgres}" ]; then options="$options -c lc_messages=C"; fi
export PGCONNECT_TIMEOUT="$3" PGOPTIONS="$options" LC_ALL=C
exec psql -X -w -q -A -t -F ' ' -h "$1" -p "$2" -U "$user" -d "${6:-${POSTGRES_DB:-$user}}" -c "$4"
"""
_NOT_FOUND = (126, 127)


def sign_in_and_query(subject: Subject) -> ProbeResult:
    """Return healthy with the server's version and its number of tables, else what it said.

    Raises EngineError where the engine cannot run the command, Skipped without a psql.
    """
    from owctl.engine.execution import run

    host = next(filter(None, subject.container.networks.values()), "127.0.0.1")
    seconds = str(max(2, math.ceil(subject.timeout_seconds)))
    login = subject.login or Credentials("", "")
    where = (host, str(subject.probe.port), seconds, _QUERY, login.user, login.database)
    try:
        ended = run(
            subject.engine,
            subject.container.id,
            ("sh", "-c", _SCRIPT, "sh", *where),
            environment={"OWCTL_PASSWORD": login.password},
            timeout_seconds=subject.timeout_seconds,
        )
    except TimedOut:
        return ProbeResult(
            "unhealthy", f"no answer to a query within {subject.timeout_seconds:g} s"
        )
    if ended.exit_code in _NOT_FOUND:
        raise Skipped("there is no psql in its image")
    if ended.exit_code != 0:
        return ProbeResult("unhealthy", explain_postgres(printable(ended.stderr, 400)))
    version, _, tables = ended.stdout.decode("utf-8", "replace").strip().partition(" ")
    count, _, rest = (tables.rpartition(" ")[2] or "?").partition("\n")
    if not count.isdecimal() or rest:
        return ProbeResult("unhealthy", f"psql answered {printable(ended.stdout, 60)!r}")
    noun = "table" if count == "1" else "tables"
    return ProbeResult("healthy", f"signed in, PostgreSQL {version}, {count} {noun}")


def explain_postgres(stderr: str) -> str:
    """Return what psql complained of, without its preface, and what to do about it."""
    what = stderr.partition("FATAL:")[2].strip() or stderr.partition("error:")[2].strip() or stderr
    what = printable(what, 160) or "psql failed and said nothing"
    if "password authentication failed" in what or "no password supplied" in what:
        return (
            f"{what}: the volume was initialised with another password; put that one into .env, "
            "or change it in psql (owctl shell db)"
        )
    if "does not exist" in what:
        return f"{what}: the volume was initialised with other POSTGRES_USER or POSTGRES_DB"
    if "pg_hba.conf" in what:
        return f"{what}: pg_hba.conf in the volume lets no other container in"
    if "too many" in what or "remaining connection slots" in what:
        return f"{what}: the application holds them all; lower DATABASE_POOL_SIZE"
    return what


# -- Writes, reads and deletes a key of its own in Redis.
# Over our own connection where the server can be reached, else with the container's redis-cli. The
# key is random and expires by itself, should owctl be stopped in between.


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
            return ProbeResult("unhealthy", explain_redis(reply[1:]))
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
    return ProbeResult(
        "unhealthy", explain_redis(said) or f"redis-cli ended with {ended.exit_code}"
    )


def explain_redis(error: str) -> str:
    """Return an error of the server with what to do about it."""
    text = printable(error, 160)
    for word, advice in _ADVICE.items():
        if word in text:
            return f"{text}: {advice}"
    return text


def _fresh() -> tuple[bytes, bytes]:
    return f"{KEY_PREFIX}{secrets.token_hex(8)}".encode(), secrets.token_hex(8).encode()
