"""Edits the text of a ``.env`` line by line: comments, order, quotes and line ends stay."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from owctl.environment.dotenv import EnvironmentFile, parse_environment
from owctl.errors import ConfigurationError
from owctl.project.private_file import cannot

_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_./:@%+,=~*?&-]*")
_VALUE = re.compile(
    r"(?P<value>'(?:\\'|[^'])*'|\"(?:\\.|[^\"\\])*\"|(?!['\"]).*?)"
    r"(?P<tail>(?:(?<=[ \t])#.*|[ \t]+#.*)?[ \t]*\r?\n?)"
)
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
        # A line ends at "\n" alone, as the parser counts.
        self._lines = re.findall(r"[^\n]*\n|[^\n]+", text)
        self._line_end = "\r\n" if "\r\n" in text else "\n"
        self._commented = False
        self._parsed = self._parse()

    @property
    def text(self) -> str:
        """The text as it is now."""
        return "".join(self._lines)

    @property
    def changed(self) -> bool:
        """Whether the text is another than at the start."""
        return self.text != self._original

    @property
    def values(self) -> Mapping[str, str]:
        """What the text sets now, references resolved."""
        return self._parsed.values

    def is_reference(self, key: str) -> bool:
        """Return whether the key's value is made of other variables, which is nobody's to undo."""
        match = self._match(key)
        return match is not None and "$" in match["value"] and not match["value"].startswith("'")

    def assign(self, key: str, value: str) -> None:
        """Give a key its value: in its own line (the last, if several), else in a new one.

        Raises ConfigurationError for a value that no such file can hold.
        """
        match = self._match(key)
        if match is None:
            self._append(f"{key}={quoted(value)}")
        else:
            old, tail = match["value"], match["tail"]
            new = quoted(value)
            if old[:1] in ("'", '"') and _PLAIN_VALUE.fullmatch(value):
                new = f"{old[0]}{value}{old[0]}"
            if tail.startswith("#"):
                tail = " " + tail
            index = self._parsed.lines[key] - 1
            self._lines[index] = match["head"] + new + tail
        self._parsed = self._parse()
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

        match = self._match(key)
        found = _URL_PASSWORD.search(match["value"]) if match is not None else None
        if match is None or found is None or "." in found["host"].replace("127.0.0.1", ""):
            return
        if not is_old(unquote(found["password"])):
            return
        start, end = found.span("password")
        value = match["value"]
        index = self._parsed.lines[key] - 1
        replaced = value[:start] + quote(new, safe="") + value[end:]
        self._lines[index] = match["head"] + replaced + match["tail"]
        self._parsed = self._parse()

    def _match(self, key: str) -> re.Match[str] | None:
        """Return the parts of the line that gives the key its value, if it is one line."""
        number = self._parsed.lines.get(key)
        if number is None:
            return None
        head = rf"(?P<head>\ufeff?[ \t]*(?:export[ \t]+)?{re.escape(key)}[ \t]*[=:][ \t]*)"
        return re.fullmatch(head + _VALUE.pattern, self._lines[number - 1])

    def _append(self, line: str) -> None:
        if self._lines and not self._lines[-1].endswith("\n"):
            self._lines[-1] += self._line_end
        if not self._commented:
            if self._lines:
                self._lines.append(self._line_end)
            self._lines.append(f"# Added by owctl setup.{self._line_end}")
            self._commented = True
        self._lines.append(line + self._line_end)

    def _parse(self) -> EnvironmentFile:
        text = self.text.removeprefix("\ufeff")
        parsed = parse_environment(text, self._environ, self._name)
        if parsed.problems:
            raise ConfigurationError(
                f"{self._name} cannot be read; it was left as it is.",
                hint="correct the lines named above, then the same command again",
                problems=parsed.problems,
            )
        return parsed


def quoted(value: str) -> str:
    """Return a value as it has to be written, so that it is read back the same."""
    if _PLAIN_VALUE.fullmatch(value):
        return value
    if "'" not in value and "\\" not in value:
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
