"""Where a backup comes from: the images of the services, and the configuration files, stored as they are."""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from owctl.backup.access import describe
from owctl.backup.encryption import Encryption
from owctl.backup.inventory import Inventory
from owctl.backup.manifest import Member
from owctl.backup.member_file import write_small
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.errors import OwctlError


def describe_services(
    engine: Engine, stack: Stack, inventory: Inventory
) -> dict[str, dict[str, Any]]:
    """Return image, image id and registry digests by service, in the order of their names.

    For a service without a container they are those of the image that it would be made from; one
    whose image is not on this machine is left out.
    """
    from owctl.engine.images import image_id

    images: dict[str, tuple[str, str]] = {}
    for service in stack.services.values():
        reference = service.image_name(stack.project)
        running = [c for c in inventory.containers if c.service == service.name]
        if not running and (found := image_id(engine, reference)) is not None:
            images[service.name] = (reference, found)
    for container in sorted(inventory.containers, key=lambda item: item.number):
        images.setdefault(container.service, (container.image, container.image_id))
    return {
        service: {"image": image, "image_id": identity, "image_digests": _digests(engine, identity)}
        for service, (image, identity) in sorted(images.items())
    }


def _digests(engine: Engine, image_id: str) -> list[str]:
    """Return ``name@sha256:…`` of an image; none for one that was built here."""
    from owctl.engine.images import inspect_image

    image = inspect_image(engine, image_id)
    return list(image.digests) if image is not None else []


def configuration_files(stack: Stack) -> Iterator[tuple[str, Path]]:
    """Yield (name of the member, file); files outside the project go to ``config/elsewhere/``."""
    taken: set[str] = set()
    files = (*stack.config_files, *stack.environment_files, *stack.named_files)
    for path in dict.fromkeys(files):
        if path.is_relative_to(stack.working_dir):
            name = PurePosixPath("config") / path.relative_to(stack.working_dir).as_posix()
        else:
            name = PurePosixPath("config/elsewhere") / path.name
        number = 1
        while str(name) in taken:
            number += 1
            name = name.with_name(f"{number}-{path.name}")
        taken.add(str(name))
        yield str(name), path


def store_configuration(
    stack: Stack,
    folder: Path,
    warn: Callable[[str], None],
    encryption: Encryption | None = None,
) -> Iterator[Member]:
    """Store the files in ``folder`` and yield their members; raises OwctlError.

    ``warn`` is told of a secret or config that cannot be stored: the engine may read what this
    user may not, and it may be a folder.
    """
    own = {*stack.config_files, *stack.environment_files}
    for name, path in configuration_files(stack):
        try:
            content, about = _content(path), describe(path, stack.working_dir)
        except OSError as error:
            reason = error.strerror or str(error)
            if path not in own:
                warn(f"{path}, which the compose files name, is not in the backup: {reason}.")
                continue
            raise OwctlError(
                f"Cannot read {path}: {reason}.",
                hint="owctl config --validate",
            ) from error
        stored = write_small(folder, name, content, encryption)
        yield stored.member("configuration", path=str(path), **about)


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise OSError(0, "it is no file")
    return path.read_bytes()
