"""Where the database's files are and of which PostgreSQL they are, which images are concerned, and what the journal holds."""

from dataclasses import dataclass, replace
from typing import ClassVar

from owctl.changeover.journal import POSTGRES, Kind
from owctl.changeover.journal import Journal as AnyJournal
from owctl.compose.model import Mount, Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, list_containers
from owctl.engine.images import Image, inspect_image
from owctl.engine.volumes import inspect_volume
from owctl.errors import OwctlError
from owctl.postgres.files import (
    DEFAULT_FOLDER,
    DatabaseFiles,
    data_folder,
    image_major,
    image_variables,
    read_volume_files,
)
from owctl.postgres.place import require_database

# -- Where the database's files are, of which PostgreSQL they are, and which images are concerned.


# Where the data may be otherwise, from the top of the volume.
_ELSEWHERE = ("", "data", "pgdata", "docker")


@dataclass(frozen=True, slots=True)
class Place:
    """The database's files: ``folder`` is where in ``volume`` they are ("" for its root).

    ``old_image`` is what their server runs from, by a name if it still has one, else by its id;
    ``new_image`` is what the compose files say. ``container`` is the service's, if it has one.
    """

    service: Service
    volume: str
    folder: str
    old_major: str
    old_image: str
    old_image_id: str
    new_major: str | None
    new_image: str
    container: Container | None

    @property
    def is_running(self) -> bool:
        """Whether the old server runs."""
        return self.container is not None and self.container.is_running

    def old_stack(self, stack: Stack) -> Stack:
        """Return the stack with the image that the files are of."""
        return stack_with_image(stack, self.service.name, self.old_image)


def stack_with_image(stack: Stack, service_name: str, image: str) -> Stack:
    """Return the stack with another image for a service, which is not built then."""
    service = replace(
        stack.services[service_name], image=image, build=None, pull_policy=None, held_image=None
    )
    return replace(stack, services={**stack.services, service_name: service})


def find_place(engine: Engine, stack: Stack, old_image: str | None = None) -> Place:
    """Look at the stack and its volume; raises OwctlError where there is nothing to be upgraded.

    ``old_image`` names an image of the old PostgreSQL, where it cannot be found.
    """
    service = require_database(stack, "to upgrade", hint="owctl config").service
    container = _container(engine, stack, service)
    wanted = service.image_name(stack.project)
    image = inspect_image(engine, wanted)
    if service.environment.get("POSTGRES_INITDB_WALDIR"):
        raise OwctlError(
            f"{service.name} keeps PostgreSQL's log of changes outside of its data "
            "(POSTGRES_INITDB_WALDIR), and only what is in one volume can be upgraded.",
            hint="docs/upgrade-postgres.md, which says how to do it by hand",
        )
    mount, folder = _mount(service, image)
    volume = stack.volumes[mount.source or ""].name
    if inspect_volume(engine, volume) is None:
        raise OwctlError(
            f"There is no database to upgrade: the volume {volume} does not exist.",
            hint="owctl start, which begins one with the new PostgreSQL",
        )
    _check_mounted(service, container, volume)
    any_image = container.image_id if container else image.id if image else _any_image(engine)
    old_major = _major_of_files(engine, stack, volume, folder, any_image)
    named = old_image or _image_of(engine, container, old_major)
    old = _old_image(engine, old_major, named, like=wanted)
    return Place(
        service=service,
        volume=volume,
        folder=folder,
        old_major=old_major,
        old_image=named or next(iter(_tags(old, wanted)), old.id),
        old_image_id=old.id,
        new_major=image_major(wanted, image),
        new_image=wanted,
        container=container,
    )


def _container(engine: Engine, stack: Stack, service: Service) -> Container | None:
    found = list_containers(engine, stack.project, services=[service.name])
    if len(found) > 1:
        raise OwctlError(
            f"{service.name} has {len(found)} containers, and a database can have one.",
            hint=f"owctl start --scale {service.name}=1",
        )
    return found[0] if found else None


def _check_mounted(service: Service, container: Container | None, volume: str) -> None:
    """Raise OwctlError where the server that runs is on another volume than the files name."""
    if container is None or not container.is_running:
        return
    names = [mount.name for mount in container.mounts if mount.name]
    if volume not in names:
        raise OwctlError(
            f"{service.name} runs on {', '.join(names) or 'no volume'}, and the compose files name "
            f"the volume {volume} for its data by now.",
            hint=f"the volume of before in the compose files; or owctl stop {service.name}, if the "
            f"data in {volume} is to be upgraded, then this command again",
        )


