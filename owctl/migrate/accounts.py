"""The accounts: read from the source for the passwords, and from the target for their list."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from owctl.errors import OwctlError
from owctl.migrate.passwords import Account
from owctl.migrate.source import Source, Unreadable

if TYPE_CHECKING:
    import psycopg

_FALSE = (0, b"0", b"false", b"False", b"f", b"")


def accounts_of(source: Source) -> Iterator[Account]:
    """Yield the accounts of the source that have a password, by what ``auth`` and ``user`` say."""
    if not {"auth", "user"} <= set(source.tables):
        return
    people = {
        key: (name, role)
        for key, name, role in _rows(source, "user", ("id", "name", "role"))
        if isinstance(key, bytes)
    }
    for key, email, hashed, active in _rows(source, "auth", ("id", "email", "password", "active")):
        if not isinstance(key, bytes) or key not in people:
            continue
        name, role = people[key]
        yield Account(
            _text(key), _text(email), _text(name), _text(role), active not in _FALSE, _text(hashed)
        )


def accounts_in(connection: "psycopg.Connection[tuple[Any, ...]]") -> Iterator[Account]:
    """Yield the accounts of the target, with their addresses there; without the hashes."""
    rows = connection.execute(
        'SELECT u.id, a.email, u.name, u.role, a.active FROM public."user" u'
        " JOIN public.auth a USING (id) ORDER BY u.role <> 'admin', a.email"
    )
    for key, email, name, role, active in rows:
        yield Account(key, email, name, role, bool(active), "")


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


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)
