"""What the doctor says of an upgrade to another PostgreSQL that was not brought to its end."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from owctl.doctor.finding import Finding
from owctl.errors import OwctlError
from owctl.upgrade.postgres_major_journal import HALF_DONE, read_journal

# By then it is known whether the new one works.
LONG_ENOUGH = timedelta(days=7)


def check_kept(working_dir: Path, now: datetime | None = None) -> Finding | None:
    """Return a finding about an old database that is kept for long, or an upgrade that was cut off.

    None where there is nothing to say.
    """
    try:
        journal = read_journal(working_dir)
    except OwctlError as error:
        return Finding("postgres-version", "failed", error.message.rstrip("."), error.hint)
    if journal is None:
        return None
    if journal.phase in HALF_DONE:
        return Finding(
            "postgres-version",
            "failed",
            f"the {journal.name} was interrupted (phase {journal.phase})",
            "owctl upgrade --postgres-major resume; or undo",
        )
    age = (now or datetime.now(UTC)) - datetime.fromisoformat(journal.started_at)
    if journal.phase == "preparing" or age < LONG_ENOUGH:
        return None
    return Finding(
        "postgres-version",
        "warning",
        f"the database of PostgreSQL {journal.old_major} is still kept in the volume "
        f"{journal.volume}, {age.days} days after the upgrade to {journal.new_major}",
        "owctl upgrade --postgres-major finish, which drops it",
    )
