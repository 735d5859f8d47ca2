"""Images written down."""

from owctl.engine.images import Image
from owctl.project.upgrade_record import ImageNote

VERSION_LABEL = "org.opencontainers.image.version"


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


def _repository(reference: str) -> str:
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]
