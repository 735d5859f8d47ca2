"""The parts of a backup that one can ask for, and which of them a member belongs to."""

from typing import Literal, get_args

from owctl.backup.manifest import Member

Part = Literal["db", "files", "redis", "config"]
PARTS: tuple[Part, ...] = get_args(Part)
VolumePart = Literal["files", "redis"]


def part_of(member: Member) -> Part:
    """Return the part that a member belongs to.

    In backups of owctl's first format a volume does not say so: all of them were ``files``.
    """
    if member.kind == "database":
        return "db"
    if member.kind == "configuration":
        return "config"
    return "redis" if member.detail.get("part") == "redis" else "files"
