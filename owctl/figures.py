"""Sizes, ages, durations and moments as words: below every room, because messages of all rooms name them."""

from collections.abc import Sequence
from datetime import UTC, datetime

UNKNOWN = "-"
_DECIMAL_UNITS = ("B", "kB", "MB", "GB", "TB")
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# Two machines' clocks are never quite the same.
_CLOCKS_DIFFER_SECONDS = 600
# In less time a rate says nothing.
_LEAST_RATE_SECONDS = 0.2


def readable(size_bytes: int) -> str:
    """Return a size for people: ``512 B``, ``1.4 MB``."""
    size, unit = _scaled(size_bytes, 1000, _DECIMAL_UNITS, enough=1000)
    return (
        f"{size:.0f} {unit}"
        if unit == "B" or (size >= 100 and unit != "TB")
        else f"{size:.1f} {unit}"
    )


def rough_size(size_bytes: int) -> str:
    """Return the size of a disk or a memory: ``512 MB``, ``1.4 GB``."""
    if size_bytes < 10**9:
        return f"{size_bytes / 10**6:.0f} MB"
    return f"{size_bytes / 10**9:.1f} GB"


def memory_text(size_bytes: float | None) -> str:
    """Return memory as limits are written, ``1.5 GiB``; at most 7 characters."""
    return _short(size_bytes, 1024, _BINARY_UNITS)


def transfer_text(size_bytes: float | None) -> str:
    """Return what went through a network or to a disk, ``14 kB``; at most 6 characters."""
    return _short(size_bytes, 1000, _DECIMAL_UNITS)


def rate_text(size_bytes: float, seconds: float) -> str:
    """Return ``, 12.5 MB/s``, to be put behind a size; nothing while it would be a guess."""
    return f", {size_bytes / seconds / 1e6:.1f} MB/s" if seconds > _LEAST_RATE_SECONDS else ""


def percent_text(percent: float | None) -> str:
    """Return a percentage, with a decimal where it is small."""
    if percent is None:
        return UNKNOWN
    return f"{percent:.1f}%" if percent < 99.95 else f"{percent:.0f}%"


def latency_text(latency_ms: float | None) -> str:
    """Return a latency for a table."""
    return UNKNOWN if latency_ms is None else f"{latency_ms:.0f} ms"


def duration_text(seconds: int) -> str:
    """Return how long something takes, in one unit: ``80 s``, ``12 min``, ``1.5 h``."""
    if seconds < 90:
        return f"{seconds} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < 5400 else f"{seconds / _HOUR:.1f} h"


def uptime_text(seconds: int) -> str:
    """Return how long something has been up, in two units: ``3 d 4 h``, ``5 min 12 s``."""
    for size, unit, rest, rest_unit in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // rest} {rest_unit}"
    return f"{seconds} s"


def readable_age(seconds: float) -> str:
    """Return an age for people: ``12 minutes``, ``5 hours``, ``3 days``."""
    for unit, length in (("day", _DAY), ("hour", _HOUR), ("minute", _MINUTE)):
        # From two of a unit on: "26 hours" says more than "1 day".
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}s"
    return "a minute" if seconds >= _MINUTE else f"{max(0, seconds):.0f} seconds"


def age(moment: str, now: datetime | None = None) -> str:
    """Return how long ago an ISO 8601 time was, for a table: ``5 min``, ``3 d``."""
    then = parse_time(moment)
    if then is None:
        return "?"
    seconds = int(((now or datetime.now(UTC)) - then).total_seconds())
    if seconds < -_CLOCKS_DIFFER_SECONDS:
        return "in future"
    seconds = max(0, seconds)
    for enough, size, unit in (
        (2 * _DAY, _DAY, "d"),
        (2 * _HOUR, _HOUR, "h"),
        (_MINUTE, _MINUTE, "min"),
    ):
        if seconds >= enough:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def with_age(moment: str) -> str:
    """Return an ISO 8601 time with how long ago it was: ``2025-01-31T03:15:00Z, 2 days ago``."""
    then = parse_time(moment)
    if then is None:
        return moment
    seconds = (datetime.now(UTC) - then).total_seconds()
    for unit, length in (("day", _DAY), ("hour", _HOUR), ("minute", _MINUTE)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{moment}, {count} {unit}{'s' if count > 1 else ''} ago"
    return f"{moment}, {'in the future' if seconds < -_CLOCKS_DIFFER_SECONDS else 'just now'}"


def parse_time(text: str) -> datetime | None:
    """Return the time that an ISO 8601 text says, None for another text; without zone it is UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def moment_text(moment: datetime | None = None) -> str:
    """Return a time in UTC, or this one, as documents have it: ``2025-01-31T03:15:00.250Z``."""
    time = (moment or datetime.now(UTC)).isoformat(timespec="milliseconds")
    return time.replace("+00:00", "Z")


def clock_text() -> str:
    """Return the time of day where the user is: ``14:03:59``."""
    return datetime.now(UTC).astimezone().strftime("%H:%M:%S")


def _short(size_bytes: float | None, factor: int, units: Sequence[str]) -> str:
    if size_bytes is None:
        return UNKNOWN
    # 999.5 would be shown as 1000, which is one digit too many.
    size, unit = _scaled(size_bytes, factor, units, enough=999.5)
    return f"{size:.1f} {unit}" if size < 9.95 and unit != units[0] else f"{size:.0f} {unit}"


def _scaled(size: float, factor: int, units: Sequence[str], *, enough: float) -> tuple[float, str]:
    for unit in units[:-1]:
        if size < enough:
            return size, unit
        size /= factor
    return size, units[-1]
