"""From a source row to a target row: which table and column each value goes to, and how it is converted."""

from collections.abc import Callable, Iterator
from functools import partial

from owctl.errors import OwctlError
from owctl.migrate.convert.access import MEMBER_COLUMNS
from owctl.migrate.convert.column_map import (
    COLUMN_MAP,
    Column,
    Converted,
    Notes,
    Options,
    Reject,
    TableMap,
    Value,
)
from owctl.migrate.convert.json_text import JsonUnusable, TreeReader, clean_json
from owctl.migrate.convert.references import (
    OWNER_REJECTED,
    References,
    duplicate_emails,
    refuse_duplicates,
)
from owctl.migrate.convert.row import Context, Row
from owctl.migrate.convert.row_rules import EARLY_RULES, LATE_RULES, RULES
from owctl.migrate.convert.values import (
    Changes,
    Raw,
    boolean,
    calendar_date,
    characters,
    clean_text,
    fitted,
    integer,
    is_json_null,
    nanoseconds,
    nothing,
    quoted,
    seconds,
    timestamp,
)
from owctl.migrate.report.rejects import Rejected, make_reject
from owctl.migrate.source.database import Source, Unreadable, require_known

# -- Converts the rows of one table: reads, applies the rules, checks what the target demands.


_RULES: dict[str, Callable[[Raw], tuple[Value, Changes]]] = {
    "text": clean_text,
    "user": clean_text,
    "boolean": lambda raw: boolean(raw, None),
    "integer": integer,
    "seconds": seconds,
    "nanoseconds": nanoseconds,
    "date": calendar_date,
    "timestamp": timestamp,
    "constant": lambda _raw: (None, ()),
}
_JSON_KINDS = ("json", "lenient-json")
_INTEGER_LIMITS = {"integer": 2**31, "smallint": 2**15}
# Read beside the mapped columns, where the source has them.
_ALSO_READ = {
    "user": ("oauth",),
    "prompt": ("id", "access_control"),
    "channel": ("type", "deleted_at", "archived_at"),
    "channel_member": MEMBER_COLUMNS,
}
_UNKNOWN_TIMES: dict[str, Value] = {"config": b"1970-01-01 00:00:00"}
# What the late rules may empty: what stands there before them rejects no row.
_SETTLED_LATE = {"folder": ("parent_id",)}
# The column that names a row, where it is not ``id``.
_KEYS = {"prompt": "command"}


