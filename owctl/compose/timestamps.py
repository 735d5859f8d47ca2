"""Unquoted dates: compose's YAML library reads them as points in time, and so they come out changed."""

import re
from datetime import UTC, datetime, timedelta, timezone

from owctl.compose.document import Timestamp

_FORMS = re.compile(
    r"(?P<date>\d{4}-\d{1,2}-\d{1,2})"
    r"(?:(?P<gap>[Tt ])(?P<time>\d{1,2}:\d{1,2}:\d{1,2})(?P<fraction>\.\d+)?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?)?"
)


def read_timestamp(text: str) -> Timestamp | None:
    """Return the point in time that a plain scalar is to compose, None if it is text."""
    match = _FORMS.fullmatch(text)
    # With T there has to be a zone, with a space there must be none.
    if match is None or (match["gap"] is not None and (match["gap"] == " ") == bool(match["zone"])):
        return None
    parts = [*match["date"].split("-"), *(match["time"] or "0:0:0").split(":")]
    zone = match["zone"] or "Z"
    try:
        moment = datetime(*map(int, parts), tzinfo=_zone(zone))  # type: ignore[misc,arg-type]
    except ValueError:
        return None
    fraction = (match["fraction"] or "")[:10].rstrip("0").rstrip(".")
    clock = f"{moment:%Y-%m-%d}".rjust(10, "0"), f"{moment:%H:%M:%S}{fraction}"
    is_utc = zone == "Z" or zone[1:] == "00:00"
    offset = zone.replace(":", "")
    return Timestamp(
        f"{clock[0]} {clock[1]} " + ("+0000 UTC" if is_utc else f"{offset} {offset}"),
        f"{clock[0]}T{clock[1]}" + ("Z" if is_utc else zone),
    )


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    hours, minutes = int(text[1:3]), int(text[4:])
    if hours > 23 or minutes > 59:
        raise ValueError(text)
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=hours, minutes=minutes))
