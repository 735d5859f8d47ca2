"""Figures as short as a table needs them: memory in powers of 1024, what is transferred in 1000."""

from collections.abc import Sequence

UNKNOWN = "-"


def memory_text(size_bytes: float | None) -> str:
    """Return memory as limits are written, ``1.5 GiB``; at most 7 characters."""
    return _scaled(size_bytes, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def transfer_text(size_bytes: float | None) -> str:
    """Return what went through a network or to a disk, ``14 kB``; at most 6 characters."""
    return _scaled(size_bytes, 1000, ("B", "kB", "MB", "GB", "TB"))


def percent_text(percent: float | None) -> str:
    """Return a percentage, with a decimal where it is small."""
    if percent is None:
        return UNKNOWN
    return f"{percent:.1f}%" if percent < 99.95 else f"{percent:.0f}%"


def _scaled(size: float | None, factor: int, units: Sequence[str]) -> str:
    if size is None:
        return UNKNOWN
    # 999.5 would be shown as 1000, which is one digit too many.
    for unit in units:
        if size < 999.5 or unit == units[-1]:
            break
        size /= factor
    return f"{size:.1f} {unit}" if size < 9.95 and unit != units[0] else f"{size:.0f} {unit}"
