"""The engine itself: does it answer, is it new enough, may this user use it."""

from typing import TYPE_CHECKING

from owctl.doctor.finding import Finding
from owctl.errors import OwctlError
from owctl.project.ownership import check_owner

if TYPE_CHECKING:
    from owctl.compose.model import Stack
    from owctl.engine.connection import Engine

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
