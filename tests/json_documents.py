"""What owctl prints with ``--json``, held to docs/schemas/.

The table in docs/schemas/README.md says which command prints which document; every such output that
a test gets is validated against it (tests/conftest.py, tests/e2e/conftest.py).
"""

import copy
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "schemas"
TABLE = FOLDER / "README.md"
_ROW = re.compile(r"\| `owctl ([^`]+)` \| \[(?P<file>[\w.-]+)\]\((?P=file)\) \|")
# An output that goes on until it is ended: one document a line.
_LINES = ("logs.json", "health-watch.json")


@dataclass(frozen=True)
class Row:
    """One line of the table: ``owctl backup --dry-run`` has the path (backup,), one option."""

    path: tuple[str, ...]
    options: frozenset[str]
    file: str

    @property
    def is_lines(self) -> bool:
        """Whether the output is one document a line."""
        return self.file in _LINES or "--stream" in self.options


@cache
def rows() -> tuple[Row, ...]:
    """The table of docs/schemas/README.md; words in capitals stand for arguments."""
    found = []
    for line in TABLE.read_text().splitlines():
        if match := _ROW.match(line):
            words = match[1].split()
            path = tuple(word for word in words if re.fullmatch("[a-z][a-z-]*", word))
            options = frozenset(word for word in words if word.startswith("--")) - {"--json"}
            found.append(Row(path, options, match["file"]))
    return tuple(found)


def row_of(arguments: Sequence[str]) -> Row | None:
    """The row for a command line, None where it does not ask for JSON."""
    words = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    pairs = set(pairwise(words))
    if not ("--json" in words or "--format=json" in words or ("--format", "json") in pairs):
        return None
    path = command_path(words)
    fitting = [row for row in rows() if row.path == path and row.options <= set(words)]
    assert fitting, f"docs/schemas/README.md has no row for owctl {' '.join(path)} --json"
    return max(fitting, key=lambda row: len(row.options))


def command_path(words: Sequence[str]) -> tuple[str, ...]:
    """The names of the command in a command line: aliases resolved, default subcommands left out.

    A command of the development stack that is one of the project's own stack is that one.
    """
    from owctl.cli import ALIASES, cli

    rest = iter(words)
    takes_value = {
        flag for option in cli.params if isinstance(option, click.Option) and not option.is_flag
        for flag in option.opts
    }  # fmt: skip
    name = next(word for word in rest if not _is_option(word, rest, takes_value))
    name = ALIASES.get(name, name)
    group = cli.get_command(click.Context(cli), name)
    assert group is not None, name
    following = next(rest, "")
    default = getattr(group, "default", None)
    if isinstance(group, click.Group) and following != default:
        known = group.get_command(click.Context(group), following)
        if name == "dev" and known is not None:
            return own_path((name, known.name or ""))
        return (name, following) if known is not None else (name,)
    return (name,)


def own_path(path: tuple[str, ...]) -> tuple[str, ...]:
    """The path of the project's own command that one of the development stack is, else the path."""
    from owctl.commands.dev import TABLE

    if path[0] == "dev" and path[1:] and TABLE[path[1]][0] in TABLE:
        return (TABLE[path[1]][0],)
    return path


def _is_option(word: str, rest: Iterator[str], takes_value: set[str]) -> bool:
    if word in takes_value:
        next(rest, None)
    return word.startswith("-")


def check_output(arguments: Sequence[str], stdout: str) -> None:
    """Fail unless the output of a command line is as documented; an error prints none."""
    row = row_of(arguments) if stdout else None
    if row is None:
        return
    documents = stdout.splitlines() if row.is_lines else [stdout]
    for document in documents:
        check_document(json.loads(document), row.file)


def check_document(document: object, file: str) -> None:
    """Fail unless the document fits the schema, and has no key that the schema does not name."""
    errors = sorted(validator(file).iter_errors(document), key=lambda error: list(error.path))
    if errors:
        shown = "\n".join(f"{error.json_path}: {error.message[:400]}" for error in errors[:5])
        raise AssertionError(f"not as docs/schemas/{file} says:\n{shown}")


@cache
def validator(file: str) -> Any:
    """The validator of a schema that no unknown key passes, unlike the published one."""
    from jsonschema import Draft202012Validator
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    schemas = {path.name: closed(json.loads(path.read_text())) for path in FOLDER.glob("*.json")}
    registry: Any = Registry().with_resources(
        (name, DRAFT202012.create_resource(schema)) for name, schema in schemas.items()
    )
    return Draft202012Validator(
        {"$ref": file}, registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def closed(schema: Any) -> Any:
    """A copy in which an object has the properties that are named, and no others."""
    schema = copy.deepcopy(schema)
    for part in _parts(schema):
        if "properties" in part and "anyOf" not in part:
            part["additionalProperties"] = False
    return schema


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from _parts(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _parts(value)
