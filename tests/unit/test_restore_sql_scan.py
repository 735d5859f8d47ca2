"""A dump in SQL text: its rows are counted, and what psql would obey beside it is refused."""

import pytest

from owctl.errors import BackupInvalid
from owctl.postgres.sql_scan import SqlScanner

HEAD = b"""--
-- PostgreSQL database dump
--

\\restrict aXKy9c6NhfC5evrhauf3iEVelwxlHVGuLC6tntbDF1YU3Zy1Wnyn4WA5bmX9qQR

-- Dumped from database version 15.8 (Debian 15.8-0+deb12u1)
-- Dumped by pg_dump version 16.1

SET standard_conforming_strings = on;
"""
TAIL = b"""
--
-- PostgreSQL database dump complete
--

\\unrestrict aXKy9c6NhfC5evrhauf3iEVelwxlHVGuLC6tntbDF1YU3Zy1Wnyn4WA5bmX9qQR

"""
TABLE = b"COPY public.t (id) FROM stdin;\n1\n\\.\n"
BODY = rb"""
CREATE FUNCTION public.f() RETURNS text LANGUAGE plpgsql
    AS $body$ BEGIN /* ; */ RETURN 'COPY public.x FROM stdin; \connect a $$'; END $body$;
CREATE FUNCTION public.g(a int) RETURNS int AS $$ SELECT $1; \! x $$ LANGUAGE sql;
/* a comment; /* in a comment \! */ ; */
CREATE TABLE public."user" (id text NOT NULL, "we;ird$x$" text DEFAULT 'it''s; \! -- no');
COMMENT ON TABLE public."user" IS E'a\'; \\! b -- c';
CREATE TABLE public."Odd ""T" (a$b$c int);
COPY public."user" (id, "we;ird$x$") FROM stdin;
1	two\nlines; '
2	\N
\\.	-- PostgreSQL database dump complete
3	\\! rm
\.


COPY public."Odd ""T" ("a$b$c") FROM stdin;
\.


SELECT pg_catalog.setval('public.s', 1, false);
INSERT INTO public.filled VALUES ('a;b');
COPY public.filled (v) FROM stdin;
x
\.
"""


def scan(data: bytes, step: int = 1 << 20) -> SqlScanner:
    scanner = SqlScanner()
    for start in range(0, len(data), step):
        scanner.feed(data[start : start + step])
    return scanner


@pytest.mark.parametrize("step", [1, 2, 3, 7, 71, 512, 1 << 20])
def test_rows_are_counted_however_it_comes(step: int):
    scanner = scan(HEAD + BODY + TAIL, step)
    # What is also filled by INSERT is not counted.
    assert scanner.finish() == {"public.user": 4, 'public.Odd "T': 0}
    assert scanner.statements == 11
    assert scanner.server_version_number == 150008


def test_rows_longer_than_any_piece():
    row = b"x" * 3_000_000 + b"\n"
    data = HEAD + b"COPY public.t (a) FROM stdin;\n" + row * 3 + b"\\.\n" + TAIL
    assert scan(data, 1 << 16).finish() == {"public.t": 3}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"\\connect other\n", "connect other"),
        (b"\\c other\n", "psql"),
        (b"SELECT 1 \\gexec\n", "gexec"),
        (b"SELECT 1; \\! touch /tmp/x\n", "touch"),
        (b"  \\copy public.t from program 'x'\n", "copy"),
        (b"\\restrict a; \\! x\n", "restrict"),
        (b"\\i /etc/passwd", "psql"),
        (b"COMMIT;\n", "'COMMIT'"),
        (b"-- \n begin;\n", "'BEGIN'"),
        (b"COPY public.t FROM PROGRAM 'id';\n", "COPY of another kind"),
        (b"COPY public.t TO '/tmp/x';\n", "COPY of another kind"),
    ],
)
def test_what_a_plain_dump_does_not_have(text: bytes, complaint: str):
    with pytest.raises(BackupInvalid, match=complaint) as caught:
        scan(HEAD + TABLE + text + TAIL, 5).finish()
    assert "pg_dump" in (caught.value.hint or "")


def test_cut_off_anywhere():
    data = HEAD + BODY + TAIL
    whole = data.rindex(b"dump complete") + len(b"dump complete")
    for end in range(len(HEAD), whole, 3):
        with pytest.raises(BackupInvalid, match=r"cut off|psql|COPY of"):
            scan(data[:end]).finish()
    assert scan(data[:whole]).finish()
    # The second of two is cut off.
    with pytest.raises(BackupInvalid, match="cut off"):
        scan(data + HEAD + BODY).finish()
    with pytest.raises(BackupInvalid, match=r"cut off within the rows of public\.t"):
        scan(HEAD + TABLE[:-3]).finish()


def test_nothing_in_it():
    with pytest.raises(BackupInvalid, match="holds no table"):
        scan(HEAD + TAIL).finish()
