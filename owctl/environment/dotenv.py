"""Reads environment files (``.env``, ``env_file``) by the rules that compose has for them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from owctl.environment.interpolation import InterpolationError, substitute
from owctl.environment.paths import display_path
from owctl.errors import Problem

_KEY = re.compile(r"(?:export[ \t]+)?([^=:\n]*?)[ \t\r]*(=|:|\n|\Z)")
_VALID_KEY = re.compile(r"[\w.\[\]-]+")
# What compose takes for white space inside a line, and at its end.
_SPACE = "\t\v\f\r \x85\xa0"
_BLANK = re.compile(r"(?:\s+|#[^\n]*)*")
_ESCAPE = re.compile(r'\\([abcfnrtv$"\\]|0\d{0,3})')
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True)
class EnvironmentFile:
    """What a file sets: values, the line that sets each, and everything wrong with it.

    ``unset`` names the variables that the file refers to and nobody sets.
    """

    values: dict[str, str] = field(default_factory=dict, repr=False)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unset: list[str] = field(default_factory=list)


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
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return EnvironmentFile(problems=[Problem(name, line, "is not UTF-8 text")])
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        return EnvironmentFile(problems=[Problem(name, line, "has a null byte: not a text file")])
    return parse_environment(text, environ, name)


def parse_environment(text: str, environ: Mapping[str, str], name: str) -> EnvironmentFile:
    """Parse the text of an environment file; ``name`` is what problems call the file."""
    parser = _Parser(text.replace("\r\n", "\n"), environ, name)
    parser.parse()
    return parser.result


class _Parser:
    """One pass over a text; ``position`` is where the next statement starts."""

    def __init__(self, text: str, environ: Mapping[str, str], name: str) -> None:
        self.text = text
        self.environ = environ
        self.name = name
        self.position = 0
        self.result = EnvironmentFile()

    def parse(self) -> None:
        while True:
            blank = _BLANK.match(self.text, self.position)
            self.position = blank.end() if blank else self.position
            if self.position >= len(self.text):
                return
            self._statement()

    def _statement(self) -> None:
        line = self.text.count("\n", 0, self.position) + 1
        match = _KEY.match(self.text, self.position)
        key = match.group(1) if match else ""
        if match is None or not _VALID_KEY.fullmatch(key):
            # The line itself is not quoted: it may hold a secret.
            self._problem(line, "is not of the form NAME=value")
            self._skip_line()
            return
        self.position = match.end()
        if match.group(2) in ("=", ":"):
            self._assignment(key, line)
        elif key in self.environ:
            self._set(key, self.environ[key], line)

    def _assignment(self, key: str, line: int) -> None:
        while self.position < len(self.text) and self.text[self.position] in _SPACE:
            self.position += 1
        quote = self.text[self.position : self.position + 1]
        if quote not in ("'", '"'):
            end = self.text.find("\n", self.position)
            end = len(self.text) if end < 0 else end
            raw = self.text[self.position : end]
            self.position = end
            # As in compose: only after a space does "#" begin a comment.
            value = raw.split(" #", 1)[0]
            self._expand(key, value.rstrip(), line)
            return
        raw_quoted = self._quoted(quote)
        if raw_quoted is None:
            self._problem(line, f"the quoted value of {key} has no end")
            self._skip_line()
        elif quote == "'":
            self._set(key, raw_quoted, line)
        else:
            self._expand(key, _ESCAPE.sub(_unescape, raw_quoted), line)
        self._after_quote(line)

    def _quoted(self, quote: str) -> str | None:
        """Return the text between the quotes, in which only an escaped quote is unescaped."""
        parts: list[str] = []
        index = self.position + 1
        while index < len(self.text):
            character = self.text[index]
            if character == "\\" and self.text[index + 1 : index + 2] == quote:
                parts.append(quote)
                index += 2
            elif character == "\\" and index + 1 < len(self.text):
                parts.append(self.text[index : index + 2])
                index += 2
            elif character == quote:
                self.position = index + 1
                return "".join(parts)
            else:
                parts.append(character)
                index += 1
        return None

    def _after_quote(self, line: int) -> None:
        end = self.text.find("\n", self.position)
        rest = self.text[self.position : end if end >= 0 else len(self.text)].strip()
        if rest and not rest.startswith("#"):
            self._problem(line, "has text after the closing quote")
        self._skip_line()

    def _expand(self, key: str, template: str, line: int) -> None:
        lookup = {**self.result.values, **self.environ}
        try:
            value = substitute(template, lookup, on_unset=self.result.unset.append)
        except InterpolationError as error:
            # Not the syntax error's own words: they quote, and the value may be a secret.
            wrong = f"{key} has a $ that begins no variable; write $$, or put it in single quotes"
            self._problem(line, str(error) if error.variable else wrong)
            return
        self._set(key, value, line)

    def _set(self, key: str, value: str, line: int) -> None:
        self.result.values[key] = value
        self.result.lines[key] = line

    def _skip_line(self) -> None:
        end = self.text.find("\n", self.position)
        self.position = len(self.text) if end < 0 else end

    def _problem(self, line: int, message: str) -> None:
        self.result.problems.append(Problem(self.name, line, message))


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1)
    if code == "$":
        return "$$"  # so that the interpolation that follows makes it a plain dollar sign
    if code in ('"', "\\"):
        return code
    if code.startswith("0"):
        return chr(int(code, 8) & 0xFF)
    return _ESCAPED.get(code, match.group())
