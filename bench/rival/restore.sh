#!/bin/bash
# What an administrator would type: the dump into a new database in one transaction, with the same
# compression of large values. Nothing is counted, compared or kept. Usage: restore.sh PREFIX DUMP
set -euo pipefail
prefix=$1 dump=$2
psql() { docker exec "$prefix-postgres" psql -q -U open_webui -d postgres -c "$1"; }
psql 'DROP DATABASE IF EXISTS by_hand'
psql 'CREATE DATABASE by_hand TEMPLATE template0'
zstd -q -d -c "$dump" |
  docker exec -i -e PGOPTIONS='-c default_toast_compression=lz4' "$prefix-postgres" \
    pg_restore -U open_webui -d by_hand --single-transaction --no-owner
