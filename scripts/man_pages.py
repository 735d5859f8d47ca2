"""Writes the manual, a page for each command, from what the commands say of themselves.

Usage: scripts/man_pages.py FOLDER. `make man` calls it, and the wheel's build (hatch_build.py). Only
click is needed, no other dependency of owctl's.
"""

import os
import re
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from inspect import cleandoc
from pathlib import Path

import click

ENVIRONMENT = {
    "COMPOSE_FILE": "The compose files, with : between them; where -f is not given.",
    "COMPOSE_PROJECT_NAME": "The project's name; where -p is not given.",
    "COMPOSE_PROFILES": "Profiles to enable, with commas between them; --profile adds to it.",
    "COMPOSE_ENV_FILES": "Files in place of .env, with commas between them.",
    "DOCKER_HOST": "The engine's address.",
    "DOCKER_CONTEXT": "The Docker context; where --context is not given.",
    "NO_COLOR": "No colours, whatever its value is.",
    "XDG_RUNTIME_DIR": "Where the locks are, so that two runs of owctl do not meet.",
}
FILES = {
    "compose.yaml": "The stack. Other names that compose knows are read, too.",
    ".env": "Settings and secrets, readable by you alone.",
    "backups/": "Backups, a folder each.",
    "migrations/": "Migrations from the Python backend: the captured copy and the report.",
    ".owctl/history.jsonl": "Who changed the project, when, and how it ended.",
}
EVERYWHERE = (
    "Options of owctl itself, such as `-C DIR` and `-p NAME`, stand before the command: owctl(1)."
)
WIDTH = 78


def pages(today: str) -> Iterator[tuple[str, str]]:
    """Yield the file's name and the text of each page; ``today`` is its date."""
    from owctl.cli import cli

    for context in _contexts(click.Context(cli, info_name="owctl", **cli.context_settings)):
        yield f"{_name(context)}.1", "\n".join(_page(context, today)) + "\n"


