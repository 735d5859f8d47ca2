"""Images: what is there, what a registry has, pulling with progress, tags, and names that keep one for the way back."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from owctl.engine.connection import Engine
from owctl.engine.failures import is_disk_full
from owctl.engine.naming import PROJECT
from owctl.errors import EngineError, ImageMissing, NotFound

# -- Images: what is there, pulling with progress, tags.


_NOT_FOUND = re.compile(
    r"not found|manifest unknown|does not exist|access denied|unauthorized|denied:", re.IGNORECASE
)
_RATE_LIMIT = re.compile(r"toomanyrequests|rate limit", re.IGNORECASE)
_PLATFORM = re.compile(r"no matching manifest|does not match the specified platform", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Image:
    """An image on this machine. ``digests`` are the registry's (``name@sha256:…``)."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size_bytes: int
    created_at: str | None
    labels: Mapping[str, str] = field(repr=False)
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is. ``bytes_total`` grows while layers become known, 0 at the start."""

    image: str
    status: str
    layers_done: int
    layers_total: int
    bytes_done: int
    bytes_total: int


def inspect_image(engine: "Engine", reference: str) -> Image | None:
    """Return the image of that name, digest or id, None if it is not on this machine."""
    try:
        with engine.translate(f"inspect the image {reference}"):
            return _image(engine.api.inspect_image(reference))  # type: ignore[no-untyped-call]
    except (ImageMissing, NotFound):
        return None


def image_id(engine: "Engine", reference: str) -> str | None:
    """Return the id of an image on this machine, None if it is not there."""
    image = inspect_image(engine, reference)
    return image.id if image else None


def list_images(engine: "Engine", project: str) -> list[Image]:
    """Return the images that were built for the project."""
    with engine.translate("list the images"):
        found = engine.api.images(filters={"label": f"{PROJECT}={project}"})
    images = engine.map(lambda raw: inspect_image(engine, str(raw["Id"])), found)
    return [image for image in images if image is not None]


def pull_image(
    engine: "Engine",
    reference: str,
    platform: str | None = None,
    on_progress: Callable[[PullProgress], None] | None = None,
) -> Image:
    """Pull an image and return it; may run in several threads at once.

    Credentials come from the docker command's configuration. ``on_progress`` is called in this
    thread. Raises ImageMissing when the registry does not give it, EngineError for a full disk.
    """
    import docker.errors

    layers, failure = _Layers(reference), None
    with engine.translate(f"pull the image {reference}"):
        try:
            for event in engine.api.pull(reference, stream=True, decode=True, platform=platform):
                # To the very end, also after an error: only then is the connection given back.
                failure = failure or event.get("error")
                progress = layers.update(event)
                if on_progress is not None and progress is not None:
                    on_progress(progress)
        except docker.errors.APIError as error:
            failure = error.explanation or error
    image = inspect_image(engine, reference)
    if failure:
        raise _pull_error(reference, str(failure), is_here=image is not None)
    if image is None:
        raise _pull_error(reference, "the engine ended the pull without an image", is_here=False)
    return image


def tag_image(engine: "Engine", image: str, reference: str) -> None:
    """Give an image (by id or name) the further name ``reference`` ("name:tag")."""
    repository, separator, tag = reference.rpartition(":")
    if not separator or "/" in tag:
        repository, tag = reference, "latest"
    with engine.translate(f"tag the image {image} as {reference}"):
        engine.api.tag(image, repository, tag)


def remove_image(engine: "Engine", reference: str, force: bool = False) -> None:
    """Remove an image or a name of it. One that is gone is no error; one in use raises."""
    try:
        with engine.translate(f"remove the image {reference}"):
            engine.api.remove_image(reference, force=force)
    except (ImageMissing, NotFound):
        return


class _Layers:
    """Adds the events of a pull up, layer by layer."""

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._done: dict[str, int] = {}
        self._total: dict[str, int] = {}
        self._finished: set[str] = set()

    def update(self, event: Mapping[str, Any]) -> PullProgress | None:
        """Take one event in; None when it says nothing about the progress."""
        status, layer = str(event.get("status") or ""), str(event.get("id") or "")
        if not status:
            return None
        detail = event.get("progressDetail")
        # Only layers carry details; the id of the first line is the tag.
        if layer and detail is not None:
            self._done.setdefault(layer, 0)
            if status == "Downloading":
                self._done[layer] = int(detail.get("current") or 0)
                self._total[layer] = int(detail.get("total") or 0)
            elif status in {"Pull complete", "Already exists"}:
                self._finished.add(layer)
            elif status in {"Download complete", "Extracting"}:
                self._done[layer] = self._total.get(layer, 0)
        return PullProgress(
            image=self._reference,
            status=status,
            layers_done=len(self._finished),
            layers_total=len(self._done),
            bytes_done=sum(self._done.values()),
            bytes_total=sum(self._total.values()),
        )


def _pull_error(reference: str, why: str, *, is_here: bool) -> EngineError:
    if is_disk_full(why):
        return EngineError(
            f"Cannot pull the image {reference}: the disk is full (no space left on device)",
            hint="`df -h` shows which; `docker system df` and `docker image prune` free some",
        )
    if _RATE_LIMIT.search(why):
        hint = "wait a while, or sign in with `docker login` for a higher limit"
    elif _PLATFORM.search(why):
        hint = "there is none for this kind of machine: set `platform:` of the service"
    elif _NOT_FOUND.search(why):
        hint = (
            "check its spelling; a private one needs `docker login`; "
            "one that is built here needs `owctl start --build`"
        )
    else:
        hint = (
            "check this machine's network and proxy; without a registry bring the image with "
            "`docker save` and `docker load`, or build it with `owctl start --build`"
        )
    absent = "" if is_here else "is not on this machine and "
    return ImageMissing(f"The image {reference} {absent}could not be pulled: {why}", hint=hint)


def _image(raw: Mapping[str, Any]) -> Image:
    return Image(
        id=str(raw["Id"]),
        tags=tuple(raw.get("RepoTags") or []),
        digests=tuple(raw.get("RepoDigests") or []),
        size_bytes=int(raw.get("Size") or 0),
        created_at=raw.get("Created"),
        labels=(raw.get("Config") or {}).get("Labels") or {},
        raw=raw,
    )


# -- Images that a project may want to go back to, kept from being pruned by a name of owctl's own.
# The names are ``owctl-rollback/<project>/<service>:<twelve digits of the image's id>``.


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


# -- What a registry has under a name, asked by the engine; nothing is pulled.


def registry_digest(engine: "Engine", reference: str) -> str:
    """Return the digest (``sha256:…``) of what the registry gives under a name now.

    Raises EngineError where the registry cannot be asked, or does not know the name.
    """
    with engine.translate(f"ask the registry about {reference}"):
        answer = engine.api.inspect_distribution(reference)  # type: ignore[no-untyped-call]
    return str((answer.get("Descriptor") or {}).get("digest") or "")
