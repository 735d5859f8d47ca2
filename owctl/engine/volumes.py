"""The project's volumes: list, make, remove, measure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from owctl.compose.model import Stack, Volume
from owctl.engine.naming import PROJECT, VOLUME, VOLUME_OWNER, volume_labels
from owctl.errors import NotFound

if TYPE_CHECKING:
    from owctl.engine.connection import Engine

_UNNAMED = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ProjectVolume:
    """A volume on the engine; ``key`` is its key in the compose files ("" for a foreign one).

    ``working_dir`` is None when compose made it: compose does not label volumes with their folder,
    so ask the containers that mount it.
    """

    name: str
    key: str
    project: str | None
    driver: str
    mountpoint: str
    created_at: str | None
    labels: Mapping[str, str] = field(repr=False)

    @property
    def working_dir(self) -> str | None:
        """The folder of the compose files that it was made from, if a label says so."""
        return self.labels.get(VOLUME_OWNER)


def is_unnamed(name: str) -> bool:
    """Return whether the engine made up a volume's name: an anonymous one, known by its container."""
    return _UNNAMED.fullmatch(name) is not None


def list_volumes(engine: "Engine", project: str) -> list[ProjectVolume]:
    """Return the volumes that carry the project's label, by name."""
    with engine.translate("list the volumes"):
        answer = engine.api.volumes(filters={"label": f"{PROJECT}={project}"})
    found = (_volume(raw) for raw in answer.get("Volumes") or [])
    return sorted(found, key=lambda each: each.name)


def inspect_volume(engine: "Engine", name: str) -> ProjectVolume | None:
    """Return the volume of that name, None if there is none."""
    try:
        with engine.translate(f"inspect the volume {name}"):
            return _volume(engine.api.inspect_volume(name))
    except NotFound:
        return None


def ensure_volume(engine: "Engine", stack: Stack, volume: Volume) -> ProjectVolume:
    """Return the volume of the engine for ``volume``; make it if it is missing.

    One of the same name that exists is taken as it is: its data is not ours to replace.
    Raises NotFound for an external volume that does not exist.
    """
    found = inspect_volume(engine, volume.name)
    if found is not None:
        return found
    if volume.external:
        raise NotFound(
            f"Cannot use the volume {volume.name}: it is external and does not exist",
            hint=f"`docker volume create {volume.name}`, or take `external: true` away",
        )
    with engine.translate(f"create the volume {volume.name}"):
        raw = engine.api.create_volume(
            volume.name,
            driver=volume.driver,
            driver_opts=dict(volume.driver_opts) or None,
            labels=volume_labels(stack, volume),
        )
    return _volume(raw)


def create_volume(engine: "Engine", name: str, labels: Mapping[str, str]) -> None:
    """Make a volume of the engine's own kind; one of that name that exists is no error."""
    with engine.translate(f"create the volume {name}"):
        engine.api.create_volume(name, labels=dict(labels))


def remove_volume(engine: "Engine", name: str, force: bool = False) -> None:
    """Remove a volume and its data. One that is gone is no error; one in use raises EngineError."""
    try:
        with engine.translate(f"remove the volume {name}"):
            engine.api.remove_volume(name, force=force)
    except NotFound:
        return


def volume_sizes(engine: "Engine") -> dict[str, int]:
    """Return the size in bytes of each local volume; the engine walks all files, so it takes time.

    A volume whose driver cannot tell is left out.
    """
    with engine.translate("measure the volumes"):
        answer = engine.api.df()
    sizes = {}
    for raw in answer.get("Volumes") or []:
        size = (raw.get("UsageData") or {}).get("Size", -1)
        if size >= 0:
            sizes[str(raw["Name"])] = int(size)
    return sizes


def _volume(raw: Mapping[str, Any]) -> ProjectVolume:
    labels: dict[str, str] = raw.get("Labels") or {}
    return ProjectVolume(
        name=str(raw["Name"]),
        key=labels.get(VOLUME, ""),
        project=labels.get(PROJECT),
        driver=str(raw.get("Driver") or ""),
        mountpoint=str(raw.get("Mountpoint") or ""),
        created_at=raw.get("CreatedAt"),
        labels=labels,
    )
