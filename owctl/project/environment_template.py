"""Edits the text of a ``.env`` in place: comments, order, quotes and line ends stay."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from owctl.environment.dotenv import Statement, parse_environment, split_statements
from owctl.errors import ConfigurationError
from owctl.project.private_file import cannot

_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_./:@%+,=~*?&-]*")
_URL_PASSWORD = re.compile(
    r"(?P<head>[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:)(?P<password>[^\s@/$]+)@(?P<host>[^\s/:?#]*)"
)


def read_template(path: Path, name: str) -> tuple[bytes, str]:
    """Return a file's bytes and their text.

    Raises ConfigurationError for what is no UTF-8 text file, OwctlError for what cannot be read.
    """
    if path.is_dir():
        raise ConfigurationError(
            f"{path} is a folder; a file of settings has to be there.",
            hint=f"look into it, then move it away: mv {path} {path}.folder",
        )
    try:
        data = path.read_bytes()
        return data, data.decode("utf-8")
    except OSError as error:
        raise cannot("read", path, error) from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{name}:{line} is not UTF-8 text; it was left as it is.",
            hint=f"save it as UTF-8: iconv -f latin1 -t utf-8 {path}",
        ) from error


class EnvironmentTemplate:
    """The text of one environment file, being edited.

    ``name`` is what problems call the file; ``environ`` is what its references are looked up in.
    Raises ConfigurationError, naming lines, for a text that compose could not read either.
    """

    def __init__(self, text: str, name: str, environ: Mapping[str, str]) -> None:
        self._original = text
        self._name = name
        self._environ = environ
        self._line_end = "\r\n" if "\r\n" in text else "\n"
        self._commented = False
        self._read(text)

    @property
    def text(self) -> str:
        """The text as it is now."""
        return self._text

    @property
    def changed(self) -> bool:
        """Whether the text is another than at the start."""
        return self._text != self._original

    @property
    def values(self) -> Mapping[str, str]:
        """What the text sets now, references resolved."""
        return self._parsed.values

    def is_reference(self, key: str) -> bool:
        """Return whether the key's value is made of other variables, which is nobody's to undo."""
        index = self._index(key)
        value = self._statements[index].value if index is not None else ""
        return "$" in value and not value.startswith("'")

    def assign(self, key: str, value: str) -> None:
        """Give a key its value: in its own place (the last, if several), else in a new line.

        Raises ConfigurationError for a value that no such file can hold.
        """
        index = self._index(key)
        if index is None:
            self._append(f"{key}={quoted(value)}")
        else:
            self._replace(index, value)
        if self._parsed.values.get(key) != value:
            raise ConfigurationError(
                f"{self._name} cannot hold the value of {key}.",
                hint="another value: letters and digits, and no line breaks",
            )

    def assign_url_password(self, key: str, is_old: Callable[[str], bool], new: str) -> None:
        """Replace the password inside a key's address, if it is an old one, on this stack's host.

        An address elsewhere (a host with a domain) has a password of its own.
        """
        from urllib.parse import quote, unquote

        index = self._index(key)
        if index is None:
            return
        statement = self._statements[index]
        found = _URL_PASSWORD.search(statement.value)
        if found is None or "." in found["host"].replace("127.0.0.1", ""):
            return
        if not is_old(unquote(found["password"])):
            return
        start, end = found.span("password")
        value = statement.value[:start] + quote(new, safe="") + statement.value[end:]
        self._change(index, replace(statement, value=value))

    def _index(self, key: str) -> int | None:
        """Return which statement gives the key its value, if it is one that holds the value."""
        line = self._parsed.lines.get(key)
        for index, statement in enumerate(self._statements):
            if statement.line == line and statement.key == key and statement.sign:
                return index
        return None

    def _replace(self, index: int, value: str) -> None:
        statement = self._statements[index]
        old, tail = statement.value, statement.tail
        new = quoted(value)
        if old[:1] in ("'", '"') and _PLAIN_VALUE.fullmatch(value):
            new = f"{old[0]}{value}{old[0]}"
        if old.startswith(("# ", "#\t")):
            # A comment to whoever wrote it. Compose takes it for the value, as nothing else is there.
            tail = f" {old}{tail}"
        self._change(index, replace(statement, value=new, tail=tail))

    def _change(self, index: int, statement: Statement) -> None:
        before, after = self._statements[:index], self._statements[index + 1 :]
        self._read("".join(each.text for each in (*before, statement, *after)))

    def _append(self, line: str) -> None:
        text = self._text
        if text and not text.endswith("\n"):
            text += self._line_end
        if not self._commented:
            text += (self._line_end if text else "") + f"# Added by owctl setup.{self._line_end}"
            self._commented = True
        self._read(text + line + self._line_end)

    def _read(self, text: str) -> None:
        """Take a text as the present one; raises ConfigurationError for what is wrong with it."""
        parsed = parse_environment(text, self._environ, self._name)
        if parsed.problems:
            raise ConfigurationError(
                f"{self._name} cannot be read; it was left as it is.",
                hint="correct the lines named above, then the same command again",
                problems=parsed.problems,
            )
        self._text, self._parsed = text, parsed
        self._statements = list(split_statements(text))


def quoted(value: str) -> str:
    """Return a value as it has to be written, so that it is read back the same."""
    if _PLAIN_VALUE.fullmatch(value):
        return value
    if "'" not in value and "\\" not in value:
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
