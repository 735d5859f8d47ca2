"""Whether a project on the engine belongs to this folder: two folders can share a name."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owctl.errors import OwctlError

if TYPE_CHECKING:
    from owctl.engine.connection import Engine

FOLDER = ".owctl"
FILE = "adopted.json"


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
    found = _adopted(working_dir, project) | set(owners)
    path = working_dir / FOLDER / FILE
    document = {"schema": 1, "project": project, "owners": sorted(found)}
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_suffix(".partial")
        temporary.write_text(json.dumps(document) + "\n")
        temporary.replace(path)
    except OSError as error:
        raise OwctlError(
            f"Cannot write down that the project is adopted: {path}: {error.strerror}.",
            hint=f"make {working_dir} writable, then the same command again",
        ) from error


def _adopted(working_dir: Path, project: str) -> set[str]:
    try:
        document = json.loads((working_dir / FOLDER / FILE).read_text())
        return set(document["owners"]) if document["project"] == project else set()
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OwctlError(
            f"{working_dir / FOLDER / FILE} cannot be read: {error}.",
            hint="remove it, and adopt the project again: owctl start --adopt",
        ) from error


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
