"""Encryption of backups by age: recipients, identities, and members encrypted and decrypted as streams."""

import contextlib
import io
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from owctl.errors import ConfigurationError, OwctlError, Problem, UsageError

# -- To whom a backup is encrypted, and with what it is read: recipients and identities of age.


SUFFIX = ".age"
FORMAT = "age"
_LARGEST_KEY_FILE_BYTES = 1024 * 1024
_PASSPHRASE_MARKS = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key: ``key`` is pyrage's object, ``source`` the file that it came from."""

    source: str
    key: Any = field(repr=False)


class Encryption:
    """The recipients of a backup that is being made.

    ``recipients`` are public keys as text. ``read_back`` is the identity of a key pair that exists in
    this process's memory alone: every member is encrypted to it, too, so that what was stored can
    be read back in full before the backup counts. Nobody has that key afterwards. Raises UsageError
    for what is no recipient, OwctlError without pyrage.
    """

    def __init__(self, recipients: Sequence[str]) -> None:
        pyrage = _pyrage()
        self.recipients = tuple(dict.fromkeys(recipients))
        own = pyrage.x25519.Identity.generate()
        self.read_back = Identity("this owctl", own)
        self._keys = [*(_recipient(text) for text in self.recipients), own.to_public()]

    def encrypt(self, source: Any, sink: Any) -> None:  # noqa: ANN401  # file-like objects
        """Encrypt all that ``source.read`` gives into ``sink.write``, in small pieces."""
        _pyrage().encrypt_io(source, sink, self._keys)

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest says of it."""
        return {"format": FORMAT, "recipients": list(self.recipients)}


def stored_name(name: str, encryption: Encryption | None) -> str:
    """Return the name under which a member is stored."""
    return name + SUFFIX if encryption is not None else name


def read_recipients(values: Sequence[str], working_dir: Path) -> tuple[str, ...]:
    """Return the recipients that ``--encrypt-to`` names, those of each ``@FILE`` among them.

    Raises UsageError for one that is none, ConfigurationError naming file and line.
    """
    recipients: list[str] = []
    for value in values:
        if not value.startswith("@"):
            _recipient(value)
            recipients.append(_without_comment(value))
            continue
        path = working_dir / Path(value[1:]).expanduser()
        lines = _key_file(path, "recipients").decode("utf-8", "replace").splitlines()
        found = [(n, line.strip()) for n, line in enumerate(lines, 1) if _counts(line)]
        problems = [problem for n, line in found if (problem := _problem(path, n, line))]
        if problems or not found:
            raise ConfigurationError(
                f"{path} is no list of recipients." if found else f"{path} names no recipient.",
                hint="one age1…, ssh-ed25519 or ssh-rsa public key a line",
                problems=problems,
            )
        recipients += [_without_comment(line) for _, line in found]
    return tuple(dict.fromkeys(recipients))


def load_identities(path: Path) -> tuple[Identity, ...]:
    """Read the private keys of a file: age's (one a line) or one of SSH without a passphrase.

    Raises ConfigurationError for a file that cannot be read, is protected by a passphrase, or holds
    no key; OwctlError without pyrage.
    """
    pyrage = _pyrage()
    data = _key_file(path, "identities")
    if data.startswith(_PASSPHRASE_MARKS):
        raise _protected(path, f"age -d -o identity.txt {path}, and --identity identity.txt")
    if b"PRIVATE KEY-----" in data:
        return (Identity(str(path), _ssh_identity(path, data)),)
    found: list[Identity] = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if _counts(line):
            try:
                found.append(Identity(str(path), pyrage.x25519.Identity.from_str(line.strip())))
            except pyrage.IdentityError:
                # Never the line itself: it may be a secret with a typing error.
                raise ConfigurationError(
                    f"{path} is no file of identities.",
                    hint="the file that age-keygen wrote, or an SSH private key",
                    problems=[Problem(str(path), number, "not AGE-SECRET-KEY-1…")],
                ) from None
    if not found:
        raise ConfigurationError(
            f"{path} holds no identity.", hint="the file that age-keygen wrote"
        )
    return tuple(found)


def decrypt(source: Any, sink: Any, identities: Sequence[Identity]) -> None:  # noqa: ANN401
    """Decrypt all that ``source.read`` gives into ``sink.write``; raises ``decryption_errors()``."""
    _pyrage().decrypt_io(source, sink, [identity.key for identity in identities])


def decryption_errors() -> tuple[type[Exception], ...]:
    """Return what ``decrypt`` raises for damaged content, or for identities that do not fit."""
    return (_pyrage().DecryptError, OSError)


def identity_needed(member_name: str) -> OwctlError:
    """Return the error for reading an encrypted member without a key."""
    return UsageError(
        f"{member_name} is encrypted, and no identity was given.",
        hint="--identity FILE, the private key that belongs to one of the backup's recipients",
    )


def no_identity_fits(member_name: str, identities: Sequence[Identity]) -> OwctlError:
    """Return the error for identities that are not those of a recipient."""
    sources = ", ".join(dict.fromkeys(identity.source for identity in identities))
    return ConfigurationError(
        f"{member_name} was not encrypted to the identity in {sources}.",
        hint="the identity of one of the recipients that the backup's manifest.json names",
    )


def _problem(path: Path, number: int, line: str) -> Problem | None:
    try:
        _recipient(line)
    except UsageError as error:
        return Problem(str(path), number, error.message)
    return None


def _recipient(text: str) -> Any:  # noqa: ANN401  # pyrage's classes have no types
    pyrage = _pyrage()
    if text.upper().startswith("AGE-SECRET-KEY-"):
        raise UsageError(
            "That is a private key, not a recipient; whoever has seen it can read your backups.",
            hint="the public key, age1…: age-keygen -y FILE shows it",
        )
    parse: Callable[[str], Any] = (
        pyrage.ssh.Recipient.from_str
        if text.startswith("ssh-")
        else pyrage.x25519.Recipient.from_str
    )
    try:
        return parse(text.strip())
    except pyrage.RecipientError:
        raise UsageError(
            f"{text[:60]!r} is no recipient of age.",
            hint="an age1…, ssh-ed25519 or ssh-rsa public key, or @FILE with one a line",
        ) from None


def _ssh_identity(path: Path, data: bytes) -> Any:  # noqa: ANN401
    pyrage = _pyrage()
    try:
        return pyrage.ssh.Identity.from_buffer(data)
    except pyrage.IdentityError as error:
        if "decrypted" in str(error):
            hint = "a copy of the key without a passphrase: ssh-keygen -p -f COPY"
            raise _protected(path, hint) from None
        raise ConfigurationError(
            f"{path} holds an SSH key that age cannot use: {error}.",
            hint="an identity of age, or an SSH key of type ed25519 or rsa",
        ) from None


def _without_comment(text: str) -> str:
    """Leave out what stands behind an SSH key: it often tells a person and a machine."""
    return " ".join(text.split()[:2])


def _counts(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _key_file(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_KEY_FILE_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot read the {what} in {path}: {error.strerror or error}.",
            hint=f"ls -l {path}",
        ) from error


def _protected(path: Path, hint: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is protected by a passphrase, which owctl does not ask for.", hint=hint
    )


def _pyrage() -> Any:  # noqa: ANN401  # it has no types
    try:
        import pyrage
    except ImportError:
        raise OwctlError(
            "Encryption needs the Python package pyrage, which is not installed.",
            hint="pip install 'owctl[encrypt]' (after pipx: pipx inject owctl pyrage)",
        ) from None
    return pyrage


# -- Encrypting what is pushed and decrypting what is pulled, in bounded memory.
# pyrage reads and writes by itself from begin to end, so it works in a thread of its own; a pipe
# connects it with the thread that has the content, and makes the faster one wait.


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
