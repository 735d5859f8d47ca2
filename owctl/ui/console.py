"""What reaches the user: results on stdout, everything else on stderr, secrets masked."""

import errno
import io
import json
import os
import select
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import IO, TYPE_CHECKING, Any

from owctl.errors import OutputRefused, OwctlError, ReaderGone
from owctl.ui.table import Cell, Column, render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from owctl.ui.progress import Progress
    from owctl.ui.watch import LiveTable


def unmasked(text: str) -> str:
    """Return the text as it is: the mask before any secret is known."""
    return text


def json_document(project: str | None, /, **body: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    """Return what a command prints for programs; its keys are only ever added."""
    return {"schema": 1, "project": project, **body}


class Output(io.RawIOBase):
    """Standard output or error below Python's own buffers, which would keep what was refused.

    Where ``must_arrive``, the first write that fails raises ReaderGone when nobody reads, else
    OutputRefused. What cannot be written is dropped otherwise, and ``refused`` is the first reason
    other than a reader that went away.
    """

    def __init__(self, descriptor: int, *, must_arrive: bool) -> None:
        super().__init__()
        self.must_arrive = must_arrive
        self.refused: OSError | None = None
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor, which stays open when this is closed."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether this is a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401  # any buffer
        """Write all of ``data``, and return its length in bytes."""
        rest = memoryview(data).cast("B")
        length = len(rest)
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError as error:
            had_to_arrive, self.must_arrive = self.must_arrive, False
            # A terminal that was hung up answers EIO.
            if error.errno in (errno.EPIPE, errno.EIO):
                if had_to_arrive:
                    raise ReaderGone from error
            else:
                self.refused = self.refused or error
                if had_to_arrive:
                    raise OutputRefused(error) from error
        return length

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            # Somebody made it non-blocking; it may be shared with our parent.
            select.select([], [self._descriptor], [])
            return 0


def guard_outputs() -> None:
    """Let nothing that happens to stderr end the work; see ``Console.must_end`` for stdout."""
    for name, must_arrive in (("stdout", True), ("stderr", False)):
        before = getattr(sys, name)
        raw = Output(before.fileno(), must_arrive=must_arrive)
        after = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=before.encoding,
            errors=before.errors,
            newline="\n",
            line_buffering=before.line_buffering,
            write_through=before.write_through,
        )
        setattr(sys, name, after)


