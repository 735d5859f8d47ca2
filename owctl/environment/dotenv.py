"""Reads environment files (``.env``, ``env_file``) by the rules that compose has for them.

python-dotenv splits a file into bindings. What each means, and whether it is whole, is compose's say:
the two differ in quotes, escapes, white space, ``KEY: value`` and in where a line ends.
"""

import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from owctl.environment.interpolation import InterpolationError, substitute
from owctl.errors import Problem

# -- How a file's path is shown to the user: short where they stand, absolute elsewhere.


def display_path(path: Path) -> str:
    """Return ``path`` relative to the working directory if it is inside it, else as it is."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, FileNotFoundError):
        # Outside the working directory, or the working directory itself has been removed.
        return str(path)


_MARK = "\ufeff"
# Go's two kinds of white space, which are not Python's: inside a line, and between statements.
_LINE_SPACE = "\t\v\f\r \x85\xa0"
_SPACE = f"{_LINE_SPACE}\n\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_LEAD = re.compile(rf"(?:[{_SPACE}]++|#[^\n]*+)*+")
# The CR of a CRLF is the tail's, even where there is no value.
_HEAD = re.compile(
    rf"(?P<export>export(?=[\t\n\f\r ])[{_LINE_SPACE}]*+)?+"
    rf"(?P<name>[^=:\n]*+)(?P<sign>[=:]?+)(?:(?!\r\n)[{_LINE_SPACE}])*+"
)
_VALID_KEY = re.compile(r"[\w.\[\]-]+")
_LINE = re.compile(r"[^\n]*+\n?+")
_TO_QUOTE = {quote: re.compile(rf"(?:[^\\{quote}]++|\\.)*+{quote}", re.DOTALL) for quote in "'\""}
_BACKSLASH = re.compile(r"\\(.)", re.DOTALL)
_OCTAL = re.compile(r"[0-3][0-7]{2}")
_ESCAPE = re.compile(r'\\(?:([abcfnrtv$"\\])|0([0-9]{0,3}))')
# "$$", so that the interpolation that follows makes it a plain dollar sign.
_ESCAPED = dict(zip('abfnrtv"\\', '\a\b\f\n\r\t\v"\\', strict=True)) | {"$": "$$"}


@dataclass(frozen=True, slots=True)
class EnvironmentFile:
    """What a file sets: values, the line that sets each, and everything wrong with it.

    ``unset`` names the variables that the file refers to and nobody sets.
    """

    values: dict[str, str] = field(default_factory=dict, repr=False)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unset: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Statement:
    """A piece of a file's text, which is ``head + value + tail`` to the letter.

    ``head`` reaches from the blank lines and comments above to the sign, and the white space after it;
    ``value`` is as written, in its quotes; ``tail`` is the rest of the line. ``line`` is that of the
    name. ``key`` is empty where nothing is named or the text is wrong, ``sign`` where a name
    stands alone.
    """

    line: int
    head: str = field(repr=False)
    key: str = ""
    sign: str = ""
    value: str = field(default="", repr=False)
    tail: str = field(default="", repr=False)
    problem: str = ""

    @property
    def text(self) -> str:
        """The whole piece."""
        return self.head + self.value + self.tail


def read_environment_file(path: Path, environ: Mapping[str, str]) -> EnvironmentFile:
    """Read one file; references in it are looked up in ``environ``, then in earlier lines.

    Never raises for the file's sake: what cannot be read or parsed is in ``problems``.
    """
    name = display_path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return EnvironmentFile(problems=[Problem(name, 0, f"cannot be read: {reason}")])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return EnvironmentFile(problems=[Problem(name, line, "is not UTF-8 text")])
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        return EnvironmentFile(problems=[Problem(name, line, "has a null byte: not a text file")])
    return parse_environment(text, environ, name)


def parse_environment(text: str, environ: Mapping[str, str], name: str) -> EnvironmentFile:
    """Parse the text of an environment file; ``name`` is what problems call the file."""
    result = EnvironmentFile()
    # What the shell sets is looked up before what the file sets.
    known = ChainMap(dict(environ), result.values)
    for statement in split_statements(text):
        key, value = statement.key, None
        problems = [statement.problem] if statement.problem else []
        try:
            if key and statement.sign:
                value = _meaning(statement.value, known, result.unset)
            elif key:
                value = environ.get(key)
        except InterpolationError as error:
            # Not the syntax error's own words: they quote, and the value may be a secret.
            wrong = f"{key} has a $ that begins no variable; write $$, or put it in single quotes"
            problems.append(str(error) if error.variable else wrong)
        result.problems.extend(Problem(name, statement.line, problem) for problem in problems)
        if value is not None:
            result.values[key] = value
            result.lines[key] = statement.line
    return result


def split_statements(text: str) -> Iterator[Statement]:
    """Yield what a text consists of, comments and blank lines too: their texts make it up again."""
    return _Splitter(text).statements()


class _Splitter:
    """Goes through bindings; ``position`` is where the next statement begins in the one at hand."""

    def __init__(self, text: str) -> None:
        self.bindings = _bindings(text)
        self.text = ""
        self.position = 0
        self.line = 1
        self.mark = len(_MARK) if text.startswith(_MARK) else 0

    def statements(self) -> Iterator[Statement]:
        for binding in self.bindings:
            self.text, self.position = binding, 0
            # Once, but where python-dotenv sees quotes that to compose are none.
            while self.position < len(self.text):
                statement = self._statement()
                yield statement
                self.position += len(statement.text)
                self.line += statement.text.count("\n")

    def _statement(self) -> Statement:
        lead = _matched(_LEAD, self.text, self.position + self.mark)
        self.mark = 0
        line = self.line + self.text.count("\n", self.position, lead.end())
        head = _matched(_HEAD, self.text, lead.end())
        before = self.text[self.position : head.end()]
        key, sign = head["name"].rstrip(_LINE_SPACE), head["sign"]
        if not key and not sign:
            return Statement(line, before)
        # In no problem the line itself is quoted: it may hold a secret.
        if not _VALID_KEY.fullmatch(key):
            rest = self._rest_of_line(head.end())
            return Statement(line, before + rest, problem="is not of the form NAME=value")
        if not sign:
            return Statement(line, before, key, tail=self._rest_of_line(head.end()))
        end, is_quoted = self._end_of_value(head.end())
        if end is None:
            rest = self._rest_of_line(head.end())
            return Statement(line, before + rest, problem=f"the quoted value of {key} has no end")
        tail = self._rest_of_line(end)
        is_odd = is_quoted and tail.strip(_SPACE)[:1] not in ("", "#")
        problem = "has text after the closing quote" if is_odd else ""
        return Statement(line, before, key, sign, self.text[head.end() : end], tail, problem)

    def _end_of_value(self, start: int) -> tuple[int | None, bool]:
        """Return where the value ends, None if its quote is never closed; and if it is quoted."""
        quote = self.text[start : start + 1]
        if quote in _TO_QUOTE:
            return self._after_quote(_TO_QUOTE[quote], start + 1), True
        # As in compose: only after a space does "#" begin a comment.
        value = self._rest_of_line(start).split(" #", 1)[0]
        return start + len(value.rstrip(_SPACE)), False

    def _after_quote(self, to_quote: re.Pattern[str], start: int) -> int | None:
        """Return where the closing quote is passed; takes in as many bindings as that needs."""
        found = to_quote.match(self.text, start)
        if found is not None:
            return found.end()
        # Each binding is searched alone: all ends with a line, so none within an escape.
        texts = [self.text]
        for text in self.bindings:
            found = to_quote.match(text)
            texts.append(text)
            if found is not None:
                break
        self.text = "".join(texts)
        return None if found is None else len(self.text) - len(texts[-1]) + found.end()

    def _rest_of_line(self, start: int) -> str:
        return _matched(_LINE, self.text, start).group()


def _bindings(text: str) -> Iterator[str]:
    """Yield the texts of python-dotenv's bindings; those joined that end in a CR.

    Only LF ends a line to compose.
    """
    # Here because commands that read no file need not wait for the import.
    from dotenv.parser import parse_stream

    marks = len(text) - len(text.lstrip(_MARK))  # newer versions of python-dotenv drop one
    parts = [text[:marks]]
    for binding in parse_stream(StringIO(text[marks:], newline="")):
        parts.append(binding.original.string)
        if parts[-1].endswith("\n"):
            yield "".join(parts)
            parts = []
    yield "".join(parts)


def _meaning(written: str, known: Mapping[str, str], unset: list[str]) -> str:
    """Return the value that is written so; raises InterpolationError."""
    quote = written[:1]
    if quote not in _TO_QUOTE:
        return substitute(written, known, on_unset=unset.append)
    # Of the backslashes only one before the quote goes; what "\\" is to the rest comes after.
    text = _BACKSLASH.sub(lambda match: match[1] if match[1] == quote else match[0], written[1:-1])
    if quote == "'":
        return text
    return substitute(_ESCAPE.sub(_unescaped, text), known, on_unset=unset.append)


def _unescaped(match: re.Match[str]) -> str:
    letter, digits = match.groups()
    if letter is not None:
        return _ESCAPED.get(letter, match[0])
    # Compose takes the zero away, and then wants the three digits of one byte.
    return chr(int(digits, 8)) if _OCTAL.fullmatch(digits) else f"\\{digits}"


def _matched(pattern: re.Pattern[str], text: str, position: int) -> re.Match[str]:
    """Match a pattern that matches everywhere."""
    match = pattern.match(text, position)
    assert match is not None
    return match