def _mount(service: Service, image: Image | None) -> tuple[Mount, str]:
    """Return the volume that the new server keeps its data in, and where in it."""
    data = data_folder(service, image)
    mounts = [mount for mount in service.mounts if mount.type != "tmpfs"]
    for mount in sorted(mounts, key=lambda each: -len(each.target)):
        if not data.is_relative_to(mount.target):
            continue
        if mount.type != "volume" or not mount.source:
            raise OwctlError(
                f"{service.name} keeps its data in {mount.source or 'an unnamed volume'}, and only "
                "a volume of the compose files can be upgraded.",
                hint="docs/upgrade-postgres.md, which says how to do it by hand",
            )
        folder = str(data.relative_to(mount.target))
        return mount, "" if folder == "." else folder
    target = next((m.target for m in mounts if m.target.startswith("/var/lib/post")), None)
    raise OwctlError(
        f"The new image keeps its data in {data}, where {service.name} has no volume.",
        hint=f"PGDATA: {target or DEFAULT_FOLDER} in the environment of {service.name}, so that "
        "it stays in the volume",
    )


def _major_of_files(engine: Engine, stack: Stack, volume: str, folder: str, image_id: str) -> str:
    def read(*folders: str) -> DatabaseFiles | None:
        return read_volume_files(engine, stack.project, image_id, volume, folders)

    files = read(folder)
    if files is not None:
        return files.major
    other = read(*_ELSEWHERE)
    if other is None:
        raise OwctlError(
            f"There is no database to upgrade: the volume {volume} is empty.",
            hint="owctl start, which begins one with the new PostgreSQL",
        )
    raise OwctlError(
        f"The volume {volume} has a database of PostgreSQL {other.major}, but not where the new "
        f"image looks for it ({folder or 'its root'}).",
        hint="the same PGDATA as before in the environment of the service",
    )


def is_usable(engine: Engine, reference: str, major: str) -> bool:
    """Return whether an image is here, and as far as it tells, of that PostgreSQL."""
    image = inspect_image(engine, reference)
    return image is not None and image_major(reference, image) in (major, None)


def _image_of(engine: Engine, container: Container | None, major: str) -> str | None:
    """Return the name that the container's image goes by, its id if that is another's by now.

    None where it is of another PostgreSQL than the data: somebody has tried the new one already.
    """
    if container is None:
        return None
    own = inspect_image(engine, container.image_id)
    if own is None or image_major("", own) not in (major, None):
        return None
    named = inspect_image(engine, container.image)
    if named is not None and named.id == container.image_id:
        return container.image
    return container.image_id


def _old_image(engine: Engine, major: str, named: str | None, *, like: str) -> Image:
    """Return an image of the old PostgreSQL that is on the engine; raises OwctlError if none is.

    Without a name one of the repository of ``like`` is preferred: it has the same extensions.
    """
    if named is not None:
        image = inspect_image(engine, named)
        found = image_major(named, image) if image else None
        if image is not None and found in (major, None):
            return image
        why = f"is PostgreSQL {found}" if image else "is not on this machine"
        raise OwctlError(
            f"The data is of PostgreSQL {major}, whose server is needed to read it, and the image "
            f"{named} {why}.",
            hint=f"docker pull postgres:{major}, then owctl upgrade --postgres-major "
            f"--old-image postgres:{major}",
        )
    images = _images(engine)
    repository = _repository(like)
    for image in sorted(images, key=lambda each: repository not in map(_repository, each.tags)):
        if image_major("", image) == major and "PGDATA" in image_variables(image):
            return image
    raise OwctlError(
        f"The data is of PostgreSQL {major}, whose server is needed to read it, and no image of "
        "it is on this machine.",
        hint=f"docker pull postgres:{major}, or the image that the stack had before",
    )


def _tags(image: Image, like: str) -> list[str]:
    """Return an image's names, those of the repository of another one first."""
    return sorted(image.tags, key=lambda tag: _repository(tag) != _repository(like))


def _repository(reference: str) -> str:
    name = reference.partition("@")[0]
    return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name


def _images(engine: Engine) -> list[Image]:
    with engine.translate("list the images"):
        listed = engine.api.images()
    tags = sorted(tag for raw in listed for tag in raw.get("RepoTags") or [] if ":" in tag)
    likely = [tag for tag in tags if "postgres" in tag or "pg" in tag]
    found = engine.map(lambda tag: inspect_image(engine, tag), likely)
    return [image for image in found if image is not None]


def _any_image(engine: Engine) -> str:
    found = _images(engine)
    if not found:
        raise OwctlError(
            "No image of PostgreSQL is on this machine, neither the old one nor the new one.",
            hint="docker pull the image that the stack had before",
        )
    return found[0].id


# -- What the journal of an upgrade to another PostgreSQL holds.


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal(AnyJournal):
    """One upgrade. ``folder`` is where in ``volume`` the data is ("" for its root).

    ``new_volume`` holds the new database until it is in place.
    """

    kind: ClassVar[Kind] = POSTGRES

    service: str
    volume: str
    folder: str
    new_volume: str
    old_major: str
    new_major: str
    old_image: str
    new_image: str
    backup: str | None = None