def write_pages(folder: Path) -> list[Path]:
    """Write all pages into a folder; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    written = []
    for name, text in pages(f"{moment:%Y-%m-%d}"):
        (folder / name).write_text(text)
        written.append(folder / name)
    return written


def _contexts(context: click.Context) -> Iterator[click.Context]:
    yield context
    for _, sub in _subcommands(context):
        yield from _contexts(sub)


def _subcommands(context: click.Context) -> list[tuple[str, click.Context]]:
    group = context.command
    if not isinstance(group, click.Group):
        return []
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            found.append((name, click.Context(command, parent=context, info_name=name)))
    return found


def _page(context: click.Context, today: str) -> Iterator[str]:
    from owctl import __version__

    command, name = _speaking(context), _name(context)
    first, _, more = _help_of(context).partition("\n\n")
    yield f'.TH {_escaped(name.upper())} 1 {today} "owctl {__version__}" "owctl"'
    yield ".SH NAME"
    names = ", ".join(_escaped(each) for each in (name, *_aliases(context)))
    yield f"{names} \\- {_escaped(first.rstrip('.').replace('`', ''))}"
    yield ".SH SYNOPSIS"
    pieces = " ".join(context.command.collect_usage_pieces(context))
    yield f".B {_escaped(context.command_path)}"
    yield _escaped(pieces)
    yield ".SH DESCRIPTION"
    examples, rest = _epilog(command)
    yield from _paragraphs("\n\n".join(filter(None, (first, more, *rest))))
    if context.parent is not None:
        yield from (".PP", *_filled(EVERYWHERE))
    yield from _options(command, click.Context(command, parent=context.parent))
    yield from _commands(context)
    if examples:
        yield from (".SH EXAMPLES", ".EX")
        yield from map(_line, examples)
        yield ".EE"
    yield from _closing(context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            records.append(record)
    if records:
        yield ".SH OPTIONS"
    for names, text in records:
        yield ".TP"
        yield _marked(names)
        yield from _filled(text)


def _commands(context: click.Context) -> Iterator[str]:
    subs = _subcommands(context)
    if subs:
        yield ".SH COMMANDS"
    for _, sub in subs:
        yield ".TP"
        yield f"\\fB{_escaped(_name(sub))}\\fR(1)"
        yield from _filled(_help_of(sub).partition("\n\n")[0])


def _closing(context: click.Context) -> Iterator[str]:
    yield ".SH EXIT STATUS"
    for code, meaning in _exit_codes(context.find_root().command):
        yield from (".TP", f"\\fB{code}\\fR", _escaped(meaning))
    if context.parent is None:
        for title, table in (("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)):
            yield f".SH {title}"
            for name, meaning in table.items():
                yield from (".TP", f"\\fB{_escaped(name)}\\fR", *_filled(meaning))
    else:
        yield from (".SH ENVIRONMENT", *_filled("As for every command; they are in owctl(1)."))
        yield from (".SH FILES", *_filled("As for every command; they are in owctl(1)."))
    others = [_name(sub) for _, sub in _subcommands(context)]
    if context.parent is not None:
        others = [_name(context.parent), *others]
    yield ".SH SEE ALSO"
    ends = [","] * (len(others) - 1) + [""]
    for other, end in zip(others, ends, strict=True):
        yield f".BR {_escaped(other)} (1){end}"


def _exit_codes(root: click.Command) -> list[tuple[str, str]]:
    """Return the codes and their meanings as the help of owctl has them."""
    found = re.search(r"Exit codes: (.*)\.", (root.epilog or "").replace("\n", " "))
    assert found is not None, "the help of owctl tells the exit codes"
    return [(code, meaning) for code, _, meaning in
            (each.partition(" ") for each in found[1].split(", "))]  # fmt: skip


def _epilog(command: click.Command) -> tuple[list[str], list[str]]:
    """Return the examples, and the other paragraphs, but for the exit codes."""
    examples: list[str] = []
    rest = []
    for paragraph in (command.epilog or "").split("\n\n"):
        lines = paragraph.removeprefix("\b\n").splitlines()
        if lines and lines[0].strip() == "Examples:":
            examples = [line.strip() for line in lines[1:]]
        elif paragraph.strip() and not paragraph.startswith("Exit codes:"):
            rest.append(paragraph)
    return examples, rest


def _speaking(context: click.Context) -> click.Command:
    """Return the command whose options and examples are shown: of a group, its default."""
    group = context.command
    default = getattr(group, "default", None)
    if isinstance(group, click.Group) and default is not None:
        return group.get_command(context, default) or group
    return group


def _help_of(context: click.Context) -> str:
    own = cleandoc(context.command.help or "")
    speaking = _speaking(context)
    if speaking is context.command:
        return own
    _, _, more = cleandoc(speaking.help or "").partition("\n\n")
    return f"{own}\n\n{more}" if more else own


def _aliases(context: click.Context) -> list[str]:
    from owctl.cli import ALIASES

    if context.parent is None or context.parent.parent is not None:
        return []
    return [f"owctl-{alias}" for alias, name in ALIASES.items() if name == context.info_name]


def _name(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ".PP"
        lines = paragraph.splitlines()
        if lines and lines[0].strip() == "\b":
            yield from (".nf", *map(_line, lines[1:]), ".fi")
        else:
            yield from _filled(paragraph)


def _filled(text: str) -> Iterator[str]:
    joined = re.sub("`([^`]+)`", "\0B\\1\0R", " ".join(text.split()))
    for line in textwrap.wrap(joined, WIDTH, break_long_words=False, break_on_hyphens=False):
        yield _line(line)


def _line(text: str) -> str:
    """Return a line of text that roff takes for nothing else."""
    line = _escaped(text).replace("\0", "\\f")
    return f"\\&{line}" if line[:1] in (".", "'") else line


def _marked(names: str) -> str:
    """Return the names of an option in bold, what it takes in italics."""
    marked = re.sub(r"(?<!\S)(-[-\w]+)", lambda match: f"\0B{match[1]}\0R", names)
    marked = re.sub(r"(?<!\S)(?!\0)([^\s,\0]+)(?=,|$| )", lambda match: f"\0I{match[1]}\0R", marked)
    return _escaped(marked).replace("\0", "\\f")


def _escaped(text: str) -> str:
    """Return text for roff: its signs escaped, hyphens as one types them."""
    for sign, escape in (("\\", "\\e"), ("-", "\\-"), ("…", "\\[u2026]"), ("→", "\\[->]")):
        text = text.replace(sign, escape)
    return text


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    for path in write_pages(Path(sys.argv[1])):
        print(path)
