"""What of a dump could not be made: pg_restore's words by entry of the dump, and what to do about each."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from owctl.postgres.dump_scan import DumpEntry

# Without one of these, rows are missing, or a counter that the next rows need.
_ROWS = frozenset({
    "TABLE", "TABLE ATTACH", "TABLE DATA", "SEQUENCE", "SEQUENCE SET", "BLOB", "BLOBS", "BLOB METADATA",
})  # fmt: skip
_SHOWN_CHARACTERS = 400
_ENTRY = re.compile(r"pg_restore: from TOC entry (\d+);")
_ERROR = "pg_restore: error: "
_IGNORED = re.compile(r"pg_restore: warning: errors ignored on restore: (\d+)")
_PREFACE = re.compile(r"^.*?ERROR: +")
_ROLE = re.compile(r'^role "(.+)" does not exist')
# Why something cannot be made, and what is to be done before it can.
_CURES = (
    (
        re.compile(r"extension .* is not available|could not open extension control file"),
        "an image of PostgreSQL that has the extension; then",
    ),
    (
        re.compile("shared_preload_libraries"),
        "shared_preload_libraries in the command of the database's service, owctl start; then",
    ),
    (re.compile(r"^role "), "CREATE ROLE for the role that is named; then"),
    (
        re.compile(r"^(function|operator|type|relation|text search \w+) .* does not exist"),
        "owctl shell db, ALTER FUNCTION … SET search_path = … for the function that it calls; then",
    ),
    (
        re.compile(r"unique index|violate|duplicate|not present in table"),
        "the rows came as the backup has them: correct those that break it in owctl shell db; then",
    ),
)


@dataclass(frozen=True, slots=True)
class NotMade:
    """An object of a dump that is not in the database: its absence loses no row.

    ``hint`` says what makes it.
    """

    kind: str
    name: str
    reason: str
    hint: str

    def in_words(self) -> str:
        """Return a sentence that a person can act on."""
        return f"The {self.kind} {self.name} was not made: {self.reason}. Try: {self.hint}"

    def to_json(self) -> dict[str, str]:
        """Return what documents say of it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "reason": self.reason,
            "hint": self.hint,
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """An entry of a dump that PostgreSQL refused, and its words."""

    entry: DumpEntry
    reason: str

    @property
    def loses_rows(self) -> bool:
        """Whether rows are missing without it."""
        return self.entry.kind in _ROWS

    @property
    def can_be_tried_again(self) -> bool:
        """Whether pg_restore would load it by itself: what is of the database, it would leave out."""
        return not (
            self.entry.kind.startswith("DATABASE") or self.entry.name.startswith("DATABASE ")
        )

    @property
    def missing_role(self) -> str | None:
        """The role without which it cannot be made, None if that is not why."""
        found = _ROLE.match(self.reason)
        return found[1] if found else None

    @property
    def name(self) -> str:
        """The object's name, with its schema where it is in one."""
        return f"{self.entry.schema}.{self.entry.name}".strip(".")

    def in_words(self) -> str:
        """Return a line for a list of them."""
        return f"{self.entry.kind.lower()} {self.name}: {self.reason}"

    def not_made(self) -> NotMade:
        """Return the same, with what to do about it."""
        cure = next(
            (text for why, text in _CURES if why.search(self.reason)), "owctl shell db, then"
        )
        statement = " ".join(self.entry.statements.split())
        if len(statement) > _SHOWN_CHARACTERS:
            statement = f"{statement[:_SHOWN_CHARACTERS]}…"
        made = statement or "the rows out of the backup (docs/backup-format.md)"
        return NotMade(self.entry.kind.lower(), self.name, self.reason, f"{cure}: {made}")


def of_extensions(failures: Sequence[Failure], entries: Mapping[int, DumpEntry]) -> list[Failure]:
    """Return the extensions among them, and the rows of tables that only these would have made."""
    made = {(e.schema, e.name) for e in entries.values() if e.kind in ("TABLE", "SEQUENCE")}

    def belongs(entry: DumpEntry) -> bool:
        if entry.kind in ("TABLE DATA", "SEQUENCE SET"):
            return (entry.schema, entry.name) not in made
        return entry.kind == "EXTENSION" or entry.name.startswith("EXTENSION ")

    return [each for each in failures if belongs(each.entry)]


class Complaints:
    """pg_restore's complaints (with ``--verbose``), fed as they come.

    ``has_ended`` says whether it went on to its end; it ends at once for what is no refusal of
    PostgreSQL's: a dump that is cut off, a database that lets nobody in.
    """

    def __init__(self) -> None:
        self.has_ended = False
        self.lines: list[str] = []
        self._pending = b""
        self._entry = -1
        self._found: dict[int, str] = {}
        self._is_error = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._line(line.decode("utf-8", "replace"))

    def failures(self, entries: Mapping[int, DumpEntry]) -> list[Failure]:
        """Return what was refused, in the order of the dump, and once each."""
        found = [(entries.get(number), reason) for number, reason in self._found.items()]
        return [Failure(entry, reason) for entry, reason in found if entry is not None]

    def has_strays(self, entries: Mapping[int, DumpEntry]) -> bool:
        """Whether something was refused that is no entry's: then nothing is known of it."""
        return not self._found.keys() <= entries.keys()

    def _line(self, line: str) -> None:
        if line.startswith("pg_restore: "):
            self._is_error = line.startswith(_ERROR)
            if found := _ENTRY.match(line):
                self._entry = int(found[1])
            elif self._is_error:
                self.lines.append(line)
                reason = _PREFACE.sub("", line.removeprefix(_ERROR), count=1)
                self._found.setdefault(self._entry, reason)
            elif _IGNORED.match(line):
                self.has_ended = True
        elif line.startswith("Command was:"):
            self._is_error = False
        elif self._is_error and line.startswith("DETAIL:"):
            self.lines.append(line)
            self._found[self._entry] += f" ({line.removeprefix('DETAIL:').strip().rstrip('.')})"


def roles_in(failures: Iterable[Failure]) -> list[str]:
    """Return the roles for want of which something was refused."""
    return sorted({each.missing_role for each in failures if each.missing_role is not None})


def is_known(difference: str, not_made: Iterable[NotMade]) -> bool:
    """Whether a difference between two servers is that one of these objects is missing."""
    return difference.endswith(" is missing") and any(
        re.search(rf"(?<![\w$]){re.escape(_last_word(each.name))}(?![\w$])", difference)
        for each in not_made
    )


def _last_word(name: str) -> str:
    """Return the object's own name: without its schema, its table and its arguments."""
    return name.partition("(")[0].rpartition(".")[2].rpartition(" ")[2]
