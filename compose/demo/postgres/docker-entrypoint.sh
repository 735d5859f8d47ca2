#!/bin/bash
# Starts PostgreSQL as the official image does: an empty data folder is initialised from POSTGRES_USER,
# POSTGRES_PASSWORD, POSTGRES_DB and POSTGRES_INITDB_ARGS; a filled one is used as it is.
set -euo pipefail

initialise() {
    if [ -z "${POSTGRES_PASSWORD:-}" ]; then
        echo "The data folder is empty and POSTGRES_PASSWORD is not set: cannot make a database." >&2
        exit 1
    fi
    local user=${POSTGRES_USER:-postgres}
    local database=${POSTGRES_DB:-$user}

    # Through a pipe: on the command line, everybody on the machine could read the password.
    eval 'initdb --username="$user" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD")' \
        '--auth-local=trust --auth-host=scram-sha-256' "${POSTGRES_INITDB_ARGS:-}"
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"

    # Nobody but this script may talk to the server before the database is there: no TCP yet.
    pg_ctl -w -o "-c listen_addresses=''" start
    if [ "$database" != postgres ]; then
        psql -v ON_ERROR_STOP=1 -X --username="$user" --dbname=postgres \
            --set=database="$database" <<<'CREATE DATABASE :"database";'
    fi
    pg_ctl -w -m fast stop
    echo 'PostgreSQL init process complete; ready for start up.'
}

if [ "${1#-}" != "$1" ]; then
    set -- postgres "$@"
fi

if [ "$1" = postgres ] && [ "$(id -u)" = 0 ]; then
    install -d -o postgres -g postgres -m 0700 "$PGDATA"
    install -d -o postgres -g postgres -m 2775 /var/run/postgresql
    find "$PGDATA" ! -user postgres -exec chown postgres:postgres {} +
    exec gosu postgres "$0" "$@"
fi

if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    initialise
fi

exec "$@"
