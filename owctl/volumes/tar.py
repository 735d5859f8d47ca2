"""Tar, block by block: headers read and written, and a stream of entries with nothing kept but one header.

There is this one reader: what a backup's archive is written, verified and restored by.
"""

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from zlib import adler32

from owctl.errors import BackupInvalid

BLOCK_BYTES = 512
EMPTY_BLOCK = bytes(BLOCK_BYTES)
LARGEST_EXTENSION_BYTES = 16 * 1024 * 1024
REGULAR = (b"0", b"\0", b"7")
HARD_LINK, SYMBOLIC_LINK, DIRECTORY, FIFO = b"1", b"2", b"5", b"6"
# GNU long name and link; POSIX extended headers for the next entry and for all.
EXTENSIONS = (b"L", b"K", b"x", b"g")
WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")
ATTRIBUTE_PREFIX = "SCHILY.xattr."
# Name, mode, owner, group, size, time, (checksum,) kind, link, magic, (version, names, devices,) prefix.
_FIELDS = struct.Struct("100s8s8s8s12s12s8xc100s6s82x155s12x")
_NAME_BYTES = 100
_LARGEST = {"uid": 8**7 - 1, "gid": 8**7 - 1, "size": 8**11 - 1, "mtime": 8**11 - 1}
_TIME = re.compile(r"(-?[0-9]{1,18})(?:\.[0-9]*)?")

# -- Headers.


@dataclass(frozen=True, slots=True)
class TarHeader:
    """An entry's metadata.

    ``name`` and ``link`` are bytes decoded with surrogateescape. ``modified_at`` is in seconds since
    1970 as text, since it may have a fraction of any length. ``extended`` are the records of a
    POSIX extended header that have no field here.
    """

    name: str
    type: bytes
    size_bytes: int = 0
    mode: int = 0
    user_id: int = 0
    group_id: int = 0
    modified_at: str = "0"
    link: str = ""
    extended: Mapping[str, str] = field(default_factory=dict)

    @property
    def regular(self) -> bool:
        """Whether the entry is a file with content of its own."""
        return self.type in REGULAR

    @property
    def modified_second(self) -> int:
        """The whole second of the time of the last change, rounded down."""
        whole, _, fraction = self.modified_at.partition(".")
        return int(whole) - (1 if whole.startswith("-") and fraction.strip("0") else 0)

    @property
    def attributes(self) -> dict[str, str]:
        """The extended attributes of the file."""
        return {k: v for k, v in self.extended.items() if k.startswith(ATTRIBUTE_PREFIX)}


def decode(block: bytes, overrides: Mapping[str, str]) -> TarHeader:
    """Read a header whose checksum is right; ``overrides`` are the records of those before it.

    Raises BackupInvalid.
    """
    name, mode, uid, gid, size, mtime, kind, link, magic, prefix = _FIELDS.unpack(block)
    rest = dict(overrides)
    path = rest.pop("path", "")
    if not path:
        path = field_text(name)
        if magic == b"ustar\0" and prefix[0]:
            path = f"{field_text(prefix)}/{path}"
    modified_at = rest.pop("mtime", "")
    if modified_at and not _TIME.fullmatch(modified_at):
        raise BackupInvalid("The archive is damaged: a time is not a number.")
    size_bytes = _natural(rest.pop("size", ""), size)
    return TarHeader(
        name=path,
        type=kind,
        size_bytes=0 if kind in WITHOUT_CONTENT else size_bytes,
        # The file's type may stand in the mode, too.
        mode=number(mode) & 0o7777,
        user_id=_natural(rest.pop("uid", ""), uid),
        group_id=_natural(rest.pop("gid", ""), gid),
        modified_at=modified_at or str(number(mtime)),
        link=rest.pop("linkpath", "") or field_text(link),
        extended=rest,
    )


def encode(header: TarHeader) -> bytes:
    """Return the blocks that stand for a header: POSIX, extended only where it must be.

    Of ``extended`` only the extended attributes are written.
    """
    records = dict(header.attributes)
    name, link = _bytes(header.name), _bytes(header.link)
    if len(name) > _NAME_BYTES:
        records["path"] = header.name
    if len(link) > _NAME_BYTES:
        records["linkpath"] = header.link
    numbers = {
        "uid": header.user_id,
        "gid": header.group_id,
        "size": header.size_bytes,
        "mtime": header.modified_second,
    }
    for key, value in numbers.items():
        if not 0 <= value <= _LARGEST[key]:
            records[key] = str(value)
            numbers[key] = 0
    if "." in header.modified_at:
        records["mtime"] = header.modified_at
    main = _block(name[:_NAME_BYTES], header.type, header.mode, numbers, link[:_NAME_BYTES])
    if not records:
        return main
    content = b"".join(_record(key, value) for key, value in records.items())
    sizes = {"uid": 0, "gid": 0, "size": len(content), "mtime": 0}
    extended = _block(b"PaxHeaders/entry", b"x", 0o644, sizes, b"")
    return extended + content + bytes(-len(content) % BLOCK_BYTES) + main


def field_text(raw: bytes) -> str:
    """Return the text of a header's field, which ends at its first NUL."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def number(raw: bytes) -> int:
    """Return the number in a header's field; raises BackupInvalid."""
    if raw[0] & 0x80:
        # GNU's base-256 form, for what does not fit into octal digits; the next bit is the sign.
        value = int.from_bytes(bytes([raw[0] & 0x7F]) + raw[1:], "big")
        return value - (1 << (8 * len(raw) - 1)) if raw[0] & 0x40 else value
    text = raw.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise BackupInvalid("The archive is damaged: a size is not a number.") from None


