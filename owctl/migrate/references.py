"""Which ids the target will have, and what rows take from other rows: worked out once a run.

Nothing here depends on the order in which tables are converted, so that a table can be converted
again, alone, with the same result.
"""

from collections.abc import Callable
from functools import cached_property

from owctl.migrate.derived import Merged, api_keys, group_members, knowledge_files
from owctl.migrate.emails import renamed_emails
from owctl.migrate.model import Options
from owctl.migrate.source import Source, Unreadable
from owctl.migrate.text import clean_text
from owctl.migrate.values import seconds


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
        return group_members(self._source, self.ids("group"), self.ids("user"))

    @cached_property
    def knowledge_files(self) -> Merged:
        """File ids by knowledge, from ``knowledge_file``."""
        return knowledge_files(self._source, self.ids("knowledge"), self.ids("file"))

    @cached_property
    def api_keys(self) -> Merged:
        """The key of each user, from ``api_key``."""
        column = self._options.target_columns["user"].get("api_key")
        limit = column.max_length if column and self._options.on_overflow == "reject" else None
        return api_keys(self._source, self.ids("user"), limit)
