"""Whether a project on the engine belongs to this folder: two folders can share a name."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owctl.errors import OwctlError
from owctl.project.state import StateFile

if TYPE_CHECKING:
    from owctl.engine.connection import Engine

# The project, and the folders that it was taken over from.
_ADOPTED: StateFile[tuple[str, set[str]]] = StateFile(
    "adopted.json",
    parse=lambda document: (document["project"], set(document["owners"])),
    render=lambda adopted: {"project": adopted[0], "owners": sorted(adopted[1])},
    damaged="{path} cannot be read: {error}.",
    remedy="remove it, and adopt the project again: owctl start --adopt",
    cannot="Cannot write down that the project is adopted: {path}",
)


class ForeignProject(OwctlError):
    """The project's containers or volumes belong to another folder."""


def check_owner(
    engine: "Engine", project: str, working_dir: Path, *, adopt: bool
) -> tuple[str, ...]:
    """Refuse a project of which something on the engine belongs to another folder.

    ``working_dir`` is this project's folder; folders are compared with their links resolved.
    ``adopt`` accepts whatever is there; the folders so accepted are returned, for
    ``remember_adoption``. Raises ForeignProject, or the engine's own errors.
    """
    mine = os.path.realpath(working_dir)
    accepted = _adopted(working_dir, project)
    foreign: dict[str, None] = {}
    for kind, name, owner in _owned_objects(engine, project):
        if os.path.realpath(owner) == mine or owner in accepted:
            continue
        if not adopt:
            gone = "" if Path(owner).is_dir() else ", which does not exist any more"
            raise ForeignProject(
                f"The project {project} belongs to another folder: its {kind} {name} was made "
                f"from {owner}{gone}; this is {working_dir}.",
                hint=f"another name: owctl -p OTHER_NAME …; or owctl start --adopt, if "
                f"{working_dir} is to take that project over",
            )
        foreign[owner] = None
    return tuple(foreign)


def remember_adoption(working_dir: Path, project: str, owners: Iterable[str]) -> None:
    """Write down that this folder has taken a project over, as labels cannot be changed.

    Raises OwctlError where ``.owctl/`` cannot be written.
    """
    _ADOPTED.write(working_dir, (project, _adopted(working_dir, project) | set(owners)))


def _adopted(working_dir: Path, project: str) -> set[str]:
    name, owners = _ADOPTED.read(working_dir) or (project, set())
    return owners if name == project else set()


def _owned_objects(engine: "Engine", project: str) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, name, folder) of everything of the project that names its folder."""
    from owctl.engine.naming import PROJECT, VOLUME_OWNER, WORKING_DIR

    chosen = {"label": [f"{PROJECT}={project}"]}
    with engine.translate(f"list what belongs to the project {project}"):
        # Their labels are all that is wanted: no inspect of each.
        containers: list[dict[str, Any]] = engine.api.containers(all=True, filters=chosen)
        volumes: list[dict[str, Any]] = engine.api.volumes(filters=chosen).get("Volumes") or []
    for container in containers:
        owner = (container.get("Labels") or {}).get(WORKING_DIR)
        names = container.get("Names") or [container.get("Id", "")[:12]]
        if owner:
            yield "container", names[0].lstrip("/"), owner
    for volume in volumes:
        owner = (volume.get("Labels") or {}).get(VOLUME_OWNER)
        if owner:
            yield "volume", volume["Name"], owner
