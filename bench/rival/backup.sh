#!/bin/bash
# The pipes that an administrator would type: the dump, then the files, each compressed on the host.
# With "check" everything is read back, too. Usage: backup.sh PREFIX FOLDER [check]
set -euo pipefail
prefix=$1 folder=$2 check=${3:-}
docker exec "$prefix-postgres" pg_dump -U open_webui -Fc -Z0 open_webui | zstd -q -3 -T0 -o "$folder/postgres.dump.zst"
docker exec "$prefix-rust-backend" tar -C /app/data -cf - . | zstd -q -3 -T0 -o "$folder/files.tar.zst"
[ "$check" = check ] || exit 0
(cd "$folder" && sha256sum ./*.zst >SHA256SUMS && sha256sum --quiet -c SHA256SUMS)
zstd -q -d -c "$folder/postgres.dump.zst" | docker exec -i "$prefix-postgres" sh -c 'pg_restore --list >/dev/null; cat >/dev/null'
zstd -q -d -c "$folder/files.tar.zst" | tar -tf - >/dev/null
