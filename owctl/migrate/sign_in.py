"""Who can sign in afterwards: foretold from the source, and read from the database once it is loaded."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from owctl.migrate import accounts
from owctl.migrate.mapping import references_of
from owctl.migrate.model import Options
from owctl.migrate.passwords import FILE_NAME, Choice, Passwords, count, read_passwords
from owctl.migrate.source import Source

if TYPE_CHECKING:
    import psycopg


def foretell(source: Source, options: Options | None, choice: Choice) -> Passwords:
    """Return who will be able to sign in; ``options`` None: what the target takes is not known yet.

    Accounts that the target will not get are not counted, nor are passwords of such accounts.
    """
    people, holders = accounts.ids_of(source, "user"), accounts.ids_of(source, "auth")
    users, auths = set(people), set(holders)
    if options is not None and "user" in options.target_columns:
        references = references_of(source, options)
        users = {key.decode() for key in references.ids("user")}
        auths = {key.decode() for key in references.ids("auth")}
    found = (each for each in accounts.accounts_of(source) if each.id in users & auths)
    strays = sum(1 for key in holders if key not in users)
    return count(found, choice, None, without=len(users - auths), strays=strays)


def read_back(
    connection: "psycopg.Connection[tuple[Any, ...]]", choice: Choice, folder: Path, strays: int
) -> Passwords:
    """Return who can sign in, by what the loaded database has; ``strays`` is known from the load."""
    known = read_passwords(folder / FILE_NAME) if choice == "one-time" else {}
    found = list(accounts.accounts_in(connection))
    given = [each for each in found if each.id in known]
    others = count((each for each in found if each.id not in known), "keep", None)
    return Passwords(
        {},
        one_time=len(given),
        kept=others.kept,
        locked_out=others.locked_out,
        inactive=others.inactive,
        without=accounts.count_without_password(connection),
        strays=strays,
        path=folder / FILE_NAME if given else None,
    )


def document(made: Passwords, choice: Choice) -> dict[str, Any]:
    """Return the part of a report."""
    return {
        "choice": choice,
        "one_time": made.one_time,
        "kept": made.kept,
        "locked_out": made.locked_out,
        "inactive": made.inactive,
        "without_password": made.without,
        "passwords_without_account": made.strays,
        "path": str(made.path) if made.path else None,
        "lines": made.lines(),
    }
