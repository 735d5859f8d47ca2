"""A command that could not be started in a container: the runtime's words, told in our own.

The engine writes them where the command's output would be, and gives no reason apart from that.
"""

import re
from dataclasses import dataclass

from owctl.errors import EngineError

NOT_EXECUTABLE = 126
NOT_FOUND = 127
# What the texts of Docker (runc) and Podman (crun) begin with.
_BEGINNINGS = (
    b"OCI runtime exec failed: ",
    b"unable to find user ",
    b"unable to find group ",
    b"Error: crun: ",
    b"Error: runc: ",
)
LONGEST_BYTES = 4096


class CommandNotStarted(EngineError):
    """A command could not be started; ``exit_code`` is what a shell would give: 126 or 127."""

    def __init__(self, message: str, *, hint: str, exit_code: int, program_missing: bool) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
        self.program_missing = program_missing


@dataclass(frozen=True, slots=True)
class _Known:
    pattern: re.Pattern[str]
    message: str
    hint: str
    exit_code: int = NOT_EXECUTABLE


_TABLE = (
    _Known(
        re.compile(
            r"chdir to cwd \(\\*\"(?P<what>[^\"\\]*)|(?:workdir|chdir to) [\"`']?(?P<crun>\S+?)[\"`']?:"
        ),
        "there is no folder {what} in the container",
        "--workdir with one that it has",
    ),
    _Known(
        re.compile(r"Cwd must be an absolute path|is not an absolute path"),
        "the folder of --workdir must begin with /",
        "--workdir /",
    ),
    _Known(
        re.compile(r"unable to find (?:user|group) (?P<what>[^:]*):"),
        "the container knows no user or group {what}",
        "--user with a name of its /etc/passwd, or with a number",
    ),
    _Known(
        re.compile(
            r"executable file `?(?P<what>\S*?)`? ?not found|no such file or directory|not found"
        ),
        "the container has no such program",
        "its name, or its whole path in the container",
        NOT_FOUND,
    ),
    _Known(
        re.compile(r"permission denied|is a directory"),
        "it may not be executed",
        "`chmod +x` when the image is built; --user root, if others may not",
    ),
    _Known(
        re.compile(r"exec format error"),
        "it is no program for this machine",
        "a script needs `#!` and its interpreter in the first line",
    ),
)


def may_be_failure(output: bytes) -> bool:
    """Whether a command's first output may be the engine's, because it could not be started."""
    return output.startswith(_BEGINNINGS) and len(output) <= LONGEST_BYTES


def failure_of(output: bytes, exit_code: int, program: str) -> CommandNotStarted | None:
    """Return what the engine said, as an error; None if the output is the command's own."""
    if exit_code not in (NOT_EXECUTABLE, NOT_FOUND) or not may_be_failure(output):
        return None
    text = output.decode("utf-8", "replace").strip()
    for known in _TABLE:
        if found := known.pattern.search(text):
            what = next((value for value in found.groupdict().values() if value), "")
            return CommandNotStarted(
                f"Cannot run {program}: {known.message.format(what=what)}.",
                hint=known.hint,
                exit_code=known.exit_code,
                program_missing=known.exit_code == NOT_FOUND,
            )
    return CommandNotStarted(
        f"Cannot run {program}: {text}.",
        hint="`owctl doctor` checks the engine",
        exit_code=exit_code,
        program_missing=False,
    )
