"""What pg_restore complains of, by entry of the dump."""

import pytest

from owctl.postgres.dump_scan import DumpEntry
from owctl.postgres.not_made import Complaints, Failure, NotMade, is_known, of_extensions

INDEX = DumpEntry(3, "INDEX", "public", "chat_search", False, "CREATE INDEX chat_search …;")
ROWS = DumpEntry(4, "TABLE DATA", "cron", "job", True)
SAID = b"""\
pg_restore: creating INDEX "public.chat_search"
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3; 1259 16400 INDEX chat_search web
pg_restore: error: could not execute query: ERROR:  could not create unique index "x"
DETAIL:  Key (id)=(1) is duplicated.
Command was: CREATE INDEX chat_search;
DETAIL:  no complaint, but a line of the statement

pg_restore: from TOC entry 4; 0 1 TABLE DATA job web
pg_restore: error: COPY failed for table "job": ERROR:  relation "cron.job" does not exist
pg_restore: warning: errors ignored on restore: 2
"""


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_complaints_are_read_in_pieces_of_any_size(size: int) -> None:
    complaints = Complaints()
    for start in range(0, len(SAID), size):
        complaints.feed(SAID[start : start + size])
    entries = {3: INDEX, 4: ROWS}
    assert complaints.has_ended
    assert not complaints.has_strays(entries)
    index, rows = complaints.failures(entries)
    assert (index.name, index.loses_rows) == ("public.chat_search", False)
    assert index.reason == 'could not create unique index "x" (Key (id)=(1) is duplicated)'
    assert (rows.name, rows.loses_rows) == ("cron.job", True)
    assert rows.reason == 'relation "cron.job" does not exist'


def test_what_belongs_to_no_entry_is_not_passed_over() -> None:
    complaints = Complaints()
    complaints.feed(b"pg_restore: error: could not set search_path\n")
    assert complaints.has_strays({3: INDEX})
    assert not complaints.has_ended


def test_rows_of_an_extensions_table_have_no_table_in_the_dump() -> None:
    table = DumpEntry(5, "TABLE", "cron", "job", False)
    failures = [Failure(INDEX, "x"), Failure(ROWS, "y")]
    assert of_extensions(failures, {3: INDEX, 4: ROWS}) == [failures[1]]
    assert of_extensions(failures, {3: INDEX, 4: ROWS, 5: table}) == []


def test_a_difference_is_known_by_the_objects_own_name() -> None:
    not_made = [NotMade("policy", "public.chat readers", "", "")]
    assert is_known("policies: db: readers on public.chat is missing", not_made)
    assert not is_known("policies: db: readers_too on public.chat is missing", not_made)
    assert not is_known("tables: db: public.readers is new", not_made)
