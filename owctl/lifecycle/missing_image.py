"""What to say of an image that a container is to be made from, and that is not there."""

from owctl.compose.model import Service
from owctl.errors import ImageMissing


def missing_image(service: Service, reference: str, project: str) -> ImageMissing:
    """Return the error for a service whose image, ``reference``, is not on this machine."""
    if service.held_image is not None:
        return ImageMissing(
            f"The image {reference}, which {service.name} went back to, is not on this machine "
            "any more.",
            hint=f"owctl upgrade {service.name}, which takes {service.declared_image(project)}; or "
            "docker load, if the image was saved",
        )
    return ImageMissing(
        f"The image {reference} of {service.name} is not on this machine.",
        hint=f"docker pull {reference}, or set another image in .env",
    )
