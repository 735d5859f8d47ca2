"""Checks of the engine and of the images that the stack needs."""

from typing import TYPE_CHECKING

from owctl.compose.model import Service
from owctl.doctor.finding import Finding, Situation
from owctl.errors import OwctlError
from owctl.project.ownership import check_owner

if TYPE_CHECKING:
    from owctl.compose.model import Stack
    from owctl.engine.connection import Engine


# -- The engine itself: does it answer, is it new enough, may this user use it.


_CLOCK_SECONDS = 10


def check_engine(engine: "Engine") -> tuple[Finding, ...]:
    """Describe an engine that could be connected to. Raises its errors."""
    info = engine.info
    product = "Podman" if engine.is_podman else "Docker"
    detail = f"{product} {engine.engine_version} (API {engine.api_version}) at {engine.host}"
    kind = str(info.get("OSType") or "linux")
    if kind != "linux":
        return (
            Finding(
                "engine",
                "failed",
                f"{detail} runs {kind} containers",
                "switch the engine to Linux containers",
            ),
        )
    ahead = engine.clock_ahead_seconds
    if abs(ahead) >= _CLOCK_SECONDS:
        way = "ahead of" if ahead > 0 else "behind"
        return (
            Finding(
                "engine",
                "warning",
                f"{detail}; its clock is {abs(ahead):.0f} s {way} this machine's",
                "keep both right with a time service, such as chrony",
            ),
        )
    return (Finding("engine", "ok", detail),)


def check_project_owner(engine: "Engine", stack: "Stack") -> tuple[Finding, ...]:
    """Judge whether the project's containers and volumes belong to this folder."""
    try:
        check_owner(engine, stack.project, stack.working_dir, adopt=False)
    except OwctlError as error:
        return (Finding("owner", "failed", error.message, error.hint),)
    return (Finding("owner", "ok", f"{stack.project} belongs to {stack.working_dir}"),)


# -- Images: which are not on this machine, and which may change under the stack.


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
