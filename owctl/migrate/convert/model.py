"""What the parts of a migration hand to each other: rows, rejects, notes, options."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

# A value of a converted row. Text, JSON, dates and timestamps are UTF-8 bytes as PostgreSQL reads
# them: nothing is decoded and encoded again on its way, and a row of 200 MB stays one of 200 MB.
Value = bytes | int | bool | None

# How many rows a note names as examples.
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """A column of the target, as ``information_schema.columns`` says.

    ``data_type`` is its word there ("character varying", "jsonb", "bigint" …), ``max_length`` is
    in characters, None where there is no limit.
    """

    data_type: str
    max_length: int | None = None
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class TableMap:
    """A table of the target that is filled from a table of the source; ``columns`` in COPY order."""

    target: str
    columns: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Converted:
    """One source row as the target takes it: ``values`` in the order of the map's columns.

    bytes are UTF-8 without NUL: text, valid JSON for jsonb, ``YYYY-MM-DD`` for date,
    ``YYYY-MM-DD HH:MM:SS[.ffffff]`` for timestamp. int is for bigint and integer, bool for
    boolean, None is NULL. ``rowid`` is that of the source row.
    """

    values: tuple[Value, ...]
    rowid: int = 0


@dataclass(frozen=True, slots=True)
class Reject:
    """One source row that has no row of its own in the target, and why.

    ``reason`` is a short code ("orphan-user"), ``detail`` a sentence. ``key`` names the row,
    ``row`` holds its values for the report: secrets left out, long values shortened. A reason
    that begins with ``merged-`` means that nothing is lost: the row lives on in another one.
    """

    source_table: str
    key: Mapping[str, object]
    reason: str
    detail: str
    row: Mapping[str, object]

    @property
    def merged(self) -> bool:
        """Tell whether the row's content went into another row of the target."""
        return self.reason.startswith("merged-")


class Notes:
    """Counts what was changed on the way, by target table, column and kind of change."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._examples: dict[tuple[str, str, str], list[str]] = {}

    def add(
        self, table: str, column: str, kind: str, count: int = 1, *, key: str | None = None
    ) -> None:
        """Count a change; ``kind`` is a short code such as ``nul-removed``, ``key`` names the row."""
        where = (table, column, kind)
        self._counts[where] += count
        if key is not None:
            examples = self._examples.setdefault(where, [])
            if len(examples) < EXAMPLES:
                examples.append(key)

    def items(self) -> list[tuple[str, str, str, int]]:
        """Return (table, column, kind, count), sorted."""
        return [(*where, count) for where, count in sorted(self._counts.items())]

    def examples(self, table: str, column: str, kind: str) -> list[str]:
        """Return the keys of the first rows that were changed so."""
        return list(self._examples.get((table, column, kind), ()))

    def __iter__(self) -> Iterator[tuple[str, str, str, int]]:
        return iter(self.items())


@dataclass(frozen=True, slots=True)
class Options:
    """How to convert.

    ``target_columns``: per table of the target its columns. ``orphans``: the id of the user who
    gets rows whose user is missing; None rejects them. ``on_duplicate_email``: ``rename`` gives
    all but one account an address of their own. ``on_overflow``: ``widen`` lets a string that is
    longer than its column through (the caller makes the column text; see ``mapping.overflows``).
    ``keep_share_links``: a share link goes to the live chat even where its snapshot differs.
    ``allow_unknown``: accept a source newer than known. ``upload_dir``: where the new backend keeps
    uploads. ``passwords``: the new hash by user id; None keeps the old ones.
    """

    target_columns: Mapping[str, Mapping[str, ColumnInfo]] = field(repr=False)
    orphans: str | None = None
    on_duplicate_email: Literal["stop", "rename"] = "stop"
    on_overflow: Literal["reject", "widen"] = "reject"
    keep_share_links: bool = False
    allow_unknown: bool = False
    upload_dir: str = "/app/data/uploads"
    passwords: Mapping[str, str] | None = field(default=None, repr=False)
