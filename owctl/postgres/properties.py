"""What a database is beside its tables: encoding, locale, owner, settings, rights, comment; as a dump has it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from owctl.postgres.dump_scan import DumpContents, DumpEntry
from owctl.postgres.psql import Server, StatementRefused, quoted_name

_CREATION = re.compile(
    r'CREATE DATABASE ("(?:[^"]|"")+"|\S+) WITH TEMPLATE = template0 ?(.*);\s*$', re.DOTALL
)
_TABLESPACE = re.compile(r' *TABLESPACE = ("(?:[^"]|"")+"|\S+)')
# A template cannot be dropped, and so a restore of one could not be undone.
_LEFT_OUT = "IS_TEMPLATE"
# Names that the server does not know, values that it does not take, words that are too new for it.
UNKNOWN_TABLESPACE = "42704"
UNKNOWN_OPTIONS = frozenset({UNKNOWN_TABLESPACE, "42809", "22023", "42601", "0A000"})
_OWN = """
SELECT pg_encoding_to_char(encoding), datcollate, datctype, coalesce(j->>'datlocprovider', ''),
  coalesce(j->>'datlocale', j->>'daticulocale', ''), coalesce(j->>'daticurules', '')
FROM pg_database d, to_jsonb(d) j WHERE datname = :'name';
"""
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
_ROLES = "SELECT rolname FROM pg_roles;"


@dataclass(frozen=True, slots=True)
class DatabaseProperties:
    """What a dump says of its database. ``options`` are those of CREATE DATABASE.

    ``settings`` are further statements, about a database called ``name`` (as an identifier).
    """

    name: str
    options: str
    owner: str
    settings: tuple[str, ...]


def properties_of(contents: DumpContents) -> DatabaseProperties | None:
    """Return what the dump says of its database, None where it says nothing."""
    for entry in contents.entries.values():
        found = _CREATION.match(entry.statements) if entry.kind == "DATABASE" else None
        if found is not None:
            name, options = found[1], found[2]
            about = (each for each in contents.entries.values() if _is_about(each))
            settings = tuple(text for each in about for text in _statements(each))
            return DatabaseProperties(name, options, entry.owner, settings)
    return None


def give_properties(
    server: Server, database: str, properties: DatabaseProperties, *, with_owner: bool
) -> list[str]:
    """Give a database what it had besides its locale; returns a warning for each that it could not get.

    ``server`` must be signed in to another database. ``with_owner`` False leaves it to whom it belongs.
    """
    target = quoted_name(database)
    old = re.compile(rf"DATABASE {re.escape(properties.name)}(?=\s)")
    wanted = [
        (text, old.sub(lambda _: f"DATABASE {target}", text, count=1))
        for text in properties.settings
    ]
    if with_owner and [properties.owner] in server.ask(_ROLES):
        owner = f"OWNER TO {quoted_name(properties.owner)};"
        said = f"ALTER DATABASE {properties.name} {owner}"
        wanted.insert(0, (said, f"ALTER DATABASE {target} {owner}"))
    warnings = []
    for said, statement in wanted:
        try:
            server.ask(statement)
        except StatementRefused as error:
            why = " ".join(error.details[:1]).partition("ERROR:  ")[2] or "it was refused"
            warnings.append(
                f"A property of the database was not taken over: {why}. Try: owctl shell db, then: "
                f"{said}"
            )
    return warnings


def options_of(server: Server, database: str) -> str:
    """Return the options of CREATE DATABASE that make a database like one that is there."""
    ((encoding, collation, character_type, provider, locale, rules),) = server.ask(
        _OWN, name=database
    )
    options = {"ENCODING": encoding, "LC_COLLATE": collation, "LC_CTYPE": character_type}
    if provider in ("i", "b"):
        options["ICU_LOCALE" if provider == "i" else "BUILTIN_LOCALE"] = locale
    if rules:
        options["ICU_RULES"] = rules
    text = _text(options)
    # Without it, the template's own holds.
    return f"{text} LOCALE_PROVIDER = {_PROVIDERS[provider]}" if provider else text


def like_libc(encoding: str, collation: str, live: str) -> str:
    """Return options for an encoding and a locale of the C library, on the server of ``live`` ones."""
    text = _text({"ENCODING": encoding, "LC_COLLATE": collation, "LC_CTYPE": collation})
    return f"{text} LOCALE_PROVIDER = libc" if "LOCALE_PROVIDER" in live else text


def without_tablespace(options: str) -> str:
    """Return the options for a server that lacks the tablespace."""
    return _TABLESPACE.sub("", options)


def _text(options: dict[str, str]) -> str:
    return " ".join(f"{name} = {_quoted(value)}" for name, value in options.items())


def _is_about(entry: DumpEntry) -> bool:
    return entry.kind == "DATABASE PROPERTIES" or (
        entry.kind in ("COMMENT", "ACL") and entry.name.startswith("DATABASE ")
    )


def _statements(entry: DumpEntry) -> Iterator[str]:
    for text in entry.statements.split(";\n"):
        if text.strip() and _LEFT_OUT not in text:
            yield f"{text.strip().rstrip(';')};"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
