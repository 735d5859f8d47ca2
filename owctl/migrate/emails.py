"""Addresses that several accounts share: the target takes each only once, and in lower case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from owctl.errors import OwctlError
from owctl.migrate.source import Source, Unreadable
from owctl.migrate.text import clean_text
from owctl.migrate.values import integer

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the source: its id, its address as written, when it was last active (seconds)."""

    rowid: int
    id: str
    email: str
    last_active_at: int


def lowercase(email: str) -> str:
    """Return the address as the new backend looks it up."""
    return email.lower()


def duplicate_emails(source: Source) -> dict[str, list[Account]]:
    """Return the addresses (lower case) of more than one account, the account that keeps it first.

    That is the one that was active last; of several, the first in the table.
    """
    accounts: dict[str, list[Account]] = {}
    for account in _accounts(source):
        accounts.setdefault(lowercase(account.email), []).append(account)
    return {
        email: sorted(sharing, key=lambda one: (-one.last_active_at, one.rowid))
        for email, sharing in accounts.items()
        if len(sharing) > 1
    }


def refuse_duplicates(duplicates: Mapping[str, Sequence[Account]]) -> None:
    """Raise OwctlError if there are any, naming them."""
    if not duplicates:
        return
    lines = [
        f"{email}: {', '.join(account.id for account in sharing)}"
        for email, sharing in sorted(duplicates.items())
    ]
    more = [f"… and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    raise OwctlError(
        f"{len(duplicates)} e-mail addresses belong to more than one account; the new database "
        "takes each only once, whatever its case",
        hint="correct them in the old backend, or --on-duplicate-email rename: the account that "
        "was active last keeps the address",
        details=[*lines[:_SHOWN], *more],
    )


def renamed_emails(source: Source) -> dict[str, str]:
    """Return, by user id, the new addresses of those accounts that cannot keep theirs."""
    duplicates = duplicate_emails(source)
    if not duplicates:
        return {}
    taken = {lowercase(account.email) for account in _accounts(source)}
    renamed: dict[str, str] = {}
    for email, sharing in duplicates.items():
        for account in sharing[1:]:
            address = _free_address(email, account.id, taken)
            taken.add(address)
            renamed[account.id] = address
    return renamed


def _free_address(email: str, user_id: str, taken: set[str]) -> str:
    local, at, domain = email.rpartition("@") if "@" in email else (email, "", "")
    plain = "".join(letter for letter in user_id.lower() if letter.isalnum())[:8] or "account"
    address = f"{local}+duplicate-{plain}{at}{domain}"
    number = 2
    while address in taken:
        address = f"{local}+duplicate-{plain}-{number}{at}{domain}"
        number += 1
    return address


def _accounts(source: Source) -> list[Account]:
    if "user" not in source.columns:
        return []
    found: dict[bytes, Account] = {}
    for row in source.rows("user", ("id", "email", "last_active_at")):
        if isinstance(row, Unreadable):
            continue
        rowid, (user_id, email, active) = row
        if user_id is None or email is None:
            continue
        key, address = clean_text(user_id)[0] or b"", clean_text(email)[0] or b""
        # Of several rows with one id the first is the account.
        account = Account(rowid, key.decode(), address.decode(), integer(active)[0] or 0)
        found.setdefault(key, account)
    return list(found.values())
