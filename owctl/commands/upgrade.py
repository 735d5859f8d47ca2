"""``owctl upgrade``: new versions, with a backup first and a way back."""

import click

from owctl.commands.options import (
    dry_run_option,
    format_option,
    lock_wait_option,
    pass_context,
    timeout_option,
    yes_option,
)
from owctl.commands.upgrade_postgres import (
    old_image_option,
    postgres_major_option,
    upgrade_postgres,
)
from owctl.context import Context


@click.command()
@postgres_major_option
@old_image_option
@yes_option
@timeout_option
@dry_run_option
@lock_wait_option
@format_option("table", "json")
@pass_context
def upgrade(
    context: Context,
    postgres_major: str | None,
    old_image: str | None,
    yes: bool,
    timeout_seconds: float,
    dry_run: bool,
    lock_wait_seconds: float,
    output_format: str,
) -> None:
    """Bring the database to another PostgreSQL."""
    upgrade_postgres(
        context,
        postgres_major or "run",
        old_image=old_image,
        yes=yes,
        dry_run=dry_run,
        timeout_seconds=timeout_seconds,
        lock_wait_seconds=lock_wait_seconds,
        output_format=output_format,
    )
