"""What a clean is about: things that go, and things that stay."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from owctl.engine.usage import Usage

Kind = Literal["container", "network", "volume", "image"]


@dataclass(frozen=True, slots=True)
class Item:
    """Something that goes. ``name`` is what the engine removes it by, ``id`` identifies it.

    ``size_bytes`` is None where it is not known, or does not matter; ``service`` is a container's.
    """

    kind: Kind
    name: str
    id: str
    size_bytes: int | None = None
    note: str = ""
    service: str = ""
    needs_stop: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that stays, and why; ``is_ours`` unless it is nobody's or another project's."""

    kind: Literal["container", "network", "volume", "image", "folder"]
    name: str
    why: str
    is_ours: bool = True


def users_of(others: Iterable["Usage"]) -> str:
    """Return who uses something, in words; "" for nobody."""
    names = [f"{o.name} of {o.project or 'no project'}" for o in others]
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"used by {', '.join(names[:2])}{more}" if names else ""
