"""Images that a project may want to go back to, kept from being pruned by a name of owctl's own.

The names are ``owctl-rollback/<project>/<service>:<twelve digits of the image's id>``.
"""

import re
from collections.abc import Collection

from owctl.engine.connection import Engine
from owctl.engine.images import remove_image, tag_image

_PREFIX = "owctl-rollback"
_ID_LENGTH = 12


def short_id(image_id: str) -> str:
    """Return the first twelve digits of an image's id, or of another digest."""
    return image_id.removeprefix("sha256:")[:_ID_LENGTH]


def kept_name(project: str, service: str, image_id: str) -> str:
    """Return the name under which an image of a service is kept."""
    return f"{_folder(project)}/{_component(service)}:{short_id(image_id)}"


def keep_image(engine: Engine, project: str, service: str, image_id: str) -> str:
    """Give an image its name, and return that. Raises EngineError if the image is gone."""
    name = kept_name(project, service, image_id)
    tag_image(engine, image_id, name)
    return name


def forget_images(engine: Engine, project: str, needed: Collection[str]) -> None:
    """Take away the names of a project that are not ``needed`` any more.

    One that was built here, and that no container uses, goes with its last name; one that was pulled
    stays without a name, for `docker image prune`.
    """
    for name in kept_names(engine, project):
        if name not in needed:
            remove_image(engine, name)


def kept_names(engine: Engine, project: str) -> list[str]:
    """Return all names under which images of the project are kept."""
    folder = _folder(project)
    with engine.translate("list the images that are kept"):
        found = engine.api.images(filters={"reference": f"{folder}/*"})
    names = [str(name) for each in found for name in each.get("RepoTags") or []]
    return sorted(name for name in names if name.startswith(f"{folder}/"))


def _folder(project: str) -> str:
    return f"{_PREFIX}/{_component(project)}"


def _component(name: str) -> str:
    """Return a name as a part of an image's name: lower case, single separators between."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "x"
