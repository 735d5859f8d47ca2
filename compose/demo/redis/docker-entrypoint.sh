#!/bin/sh
# Runs the given command; redis-server as the user redis, and open to other containers: Debian's build
# otherwise refuses them unless a password is set, which the official image does not.
set -eu

if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then
    set -- redis-server "$@"
fi

if [ "$1" = redis-server ]; then
    if [ "$(id -u)" = 0 ]; then
        find . ! -user redis -exec chown redis {} +
        exec gosu redis "$0" "$@"
    fi
    umask 0077
    exec "$@" --protected-mode no
fi

exec "$@"
