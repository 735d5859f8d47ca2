"""Encrypting what is pushed and decrypting what is pulled, in bounded memory.

pyrage reads and writes by itself from begin to end, so it works in a thread of its own; a pipe
connects it with the thread that has the content, and makes the faster one wait.
"""

import contextlib
import io
import os
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from owctl.backup.encryption import Encryption, Identity, decrypt

_PIECE_BYTES = 1024 * 1024


class Source(Protocol):
    """What can be read from."""

    def read(self, size: int, /) -> bytes: ...


class Encryptor:
    """Encrypts what is written and hands the result to ``sink``, in another thread.

    What ``sink`` raises is raised by the next ``write``, or by ``finish``.
    """

    def __init__(self, encryption: Encryption, sink: Callable[[bytes], None]) -> None:
        self._encryption = encryption
        self._sink = _Sink(sink)
        reader, writer = os.pipe()
        self._pipe: int | None = writer
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=(reader,), name="owctl-encryptor")
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Encrypt more."""
        assert self._pipe is not None
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._pipe, view) :]
        except BrokenPipeError:
            self.finish()

    def finish(self) -> None:
        """Encrypt what is left; everything has reached ``sink`` when this returns."""
        self.close()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the thread; harmless after ``finish``."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        self._thread.join()

    def _work(self, reader: int) -> None:
        try:
            with os.fdopen(reader, "rb", buffering=_PIECE_BYTES) as source:
                self._encryption.encrypt(source, self._sink)
        except BaseException as error:  # noqa: BLE001  # handed to the thread that writes
            # pyrage keeps no more of an error than its text.
            self._error = self._sink.error or error


class Decryptor:
    """Reads what ``source`` holds encrypted; ``source`` is read in another thread.

    ``read`` raises what ``source`` raised, or one of ``decryption_errors``.
    """

    def __init__(self, source: Source, identities: Sequence[Identity]) -> None:
        self._source = _Pieces(source)
        self._identities = identities
        self._pipe, writer = os.pipe()
        self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=(writer,), name="owctl-decryptor")
        self._thread.start()

    def read(self, size: int) -> bytes:
        """Return some of the content, up to ``size`` bytes; nothing at its end."""
        if self._closed:
            return b""
        data = os.read(self._pipe, size)
        if not data:
            self.close()
            if self._error is not None:
                raise self._error
        return data

    def close(self) -> None:
        """End the thread, also in the middle; ``source`` is not read after this."""
        if not self._closed:
            self._closed = True
            os.close(self._pipe)
        self._thread.join()

    def _work(self, writer: int) -> None:
        try:
            with contextlib.closing(_Pipe(writer)) as sink:
                decrypt(self._source, sink, self._identities)
        except BaseException as error:  # noqa: BLE001  # handed to the thread that reads
            self._error = self._source.error or error


class _Sink:
    """The ``write`` that pyrage calls; keeps the error that it was given."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        try:
            self._sink(data)
        except BaseException as error:
            self.error = error
            raise
        return len(data)

    def flush(self) -> None:
        """Nothing is held back here."""


class _Pieces:
    """The ``read`` that pyrage calls, many times for little: served from larger pieces."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._piece = io.BytesIO()
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        if data := self._piece.read(size):
            return data
        try:
            self._piece = io.BytesIO(self._source.read(_PIECE_BYTES))
        except BaseException as error:
            self.error = error
            raise
        return self._piece.read(size)


class _Pipe:
    """The writing end: unbuffered, so that nothing is left to be written when it is given up."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> int:
        return os.write(self._descriptor, data)

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        os.close(self._descriptor)
