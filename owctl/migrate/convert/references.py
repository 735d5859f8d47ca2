"""What rows refer to: accounts by id and by email address, and columns that are derived from others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from owctl.errors import OwctlError
from owctl.migrate.convert.access import Access, read_access
from owctl.migrate.convert.column_map import Options
from owctl.migrate.convert.merged import Merged, api_keys, group_members, knowledge_files, readable
from owctl.migrate.convert.values import clean_text, integer, seconds
from owctl.migrate.source.database import Source, Unreadable

# -- Addresses that several accounts share: the target takes each only once, and in lower case.


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


# Why a row stays behind whose user is there in the source, and not in the target.
OWNER_REJECTED = "owner-rejected"


# -- Which ids the target will have, and what rows take from other rows: worked out once a run.
# Nothing here depends on the order in which tables are converted, so that a table can be converted
# again, alone, with the same result.


class References:
    """Answers the questions that a row has about other rows.

    ``ids_of`` converts a table and returns id and rowid of the rows that the target gets.
    """

    def __init__(
        self, source: Source, options: Options, ids_of: Callable[[str], dict[bytes, int]]
    ) -> None:
        self._source = source
        self._options = options
        self._ids_of = ids_of
        self._ids: dict[str, dict[bytes, int]] = {}

    def ids(self, table: str) -> dict[bytes, int]:
        """Return the ids that the target's table will have, each with its source row's rowid."""
        if table not in self._ids:
            known = table in self._source.columns and table in self._options.target_columns
            self._ids[table] = self._ids_of(table) if known else {}
        return self._ids[table]

    def missing(self, table: str, key: bytes) -> tuple[str, str] | None:
        """Return reason and detail if the target will not have the row of that id."""
        if key in self.ids(table):
            return None
        if table == "user":
            return self.without_user(key)
        return f"orphan-{table}", f"its {table} is not in the new database"

    def without_user(self, user_id: bytes | None) -> tuple[str, str]:
        """Return reason and detail for a row whose user the target will not have."""
        name = "nobody" if user_id is None else user_id.decode()
        if user_id is not None and user_id in self._rejected_users:
            return OWNER_REJECTED, f"the account of its owner ({name}) was rejected"
        return "orphan-user", f"its user ({name}) is not in the new database"

    @cached_property
    def _rejected_users(self) -> frozenset[bytes]:
        """The accounts of the source that the target will not have: people who are there."""
        known = set(self.users)
        if any(isinstance(row, Unreadable) for row in self._source.rows("user", ("id",))):
            # An account that cannot be read has its password still: the old backend deletes both.
            rows = readable(self._source, "auth", ("id",))
            known |= {clean_text(raw)[0] or b"" for _, (raw,) in rows}
        return frozenset(known - set(self.ids("user")))

    @cached_property
    def renamed_emails(self) -> dict[str, str]:
        """New addresses by user id, for accounts that cannot keep theirs."""
        return renamed_emails(self._source)

    @cached_property
    def users(self) -> dict[bytes, tuple[bytes | None, int, int]]:
        """(address as in the target, created_at, updated_at) by user id."""
        found: dict[bytes, tuple[bytes | None, int, int]] = {}
        for row in self._source.rows("user", ("id", "email", "created_at", "updated_at")):
            if isinstance(row, Unreadable):
                continue
            raw_id, raw_email, raw_created, raw_updated = row[1]
            user_id, email = clean_text(raw_id)[0] or b"", clean_text(raw_email)[0]
            created, updated = seconds(raw_created)[0], seconds(raw_updated)[0]
            created = created if created is not None else updated or 0
            renamed = self.renamed_emails.get(user_id.decode())
            address = renamed or (email.decode().lower() if email is not None else None)
            found.setdefault(
                user_id,
                (
                    address.encode() if address is not None else None,
                    created,
                    created if updated is None else updated,
                ),
            )
        return found

    @cached_property
    def folder_owners(self) -> dict[bytes, bytes]:
        """The user of each folder that the target gets, by the folder's id."""
        return {folder: owner for folder, (owner, _) in self.folders.items()}

    @cached_property
    def folders(self) -> dict[bytes, tuple[bytes, bytes | None]]:
        """(user, parent as in the source) of each folder that the target gets, by its id."""
        kept, users = self.ids("folder"), self.ids("user")
        heir = (self._options.orphans or "").encode()
        found: dict[bytes, tuple[bytes, bytes | None]] = {}
        if not kept:
            return found
        for row in self._source.rows("folder", ("id", "user_id", "parent_id")):
            if isinstance(row, Unreadable):
                continue
            folder, owner, parent = (clean_text(raw)[0] for raw in row[1])
            if folder is not None and kept.get(folder) == row[0]:
                found[folder] = (owner if owner is not None and owner in users else heir, parent)
        return found

    @cached_property
    def members(self) -> Merged:
        """User ids by group, from ``group_member``."""
        return group_members(self._source, self)

    @cached_property
    def knowledge_files(self) -> Merged:
        """File ids by knowledge, from ``knowledge_file``."""
        return knowledge_files(self._source, self)

    @cached_property
    def access(self) -> Access:
        """Who may read what the old backend keeps in tables: members of channels, grants."""
        return read_access(self._source, self)

    @cached_property
    def grants(self) -> Merged:
        """What became of each row of ``access_grant``."""
        return self.access.merged_grants(self._source, self)

    def resources(self, table: str) -> set[bytes]:
        """Return the ids in the source of the rows that the target's table will have."""
        kept = set(self.ids(table).values())
        rows = readable(self._source, table, ("id",))
        return {clean_text(raw)[0] or b"" for rowid, (raw,) in rows if rowid in kept}

    @cached_property
    def messages(self) -> frozenset[bytes]:
        """The ids of all messages of the source."""
        rows = readable(self._source, "message", ("id",))
        return frozenset(clean_text(raw)[0] or b"" for _, (raw,) in rows)

    @cached_property
    def lost_groups(self) -> frozenset[bytes]:
        """The groups of the source that the target will not have."""
        rows = readable(self._source, "group", ("id",))
        found = {clean_text(raw)[0] or b"" for _, (raw,) in rows}
        return frozenset(found - set(self.ids("group")))

    @cached_property
    def api_keys(self) -> Merged:
        """The key of each user, from ``api_key``."""
        column = self._options.target_columns["user"].get("api_key")
        limit = column.max_length if column and self._options.on_overflow == "reject" else None
        return api_keys(self._source, self, limit)
