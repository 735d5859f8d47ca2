"""The database in a backup: what pg_dump writes becomes a member, which pg_restore is shown."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from owctl.backup.encryption import Encryption, Identity
from owctl.backup.manifest import Member
from owctl.backup.member_file import MemberContent, MemberFile
from owctl.backup.verify import dump_head
from owctl.engine.execution import run
from owctl.errors import BackupInvalid
from owctl.postgres.dump import DatabaseSnapshot
from owctl.postgres.psql import Server, last_lines

MEMBER_NAME = "postgres.dump.zst"


def store_dump(
    database: DatabaseSnapshot,
    folder: Path,
    on_bytes: Callable[[int], None],
    encryption: Encryption | None = None,
) -> Member:
    """Write the dump into ``folder``, and count the rows of every table meanwhile."""
    with (
        MemberFile(folder, MEMBER_NAME, on_bytes=on_bytes, encryption=encryption) as file,
        closing(database.dump()) as pieces,
    ):
        for data in pieces:
            file.write(data)
        stored = file.finish()
    service = database.server.container.service
    return stored.member("database", **database.about, service=service, rows=database.rows())


def check_with_pg_restore(
    server: Server, folder: Path, member: Member, identities: Sequence[Identity] = ()
) -> None:
    """Have the container's pg_restore list the dump in ``folder``; raises BackupInvalid."""
    with MemberContent(folder, member, identities=identities) as content:
        head = dump_head(content)
    argv = ["pg_restore", "-l"]
    listing = run(server.engine, server.container.id, argv, stdin=head, timeout_seconds=60)
    if listing.exit_code:
        raise BackupInvalid(
            f"{MEMBER_NAME}: pg_restore cannot read it.", details=last_lines(listing.stderr)
        )
