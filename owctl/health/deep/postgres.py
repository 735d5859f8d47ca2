"""Signs in to PostgreSQL as the application does, and queries.

With the container's own psql, so that it works on any engine, also one on another machine. It
connects to the container's own address: there the server demands the password, which it does not on
127.0.0.1. The password never leaves the container: its environment has it already.
"""

import math

from owctl.errors import TimedOut
from owctl.health.deep.subject import Skipped, Subject
from owctl.health.result import ProbeResult, printable

_QUERY = (
    "select current_setting('server_version'), count(*) from pg_catalog.pg_class c "
    "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
    "where c.relkind in ('r', 'p') and n.nspname not like 'pg\\_%' "
    "and n.nspname <> 'information_schema'"
)
# $1 host, $2 port, $3 seconds, $4 the query.
_SCRIPT = """\
command -v psql >/dev/null || exit 127
user=${POSTGRES_USER:-postgres}
PGPASSWORD=${POSTGRES_PASSWORD:-}
if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); fi
if [ -z "$PGPASSWORD" ]; then unset PGPASSWORD; else export PGPASSWORD; fi
export PGCONNECT_TIMEOUT="$3" PGOPTIONS="-c statement_timeout=$3s -c lc_messages=C" LC_ALL=C
exec psql -X -w -q -A -t -F ' ' -h "$1" -p "$2" -U "$user" -d "${POSTGRES_DB:-$user}" -c "$4"
"""
_NOT_FOUND = (126, 127)


def sign_in_and_query(subject: Subject) -> ProbeResult:
    """Return healthy with the server's version and its number of tables, else what it said.

    Raises EngineError where the engine cannot run the command, Skipped without a psql.
    """
    from owctl.engine.execution import run

    host = next(filter(None, subject.container.networks.values()), "127.0.0.1")
    seconds = str(max(2, math.ceil(subject.timeout_seconds)))
    script = ("sh", "-c", _SCRIPT, "sh", host, str(subject.probe.port), seconds, _QUERY)
    try:
        ended = run(
            subject.engine, subject.container.id, script, timeout_seconds=subject.timeout_seconds
        )
    except TimedOut:
        return ProbeResult(
            "unhealthy", f"no answer to a query within {subject.timeout_seconds:g} s"
        )
    if ended.exit_code in _NOT_FOUND:
        raise Skipped("there is no psql in its image")
    if ended.exit_code != 0:
        return ProbeResult("unhealthy", explain(printable(ended.stderr, 400)))
    version, _, tables = ended.stdout.decode("utf-8", "replace").strip().partition(" ")
    count, _, rest = (tables.rpartition(" ")[2] or "?").partition("\n")
    if not count.isdecimal() or rest:
        return ProbeResult("unhealthy", f"psql answered {printable(ended.stdout, 60)!r}")
    noun = "table" if count == "1" else "tables"
    return ProbeResult("healthy", f"signed in, PostgreSQL {version}, {count} {noun}")


def explain(stderr: str) -> str:
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
