"""Asking before something is lost: on the terminal, or not at all."""

import sys

from owctl.context import Context
from owctl.errors import ConfirmationRequired, OwctlError


def require_answerable(yes: bool, what: str) -> None:
    """Refuse early what would have to be asked where nobody can answer.

    ``what`` ends the sentence "owctl asks before it …". Raises ConfirmationRequired.
    """
    if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfirmationRequired(
            f"owctl asks before it {what}, and there is no terminal to ask on.",
            hint="the same command with --yes",
        )


def confirm(context: Context, yes: bool, question: str, what: str) -> None:
    """Ask ``question`` unless ``yes``; raises OwctlError if the answer is no."""
    if yes:
        return
    answer = context.console.confirm(question)
    if answer is None:
        require_answerable(yes, what)
    if not answer:
        raise OwctlError("Nothing was changed.", hint="the same command, and y")