def check_sum(block: bytes) -> None:
    """Raise BackupInvalid if a header is not as it was written."""
    # The sum of all bytes, with blanks for the checksum itself. The lower half of Adler-32 is a sum,
    # too, which no 256 bytes bring to its modulus.
    blanked = block[:148] + b" " * 8 + block[156:]
    found = (adler32(blanked[:256], 0) & 0xFFFF) + (adler32(blanked[256:], 0) & 0xFFFF)
    if number(block[148:156]) != found:
        raise BackupInvalid("The archive is damaged: the checksum of a header is wrong.")


def records(content: bytes) -> dict[str, str]:
    """Return the keys of a POSIX extended header: ``<length> <key>=<value>\\n``, repeated."""
    found: dict[str, str] = {}
    position = 0
    while position < len(content):
        space = content.find(b" ", position)
        digits = content[position:space] if space > position else b""
        if not digits.isdigit() or int(digits) <= len(digits):
            raise BackupInvalid("The archive is damaged: an extended header cannot be read.")
        record = content[space + 1 : position + int(digits) - 1]
        key, _, value = record.partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        position += int(digits)
    return found


def _natural(text: str, raw: bytes) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BackupInvalid("The archive is damaged: a size is not a number.")
    value = int(text) if text else number(raw)
    if not 0 <= value < 1 << 63:
        raise BackupInvalid("The archive is damaged: a size is out of all bounds.")
    return value


def _block(name: bytes, kind: bytes, mode: int, numbers: Mapping[str, int], link: bytes) -> bytes:
    block = bytearray(BLOCK_BYTES)
    block[0 : len(name)] = name
    block[100:108] = b"%07o\0" % mode
    block[108:116] = b"%07o\0" % numbers["uid"]
    block[116:124] = b"%07o\0" % numbers["gid"]
    block[124:136] = b"%011o\0" % numbers["size"]
    block[136:148] = b"%011o\0" % numbers["mtime"]
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157 : 157 + len(link)] = link
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _record(key: str, value: str) -> bytes:
    body = b" " + _bytes(key) + b"=" + _bytes(value) + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# -- The stream of entries.

# An entry has two or three at most: a name, a link, and records.
_MOST_EXTENSIONS = 8


class TarStream:
    """A tar that is read from pieces of any size.

    Iterate for the headers; ``content`` is that of the entry at hand, and what of it was not read
    is skipped. Ends only where the tar ends properly, else BackupInvalid is raised.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._buffer = memoryview(b"")
        self._left = 0
        self._padding = 0
        self._name = "its beginning"

    def __iter__(self) -> Iterator[TarHeader]:
        overrides: dict[str, str] = {}
        extensions = 0
        while (block := self._next_block()) is not None:
            kind = block[156:157]
            if kind not in EXTENSIONS:
                header = decode(block, overrides)
                self._name, self._left = header.name, header.size_bytes
                self._padding = -self._left % BLOCK_BYTES
                overrides, extensions = {}, 0
                yield header
                self._skip()
                continue
            extensions += 1
            if extensions > _MOST_EXTENSIONS:
                raise BackupInvalid(f"The archive has absurd headers behind {self._name!r}.")
            self._extend(kind, block, overrides)
        self._finish()

    def content(self) -> Iterator[memoryview]:
        """Yield what is left of the present entry's content, in pieces of bounded size."""
        while self._left:
            if not self._buffer:
                self._refill()
            data = self._buffer[: self._left]
            self._buffer = self._buffer[len(data) :]
            self._left -= len(data)
            yield data

    def read(self, size_bytes: int) -> bytes:
        """Return the next bytes of the present entry's content, fewer only at its end."""
        size = min(size_bytes, self._left)
        self._left -= size
        return self._take(size)

    def _extend(self, kind: bytes, block: bytes, overrides: dict[str, str]) -> None:
        size = number(block[124:136])
        if not 0 <= size <= LARGEST_EXTENSION_BYTES:
            raise BackupInvalid(f"The archive has an extended header of {size} B.")
        content = self._take(size)
        self._take(-size % BLOCK_BYTES)
        if kind == b"L":
            overrides["path"] = field_text(content)
        elif kind == b"K":
            overrides["linkpath"] = field_text(content)
        elif kind == b"x":
            overrides |= records(content)

    def _next_block(self) -> bytes | None:
        """Return the next header, None at the end-of-archive marker."""
        block = self._take(BLOCK_BYTES)
        if block != EMPTY_BLOCK:
            check_sum(block)
            return block
        if self._take(BLOCK_BYTES) != EMPTY_BLOCK:
            raise BackupInvalid("The archive is damaged: an empty header stands within it.")
        return None

    def _finish(self) -> None:
        """Read the zeros that fill up the last record."""
        while True:
            if any(self._buffer):
                raise BackupInvalid("The archive has data behind its end-of-archive marker.")
            piece = next(self._pieces, None)
            if piece is None:
                return
            self._buffer = memoryview(piece)

    def _skip(self) -> None:
        left, self._left = self._left + self._padding, 0
        while left > len(self._buffer):
            left -= len(self._buffer)
            self._refill()
        self._buffer = self._buffer[left:]

    def _take(self, size: int) -> bytes:
        if len(self._buffer) >= size:
            data = bytes(self._buffer[:size])
            self._buffer = self._buffer[size:]
            return data
        taken = bytearray()
        while len(taken) < size:
            if not self._buffer:
                self._refill()
            step = self._buffer[: size - len(taken)]
            taken += step
            self._buffer = self._buffer[len(step) :]
        return bytes(taken)

    def _refill(self) -> None:
        """Let the next piece that has anything take the place of the buffer."""
        piece: bytes | None = b""
        while not piece:
            piece = next(self._pieces, None)
            if piece is None:
                raise BackupInvalid(f"The archive is cut off within or behind {self._name!r}.")
        self._buffer = memoryview(piece)
