"""The old server's image, kept for the way back: without a name it would go with the next prune."""

from contextlib import suppress

from owctl.engine.connection import Engine
from owctl.engine.images import image_id, remove_image, tag_image
from owctl.errors import EngineError
from owctl.upgrade.postgres_major_journal import Journal


def keep_old_image(engine: Engine, journal: Journal) -> None:
    """Give an image that goes by its id only a name of owctl's own. Raises the engine's errors."""
    if journal.old_image.startswith("sha256:"):
        tag_image(engine, journal.old_image, _name(journal))


def release_old_image(engine: Engine, journal: Journal) -> None:
    """Take that name away; an image that a container uses stays."""
    if image_id(engine, _name(journal)) is not None:
        with suppress(EngineError):
            remove_image(engine, _name(journal), force=True)


def _name(journal: Journal) -> str:
    return f"owctl-postgres-before-upgrade:{journal.id}"
