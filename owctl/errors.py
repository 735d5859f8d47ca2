"""The errors owctl reports: each owns its exit code and says what to try.

OwctlError (1)
├── UsageError (2)
│   ├── UnknownService
│   └── ConfirmationRequired
├── ConfigurationError (4)
├── EngineUnavailable (5)
│   └── EnginePermissionDenied
├── EngineError (1)
│   ├── ImageMissing
│   ├── PortTaken
│   └── NotFound
├── ServiceFailed (1)
├── OutputRefused (1)
├── TimedOut (6)
├── BackupInvalid (7)
├── Locked (8)
└── Interrupted (130)
"""

from collections.abc import Sequence
from dataclasses import dataclass


class OwctlError(Exception):
    """A failure that the user can act on.

    ``message`` says what failed and why, ``hint`` what to try (shown after ``Try:``), ``details``
    are further lines shown as they are (log lines, one line a problem).
    """

    exit_code = 1

    def __init__(
        self, message: str, *, hint: str | None = None, details: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)


class ReaderGone(Exception):
    """Nobody reads what owctl writes any more, as in ``owctl logs | head``."""


class UsageError(OwctlError):
    """The command line asks for something that does not exist or is not allowed."""

    exit_code = 2


class UnknownService(UsageError):
    """No service of the stack has that name."""


class ConfirmationRequired(UsageError):
    """A destructive command was neither confirmed nor given ``--yes``."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration file; ``line`` counts from 1, 0 means the whole file."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}" if place else self.message


class ConfigurationError(OwctlError):
    """The compose files, ``.env`` or the settings are wrong; carries every problem found."""

    exit_code = 4

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        super().__init__(message, hint=hint, details=[str(problem) for problem in problems])
        self.problems = tuple(problems)


class EngineUnavailable(OwctlError):
    """No Docker engine answers at the address in use."""

    exit_code = 5


class EnginePermissionDenied(EngineUnavailable):
    """The engine's socket exists, but this user may not use it."""


class EngineError(OwctlError):
    """The engine answered a request with an error."""


class NotFound(EngineError):
    """The engine does not know the object (container, image, volume, network)."""


class ImageMissing(EngineError):
    """An image is not on this machine and could not be pulled."""


class ContainerLost(EngineError):
    """The engine, killed while it started a container, cannot start that one any more."""


class PortTaken(EngineError):
    """A host port that a service publishes is in use."""


class ServiceFailed(OwctlError):
    """A service's container died or cannot become ready."""


class OutputRefused(OwctlError):
    """Results cannot be written to stdout; a reader that went away is none of this."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"Cannot write the results to stdout: {error.strerror or error}",
            hint="the same command with its output where there is room: df -h",
        )


class TimedOut(OwctlError):
    """Something did not become ready in the time allowed."""

    exit_code = 6


class BackupInvalid(OwctlError):
    """A backup is damaged or not one of ours."""

    exit_code = 7


class Locked(OwctlError):
    """Another owctl is changing this project."""

    exit_code = 8


class Interrupted(OwctlError):
    """The user pressed Ctrl-C, or a termination signal came."""

    exit_code = 130
