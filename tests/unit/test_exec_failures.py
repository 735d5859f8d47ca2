"""What engines say of a command that they could not start, and what a user is told."""

import pytest

from owctl.engine.terminal import failure_of, may_be_failure

RUNC = "OCI runtime exec failed: exec failed: unable to start container process: "


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        (
            f'{RUNC}exec: "x": executable file not found in $PATH: unknown',
            127,
            "has no such program",
        ),
        (f'{RUNC}exec: "/x": stat /x: no such file or directory: unknown', 127, "no such program"),
        (f'{RUNC}exec: "/x": permission denied: unknown', 126, "may not be executed"),
        (f'{RUNC}exec: "/x": is a directory: unknown', 126, "may not be executed"),
        (f"{RUNC}exec /x: exec format error: unknown", 126, "no program for this machine"),
        (
            f'{RUNC}chdir to cwd ("/x") set in config.json failed: no such file or directory: unknown',
            126,
            "no folder /x",
        ),
        (
            "OCI runtime exec failed: exec failed: Cwd must be an absolute path: unknown",
            126,
            "begin with /",
        ),
        ("unable to find user x: no matching entries in passwd file", 126, "no user or group x"),
        # Podman
        (
            "Error: crun: executable file `x` not found in $PATH: No such file or directory",
            127,
            "such program",
        ),
        ("OCI runtime exec failed: something new", 126, "something new"),
    ],
)
def test_what_is_told(said: str, code: int, told: str):
    failure = failure_of(f"{said}\r\n".encode(), 126, "'x' in web")
    assert failure is not None
    assert failure.message.startswith("Cannot run 'x' in web: ")
    assert told in failure.message
    assert failure.exit_code == code
    assert failure.program_missing == (code == 127)
    assert failure.hint


def test_a_commands_own_words_are_left_alone():
    assert failure_of(b"sh: 1: x: not found\n", 127, "sh") is None
    assert failure_of(b"OCI runtime exec failed: ...", 1, "sh") is None
    assert not may_be_failure(b"Error: ")
    assert not may_be_failure(b"OCI runtime exec failed: " + b"x" * 5000)
