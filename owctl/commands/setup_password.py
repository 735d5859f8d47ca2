"""``owctl setup --sync-password``: the running database learns the password of ``.env``."""

from typing import TYPE_CHECKING

from owctl.context import Context
from owctl.errors import OwctlError

if TYPE_CHECKING:
    from owctl.compose.model import Service
    from owctl.project.password_sync import Outcome

_SENTENCES: "dict[Outcome, str]" = {
    "unchanged": "The database of {} accepts POSTGRES_PASSWORD already; nothing was changed.",
    "changed": "The database of {} accepts POSTGRES_PASSWORD of .env now: a login with it worked.",
    "would change": "Would make the database of {} accept POSTGRES_PASSWORD of .env.",
}


def synchronise(
    context: Context, *, as_json: bool, dry_run: bool, lock_wait_seconds: float
) -> None:
    """Change the database's password, under the project's lock, and say what was done."""
    from owctl.commands.mutation import mutation
    from owctl.project.ownership import check_owner
    from owctl.project.password_sync import sync_password

    stack, engine = context.stack, context.engine
    service = _database(context)
    if dry_run:
        outcome = sync_password(engine, stack, service, dry_run=True)
    else:
        with mutation(context, "setup --sync-password", lock_wait_seconds):
            check_owner(engine, stack.project, stack.working_dir, adopt=False)
            outcome = sync_password(engine, stack, service)
    if as_json:
        document = {
            "schema": 1,
            "project": stack.project,
            "service": service.name,
            "dry_run": dry_run,
            "password": outcome,
        }
        context.console.json(document)
        return
    context.console.result(_SENTENCES[outcome].format(service.name))
    if outcome == "changed":
        context.console.info("Next: owctl start, which gives the services the same password.")


def _database(context: Context) -> "Service":
    from owctl.health.choice import choose_probe

    for service in context.stack.services.values():
        if choose_probe(service).type == "postgres":
            return service
    raise OwctlError(
        "The stack has no PostgreSQL service.", hint="owctl config shows the stack's services"
    )
