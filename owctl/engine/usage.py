"""Who uses what on the engine: every container, of whatever project, seen in one request."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from owctl.engine.naming import NUMBER, ONEOFF, PROJECT, SERVICE

if TYPE_CHECKING:
    from typing import Any

    from owctl.engine.connection import Engine


@dataclass(frozen=True, slots=True)
class Usage:
    """A container and what it holds; ``project`` and ``service`` are "" where no label says them.

    ``networks`` are names and ids, as a container that never ran has the names alone. ``binds`` are
    folders of the engine's host.
    """

    id: str
    name: str
    project: str
    service: str
    number: int
    is_oneoff: bool
    state: str
    image: str
    image_id: str
    networks: frozenset[str]
    volumes: tuple[str, ...]
    binds: tuple[str, ...]

    @property
    def needs_stop(self) -> bool:
        """Whether a process of it is alive, or about to be."""
        return self.state in ("running", "restarting", "paused")


def list_usage(engine: "Engine") -> list[Usage]:
    """Return every container of the engine, stopped ones too, by name."""
    with engine.translate("list the containers"):
        found = engine.api.containers(all=True)
    return sorted((_usage(raw) for raw in found), key=lambda each: each.name)


def _usage(raw: "dict[str, Any]") -> Usage:
    labels: dict[str, str] = raw.get("Labels") or {}
    mounts = raw.get("Mounts") or []
    networks = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    number = labels.get(NUMBER, "")
    identities = {str((endpoint or {}).get("NetworkID") or "") for endpoint in networks.values()}
    return Usage(
        id=str(raw["Id"]),
        name=_name(raw),
        project=labels.get(PROJECT, ""),
        service=labels.get(SERVICE, ""),
        number=int(number) if number.isdigit() else 1,
        is_oneoff=labels.get(ONEOFF) == "True",
        state=str(raw.get("State") or ""),
        image=str(raw.get("Image") or ""),
        image_id=str(raw.get("ImageID") or ""),
        networks=frozenset({*networks, *identities} - {""}),
        volumes=tuple(str(item["Name"]) for item in mounts if item.get("Type") == "volume"),
        binds=tuple(str(item["Source"]) for item in mounts if item.get("Type") == "bind"),
    )


def _name(raw: "dict[str, Any]") -> str:
    # A container that others link to has their names for it, too: /other/alias.
    names = [name.lstrip("/") for name in raw.get("Names") or []]
    own = [name for name in names if "/" not in name]
    return str((own or names or [str(raw["Id"])[:12]])[0])
