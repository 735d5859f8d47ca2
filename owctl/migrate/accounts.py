"""The accounts: read from the source for the passwords, and from the target for their list."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from owctl.errors import OwctlError
from owctl.migrate.passwords import Account
from owctl.migrate.source import Source, Unreadable
from owctl.migrate.text import clean_text
from owctl.migrate.values import Raw, boolean

if TYPE_CHECKING:
    import psycopg


def accounts_of(source: Source) -> Iterator[Account]:
    """Yield the accounts of the source that have a password, by what ``auth`` and ``user`` say."""
    if not {"auth", "user"} <= set(source.tables):
        return
    people = {_text(key): person for key, *person in _rows(source, "user", ("id", "name", "role"))}
    for key, email, hashed, active in _rows(source, "auth", ("id", "email", "password", "active")):
        if _text(key) in people:
            name, role = people[_text(key)]
            yield Account(
                _text(key), _text(email), _text(name), _text(role),
                bool(boolean(active, True)[0]), _text(hashed),
            )  # fmt: skip


def ids_of(source: Source, table: str) -> list[str]:
    """Return the ids of a table's rows, those that cannot be read left out."""
    return [_text(key) for (key,) in _rows(source, table, ("id",))]


def accounts_in(connection: "psycopg.Connection[tuple[Any, ...]]") -> Iterator[Account]:
    """Yield the accounts of the target that have a password, with their addresses there."""
    rows = connection.execute(
        'SELECT u.id, a.email, u.name, u.role, a.active, a.password FROM public."user" u'
        " JOIN public.auth a USING (id) ORDER BY u.role <> 'admin', a.email"
    )
    for key, email, name, role, active, hashed in rows:
        yield Account(key, email, name, role, bool(active), hashed or "")


def count_without_password(connection: "psycopg.Connection[tuple[Any, ...]]") -> int:
    """Return how many accounts of the target have no row in ``auth``."""
    row = connection.execute(
        'SELECT count(*) FROM public."user" u'
        " WHERE NOT EXISTS (SELECT FROM public.auth a WHERE a.id = u.id)"
    ).fetchone()
    return int(row[0]) if row else 0


def find_user(source: Source, email: str) -> str:
    """Return the id of the account with an address; raises OwctlError if there is not one such."""
    wanted = email.strip().lower()
    found = [
        _text(key)
        for key, address in _rows(source, "user", ("id", "email"))
        if _text(address).strip().lower() == wanted
    ]
    if len(found) != 1:
        raise OwctlError(
            f"The source has {len(found)} accounts with the address {email}.",
            hint="--orphans assign:EMAIL, with the address of one account",
        )
    return found[0]


def paths_of(source: Source) -> dict[str, str]:
    """Return the paths of uploaded files by the files' ids, as the source has them."""
    return {_text(key): _text(path) for key, path in _rows(source, "file", ("id", "path"))}


def _rows(source: Source, table: str, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    if not set(columns) <= set(source.columns.get(table, ())):
        return
    for row in source.rows(table, columns):
        if not isinstance(row, Unreadable):
            yield row[1]


def _text(raw: Raw) -> str:
    """Return a value as the target gets it."""
    return (clean_text(raw)[0] or b"").decode()
