"""Holes in files: an archive has zeros for them; what is restored has holes again.

The engine would write the zeros. So it gets a large file that is mostly zeros as an empty one, and its
other blocks go through a helper's dd, each to its place.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from owctl.volumes.archive_check import plain
from owctl.volumes.one_off import Helper
from owctl.volumes.tar import TarStream

BLOCK_BYTES = 1 << 16
# Fewer zeros are not worth the way.
LEAST_BYTES = 1 << 20
_ZEROS = bytes(BLOCK_BYTES)
_MOST_BLOCKS = 64

# $1 is the folder, $2 the name's bytes as octal escapes, $3 the size. On stdin: where, how many, blocks.
_FILL = f"""
name=$(printf '%b.' "$2")
file=$1/${{name%.}}
while read -r at count; do
  dd of="$file" bs={BLOCK_BYTES} seek="$at" count="$count" iflag=fullblock conv=notrunc 2>/dev/null
done
dd of="$file" bs=1 seek="$3" count=0 </dev/null 2>/dev/null
"""


def zero_bytes(stream: TarStream, first: bytes) -> int:
    """Read an entry, ``first`` being its first block, and return how much of it can be a hole."""
    found, block = 0, first
    while block:
        found += len(block) if _is_hole(block) else 0
        block = stream.read(BLOCK_BYTES)
    return found


def sparse_files(detail: Mapping[str, Any]) -> dict[str, int]:
    """Return the sparse files that a manifest names, and how much of each can be holes."""
    return {str(each["path"]): int(each["zero_bytes"]) for each in detail.get("sparse", ())}


def fill(helper: Helper, folder: str, names: Collection[str], pieces: Iterable[bytes]) -> None:
    """Write those files of an archive that are among ``names`` into empty ones in the helper's folder.

    Raises OwctlError, and BackupInvalid.
    """
    stream = TarStream(pieces)
    for header in stream:
        name = plain(header.name)
        if header.regular and name in names:
            escaped = "".join(f"\\0{byte:03o}" for byte in name.encode())
            helper.feed(_FILL, [folder, escaped, str(header.size_bytes)], _blocks(stream))


def _blocks(stream: TarStream) -> Iterator[bytes]:
    """Yield what is no hole: a line with its place and number of blocks, and these."""
    at, waiting = 0, bytearray()
    while True:
        block = stream.read(BLOCK_BYTES)
        ends = not block or _is_hole(block)
        count = len(waiting) // BLOCK_BYTES
        if waiting and (ends or count == _MOST_BLOCKS):
            yield b"%d %d\n" % (at - count, count)
            yield bytes(waiting)
            waiting.clear()
        if not block:
            return
        at += 1
        if not ends:
            waiting += block.ljust(BLOCK_BYTES, b"\0")


def _is_hole(block: bytes) -> bool:
    return not block[0] and block == _ZEROS[: len(block)]
