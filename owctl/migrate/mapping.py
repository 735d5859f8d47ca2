"""From tables of the old database to tables of the target: what is filled from what, row by row."""

from collections.abc import Iterator

from owctl.errors import OwctlError
from owctl.migrate.column_map import COLUMN_MAP
from owctl.migrate.conversion import Conversion, accepted_ids
from owctl.migrate.emails import duplicate_emails, refuse_duplicates
from owctl.migrate.identifiers import quoted
from owctl.migrate.json_tree import TreeReader
from owctl.migrate.model import Converted, Notes, Options, Reject, TableMap
from owctl.migrate.references import References
from owctl.migrate.source import Source
from owctl.migrate.versions import require_known

# Columns that come from another table in later versions of the source.
_ELSEWHERE = {("user", "api_key"): ("api_key", "key")}
# What a renamed address can be longer by.
_RENAMED_CHARACTERS = 40


def plan_tables(source: Source, options: Options) -> list[TableMap]:
    """Return which tables are filled from which, in an order that satisfies foreign keys.

    Raises OwctlError where nothing may be loaded: a source of an unknown version, addresses of
    several accounts, an heir of orphans who does not exist.
    """
    require_known(source.version, allow_unknown=options.allow_unknown)
    if options.on_duplicate_email == "stop":
        refuse_duplicates(duplicate_emails(source))
    if options.orphans is not None:
        users = references_of(source, options).ids("user")
        if options.orphans.encode() not in users:
            raise OwctlError(
                f"no user has the id {options.orphans}, so nobody can take over rows of missing users",
                hint="name the id of an administrator, as in the user table",
            )
    references_of(source, options)
    return table_maps(source, options)


def table_maps(source: Source, options: Options) -> list[TableMap]:
    """Return the same as plan_tables without asking whether the source may be loaded."""
    return [
        TableMap(
            target=target,
            columns=tuple(c.name for c in columns if c.name in options.target_columns[target]),
            source=target,
        )
        for target, columns in COLUMN_MAP.items()
        if target in options.target_columns and target in source.columns
    ]


def convert(
    source: Source,
    table_map: TableMap,
    options: Options,
    notes: Notes,
    reader: TreeReader | None = None,
) -> Iterator[Converted | Reject]:
    """Yield one result for each row of the table: what the target gets, or why it gets nothing.

    Streams in the order of rowid; a table may be converted again, alone, with the same result.
    ``reader`` keeps the parsed JSON of the row that was yielded last.
    """
    references = references_of(source, options)
    return Conversion(source, table_map, options, notes, references, reader=reader).rows()


def references_of(source: Source, options: Options) -> References:
    """Return what is known across tables for these options; worked out once for each source."""
    known = source.derived.get("references")
    if known is not None and known[0] == options:
        kept: References = known[1]
        return kept
    maps = {table_map.target: table_map for table_map in table_maps(source, options)}

    def ids_of(table: str) -> dict[bytes, int]:
        return accepted_ids(source, maps[table], options, references)

    references = References(source, options, ids_of)
    source.derived["references"] = (options, references)
    return references


def last_options(source: Source) -> Options:
    """Return the options that the source was last planned or converted with."""
    known = source.derived.get("references")
    if known is None:
        raise ValueError("the source was not planned yet")
    options: Options = known[0]
    return options


def overflows(source: Source, options: Options) -> list[tuple[str, str]]:
    """Return the (table, column) of the target that are too narrow for some value of the source.

    Counted in bytes, so that a column may be named that is just wide enough.
    """
    found = []
    for table_map in table_maps(source, options):
        for column in COLUMN_MAP[table_map.target]:
            info = options.target_columns[table_map.target].get(column.name)
            if info is None or info.max_length is None:
                continue
            found_here = column.found_in(source.columns[table_map.source])
            table, name = _ELSEWHERE.get(
                (table_map.target, column.name), (table_map.source, found_here)
            )
            if name not in source.columns.get(table, ()):
                table, name = table_map.source, found_here
            slack = _RENAMED_CHARACTERS if name == "email" else 0
            if name in source.columns.get(table, ()) and _longest(source, table, name) > (
                info.max_length - slack
            ):
                found.append((table_map.target, column.name))
    return found


def _longest(source: Source, table: str, column: str) -> int:
    name = quoted(column)
    rows = source.query(f"SELECT max(length(CAST({name} AS BLOB))) FROM {quoted(table)}")
    return rows[0][0] or 0
