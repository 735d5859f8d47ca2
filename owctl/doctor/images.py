"""Images: which are not on this machine, and which may change under the stack."""

from owctl.compose.model import Service
from owctl.doctor.finding import Finding
from owctl.doctor.situation import Situation


def check_images(situation: Situation) -> tuple[Finding, ...]:
    """Judge the image of every service. Those that are built here need no pin."""
    findings: list[Finding] = []
    unpinned: list[Service] = []
    where = situation.engine.endpoint.machine or "this machine"
    for service in situation.stack.services.values():
        reference = service.image_name(situation.stack.project)
        if situation.image(service) is None:
            findings.append(_absent(service, reference, where))
        if service.build is None and not is_pinned(reference):
            unpinned.append(service)
    if unpinned:
        findings.append(_unpinned(situation, unpinned))
    if not findings:
        findings.append(Finding("images", "ok", f"all are on {where}"))
    return tuple(findings)


def is_pinned(reference: str) -> bool:
    """Return whether a name means the same image tomorrow: a digest, or a tag other than latest."""
    if "@" in reference:
        return True
    _, separator, tag = reference.rpartition("/")[2].partition(":")
    return bool(separator) and tag != "latest"


def _absent(service: Service, reference: str, where: str) -> Finding:
    detail = f"{reference} of {service.name} is not on {where}"
    if service.build is not None and service.pull_policy != "never":
        return Finding("images", "warning", f"{detail}; owctl start builds it")
    if service.pull_policy == "never":
        return Finding(
            "images",
            "failed",
            f"{detail}, and pull_policy: never forbids to fetch it",
            f"docker load, docker pull {reference}, or another image in .env",
        )
    return Finding("images", "warning", f"{detail}; owctl start pulls it")


def _unpinned(situation: Situation, services: list[Service]) -> Finding:
    digests = [
        digest
        for service in services
        if (image := situation.image(service)) is not None
        for digest in image.digests[:1]
    ]
    hint = "write name@sha256:… in .env to stay at one image"
    if digests:
        hint += f"; now it is {', '.join(digests)}"
    names = ", ".join(service.name for service in services)
    return Finding(
        "images", "warning", f"not pinned, so that a pull can change them: {names}", hint
    )