def _results() -> Output | None:
    """Return what is below stdout; None where somebody else put something into its place."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw if isinstance(raw, Output) else None


class Console:
    """The two streams of one owctl run.

    ``color`` None means: where the stream is a terminal. ``mask`` is applied to every text,
    ``reword`` before it to messages, which may name commands of owctl.
    """

    def __init__(self, *, color: bool | None = None) -> None:
        self.color = color
        self.quiet = False
        self.debug = False
        self.mask: Callable[[str], str] = unmasked
        self.reword: Callable[[str], str] = unmasked
        self.live: Progress | None = None

    def must_end(self) -> None:
        """Let the work go on to its end from here, though nobody may read what it prints."""
        results = _results()
        if results is not None:
            results.must_arrive = False

    def refused(self) -> OutputRefused | None:
        """Return why results of work that went on to its end are not on stdout; None if they are."""
        results = _results()
        if results is None or results.refused is None:
            return None
        return OutputRefused(results.refused)

    def result(self, text: str = "") -> None:
        """Print a result on stdout."""
        self._write(sys.stdout, self.mask(text))

    def info(self, text: str) -> None:
        """Print a message on stderr, unless quiet."""
        if not self.quiet:
            self._write(sys.stderr, self._message(text))

    def warn(self, text: str) -> None:
        """Print a warning on stderr, even when quiet."""
        self._write(sys.stderr, self._painted("Warning: ", "33", sys.stderr) + self._message(text))

    def error(self, error: OwctlError) -> None:
        """Print what failed, why, the evidence and ``Try:`` on stderr."""
        if self.debug:
            trace = "".join(
                traceback.format_exception(error if _raised(error) else sys.exc_info()[1])
            )
            self._write(sys.stderr, self.mask(trace.rstrip()))
        self._write(
            sys.stderr, self._painted("Error: ", "1;31", sys.stderr) + self._message(error.message)
        )
        for line in error.details:
            self._write(sys.stderr, "  " + self._message(line))
        if error.hint:
            hint = self._message(error.hint)
            self._write(sys.stderr, self._painted("Try: ", "1", sys.stderr) + hint)

    def json(self, document: Mapping[str, Any]) -> None:
        """Print one JSON document on stdout."""
        self._write(sys.stdout, self.mask(json.dumps(document, indent=2, ensure_ascii=False)))

    def document(self, project: str | None, /, **body: Any) -> None:  # noqa: ANN401  # JSON
        """Print ``json_document`` of the same."""
        self.json(json_document(project, **body))

    def json_line(self, document: Mapping[str, Any]) -> None:
        """Print one JSON document as one line on stdout."""
        self._write(sys.stdout, self.mask(json.dumps(document, ensure_ascii=False)))

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]]) -> None:
        """Print a table on stdout: fitted to a terminal, whole and plain when piped."""
        masked = [
            [
                Cell(self.mask(cell.text), cell.style)
                if isinstance(cell, Cell)
                else Cell(self.mask(cell))
                for cell in row
            ]
            for row in rows
        ]
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        self._write(
            sys.stdout, render(columns, masked, width=width, color=self.colored(sys.stdout))
        )

    def progress(self, title: str) -> "AbstractContextManager[Progress]":
        """Open a live display on stderr: rows on a terminal, plain lines elsewhere."""
        return self._progress(title)

    @contextmanager
    def _progress(self, title: str) -> "Iterator[Progress]":
        from owctl.ui.progress import open_progress

        def mask(text: str) -> str:
            return self.mask(text)

        live = not self.quiet and sys.stderr.isatty()
        color = self.colored(sys.stderr)
        with open_progress(title, mask, live=live, color=color, quiet=self.quiet) as progress:
            self.live = progress
            try:
                yield progress
            finally:
                self.live = None

    def live_table(self) -> "LiveTable | None":
        """Return a table to draw again and again on stdout, None where that is no terminal."""
        if not sys.stdout.isatty():
            return None
        from owctl.ui.watch import LiveTable

        return LiveTable(lambda text: self.mask(text), color=self.colored(sys.stdout))

    def confirm(self, question: str, *, default: bool = False) -> bool | None:
        """Ask yes or no on the terminal; None where there is none to ask on.

        A bare Enter is the default; the end of the input is a no.
        """
        answer = self.ask(f"{question} {'[Y/n]' if default else '[y/N]'} ", end_of_input="n")
        if answer is None:
            return None
        return default if not answer else answer.lower() in ("y", "yes")

    def ask(self, question: str, *, end_of_input: str = "") -> str | None:
        """Ask for a line on the terminal; None where there is none to ask on."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return None
        sys.stderr.write(self.mask(question))
        sys.stderr.flush()
        line = sys.stdin.readline()
        return line.strip() if line else end_of_input

    def colored(self, stream: IO[str]) -> bool:
        """Return whether to colour what goes to the stream."""
        return stream.isatty() if self.color is None else self.color and stream.isatty()

    def _message(self, text: str) -> str:
        return self.mask(self.reword(text))

    def _painted(self, text: str, code: str, stream: IO[str]) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colored(stream) else text

    def _write(self, stream: IO[str], text: str) -> None:
        if self.live is not None and stream is sys.stderr:
            self.live.print(text)
            return
        # A log line or a file name may hold what the terminal's encoding cannot say.
        encoding = getattr(stream, "encoding", None) or "utf-8"
        text = text.encode(encoding, "replace").decode(encoding)
        stream.write(text + "\n")
        stream.flush()


def _raised(error: OwctlError) -> bool:
    return error.__traceback__ is not None