class Conversion:
    """One pass over one table. ``light`` leaves out the rules that only fill columns."""

    def __init__(
        self,
        source: Source,
        table_map: TableMap,
        options: Options,
        notes: Notes,
        references: References,
        *,
        light: bool = False,
        reader: TreeReader | None = None,
    ) -> None:
        self._map = table_map
        self._source = source
        self._target = options.target_columns[table_map.target]
        by_name = {column.name: column for column in COLUMN_MAP[table_map.target]}
        self._columns = [by_name[name] for name in table_map.columns]
        self._context = Context(source, options, references, notes)
        self._light = light
        self._reader = reader or TreeReader()
        self._key = _KEYS.get(table_map.target, "id")
        there = source.columns[table_map.source]
        self._found = {column.name: column.found_in(there) for column in self._columns}
        read = dict.fromkeys(
            [name for name in self._found.values() if name in there]
            + [name for name in _ALSO_READ.get(table_map.target, ()) if name in there]
        )
        self._read = tuple(read)

    def rows(self) -> Iterator[Converted | Reject]:
        """Yield one result for each row of the source table, in the order of rowid."""
        for found in self._source.rows(self._map.source, self._read):
            if isinstance(found, Unreadable):
                detail = f"the row lies on a damaged page: {found.problem}"
                yield self._reject(found.rowid, "unreadable", detail)
                continue
            rowid, raw = found[0], dict(zip(self._read, found[1], strict=True))
            del found
            result = self._result(rowid, raw)
            del raw  # a large row is held once, by what is made of it
            yield result
            del result

    def _result(self, rowid: int, raw: dict[str, Raw]) -> Converted | Reject:
        try:
            converted = self._convert(rowid, raw)
            self._context.settle(accepted=True)
            return converted
        except Rejected as rejected:
            self._context.settle(accepted=False)
            return self._reject(rowid, rejected.reason, rejected.detail)
        except RecursionError:
            self._context.settle(accepted=False)
            return self._reject(rowid, "json-too-deep", "JSON nested too deep to be changed")

    def _convert(self, rowid: int, raw: dict[str, Raw]) -> Converted:
        self._reader.forget()
        pending: list[tuple[str, str]] = []
        row = Row(rowid, raw, {}, lambda column, kind: pending.append((column, kind)))
        target = self._map.target
        if target in EARLY_RULES:
            EARLY_RULES[target](row, self._context)
        for column in self._columns:
            row.values[column.name] = self._value(row, column)
        _fill_pairs(row, _UNKNOWN_TIMES.get(target, 0))
        self._take_user(row)
        if target in RULES:
            RULES[target](row, self._context)
        self._check_key(row)
        if not self._light and target in LATE_RULES:
            LATE_RULES[target](row, self._context)
        for name in self._map.columns:
            if not (self._light and name in _SETTLED_LATE.get(target, ())):
                self._fit(row, name)
                self._check(name, row.values[name])
        self._count(row, pending)
        return Converted(tuple(row.values[name] for name in self._map.columns), rowid)

    def _value(self, row: Row, column: Column) -> Value:
        value: Value
        raw = row.raw.get(self._found[column.name])
        try:
            if column.kind in _JSON_KINDS:
                value, changes = clean_json(raw, self._reader)
            else:
                value, changes = _RULES[column.kind](raw)
        except JsonUnusable as unusable:
            if column.kind == "json":
                detail = f"{self._found[column.name]}: {unusable.detail}"
                raise Rejected(unusable.reason, detail) from unusable
            value, changes = None, (f"{unusable.reason}-to-null",)
        absent = nothing(self._map.target, column.name)
        if value is None and absent is not None and is_json_null(raw):
            return absent
        for change in changes:
            row.note(column.name, change)
        if value is None and column.default is not None:
            if column.kind not in ("constant", "boolean"):
                row.note(column.name, "null-to-default")
            return column.default
        return absent if value is None else value

    def _take_user(self, row: Row) -> None:
        options, users = self._context.options, self._context.references
        for column in self._columns:
            if column.kind != "user":
                continue
            owner = row.text(column.name)
            if owner is not None and owner in users.ids("user"):
                continue
            reason, detail = users.without_user(owner)
            if options.orphans is None or column.name == "id" or reason == OWNER_REJECTED:
                raise Rejected(reason, detail)
            row.values[column.name] = options.orphans.encode()
            row.note(column.name, "orphan-assigned")

    def _check_key(self, row: Row) -> None:
        key = row.values.get(self._key)
        if key is None or key == b"":
            raise Rejected("missing-key", f"{self._key} is empty")
        text = key if isinstance(key, bytes) else str(key).encode()
        if not self._context.first("key", text):
            raise Rejected("duplicate-key", f"another row has the same {self._key}; it was first")

    def _fit(self, row: Row, name: str) -> None:
        value = row.values[name]
        if isinstance(value, bytes) and self._context.options.on_overflow == "reject":
            limit = self._target[name].max_length
            row.values[name], change = fitted(self._map.target, name, value, limit)
            if change is not None:
                row.note(name, change)

    def _check(self, name: str, value: Value) -> None:
        info = self._target[name]
        if value is None:
            if not info.nullable:
                raise Rejected("null-not-allowed", f"{name} is empty, the new database demands it")
        elif isinstance(value, bytes):
            too_long = info.max_length is not None and len(value) > info.max_length
            if too_long and self._context.options.on_overflow == "reject":
                length = characters(value)
                if length > (info.max_length or 0):
                    raise Rejected(
                        "too-long", f"{name} has {length} characters, {info.max_length} are allowed"
                    )
        else:
            limit = _INTEGER_LIMITS.get(info.data_type)
            if limit is not None and not -limit <= value < limit:
                raise Rejected("number-out-of-range", f"{name} does not fit in {info.data_type}")

    def _count(self, row: Row, pending: list[tuple[str, str]]) -> None:
        if pending:
            key = row.values[self._key]
            shown = key.decode() if isinstance(key, bytes) else str(key)
            for column, kind in pending:
                self._context.notes.add(self._map.target, column, kind, key=shown)

    def _reject(self, rowid: int, reason: str, detail: str) -> Reject:
        return make_reject(self._source, self._map.source, rowid, reason, detail)


def _fill_pairs(row: Row, unknown: Value) -> None:
    """Give a missing time the value of its sister, else 1970."""
    if row.values.get("created_at", 0) is None or row.values.get("updated_at", 0) is None:
        created, updated = row.values.get("created_at"), row.values.get("updated_at")
        known = next((value for value in (created, updated) if value is not None), unknown)
        for name, value in (("created_at", created), ("updated_at", updated)):
            if name in row.values and value is None:
                row.values[name] = known
                row.note(name, "time-unknown" if known == unknown else "time-from-sister")
    if row.values.get("last_active_at", 0) is None:
        row.values["last_active_at"] = row.values.get("updated_at")
        row.note("last_active_at", "time-from-sister")


def accepted_ids(
    source: Source, table_map: TableMap, options: Options, references: References
) -> dict[bytes, int]:
    """Return id and rowid of the rows that a table of the target will get."""
    position = table_map.columns.index(_KEYS.get(table_map.target, "id"))
    make = partial(Conversion, source, table_map, options, Notes(), references, light=True)
    found: dict[bytes, int] = {}
    for result in make().rows():
        if isinstance(result, Converted):
            value = result.values[position]
            assert isinstance(value, bytes)
            found[value] = result.rowid
    return found


# -- From tables of the old database to tables of the target: what is filled from what, row by row.


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
        if target in options.target_columns and fills(target, source)
    ]


def fills(table: str, source: Source) -> bool:
    """Tell whether the source has the table, in the form that the target's is filled from."""
    # Newer settings are one a row, by name.
    there = table in COLUMN_MAP and table in source.columns
    return there and (table != "config" or "id" in source.columns[table])


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
