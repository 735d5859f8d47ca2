"""Images written down, and kept from being pruned by a name of owctl's own."""

import re
from collections.abc import Collection
from dataclasses import replace

from owctl.engine.connection import Engine
from owctl.engine.images import Image, remove_image, tag_image
from owctl.project.upgrade_record import ImageNote

VERSION_LABEL = "org.opencontainers.image.version"
_PREFIX = "owctl-rollback"
_ID_LENGTH = 12


def note_of(image: Image, reference: str) -> ImageNote:
    """Return what is written down of an image that the files call ``reference``."""
    repository = _repository(reference)
    digests = [digest for digest in image.digests if digest.rpartition("@")[0] == repository]
    chosen = (digests or list(image.digests) or [""])[0].rpartition("@")[2]
    return ImageNote(
        reference=reference,
        image_id=image.id,
        digest=chosen or None,
        version=image.labels.get(VERSION_LABEL) or None,
    )


def short_id(image_id: str) -> str:
    """Return the first twelve digits of an image's id."""
    return image_id.removeprefix("sha256:")[:_ID_LENGTH]


def kept_name(project: str, service: str, image_id: str) -> str:
    """Return the name under which an image is kept: ``owctl-rollback/<project>/<service>:<id>``."""
    return f"{_folder(project)}/{_component(service)}:{short_id(image_id)}"


def keep(engine: Engine, project: str, service: str, note: ImageNote) -> ImageNote:
    """Give an image its name; returns the note with it. Raises EngineError if it is gone."""
    name = kept_name(project, service, note.image_id)
    tag_image(engine, note.image_id, name)
    return replace(note, kept_as=name)


def forget_others(engine: Engine, project: str, needed: Collection[str]) -> None:
    """Take away the names of owctl's own that are not ``needed`` any more.

    An image without any other name, and that no container uses, goes with its last one.
    """
    for name in kept_names(engine, project):
        if name not in needed:
            remove_image(engine, name)


def kept_names(engine: Engine, project: str) -> list[str]:
    """Return all names under which images of the project are kept."""
    pattern = f"{_folder(project)}/*"
    with engine.translate("list the images that are kept"):
        found = engine.api.images(filters={"reference": pattern})
    names = [str(name) for each in found for name in each.get("RepoTags") or []]
    return [name for name in names if name.startswith(f"{_folder(project)}/")]


def _folder(project: str) -> str:
    return f"{_PREFIX}/{_component(project)}"


def _component(name: str) -> str:
    """Return a name as a part of an image's name: lower case, single separators between."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "x"


def _repository(reference: str) -> str:
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]
