"""Colours of services."""

# Readable on dark and light backgrounds, and far from the red and yellow of messages.
_PALETTE = ("36", "35", "32", "34", "33", "96", "95", "92", "94", "93")


def service_color(index: int) -> str:
    """Return the SGR code of the service at ``index``; every run gives it the same one."""
    return _PALETTE[index % len(_PALETTE)]


def paint(text: str, code: str) -> str:
    """Return ``text`` in a colour."""
    return f"\x1b[{code}m{text}\x1b[0m"
