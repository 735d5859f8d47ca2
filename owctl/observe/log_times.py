"""What ``--since`` and ``--until`` accept: a duration back from now, or a moment."""

import re
from datetime import datetime

EXAMPLES = "10m, 2h30m, 1d, 2026-01-31, 2026-01-31T12:00:00 or 2026-01-31T12:00:00Z"

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = r"(\d+(?:\.\d+)?)(ms|[smhdw])"
_DURATION = re.compile(f"(?:{_PART})+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def parse_moment(text: str, now: float) -> float:
    """Return seconds since 1970 for "10m" (before ``now``), an ISO 8601 time or such seconds.

    A time without a zone is local. Raises ValueError with what is accepted.
    """
    text = text.strip()
    if _DURATION.fullmatch(text):
        return now - sum(
            float(number) * _UNIT_SECONDS[unit] for number, unit in re.findall(_PART, text)
        )
    # Eight digits are a date ("20260131") to ISO, not seconds.
    if _NUMBER.fullmatch(text) and len(text) >= 9:
        return float(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is neither a duration nor a time; try {EXAMPLES}") from error
