"""Runs a plan: what is looked at before anything is created, then every step."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from owctl.compose.model import Service, Stack
from owctl.errors import Interrupted, OwctlError, ServiceFailed
from owctl.lifecycle.actions import Actions
from owctl.lifecycle.execute import announce, execute
from owctl.lifecycle.observed import Observed, observe
from owctl.lifecycle.plan import Plan
from owctl.lifecycle.start_plan import StartOptions, plan_start
from owctl.lifecycle.stop_plan import plan_restart, plan_stop
from owctl.progress import Receiver, warning

if TYPE_CHECKING:
    from owctl.doctor.examine import MoreChecks
    from owctl.doctor.finding import Finding
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container


# -- Start, stop and restart a stack: observe → plan → execute → result.


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan with what it was made from: shown by --dry-run, or executed."""

    plan: Plan
    observed: Observed

    @property
    def orphans(self) -> tuple[str, ...]:
        """Return the names of the project's containers that belong to no service."""
        return tuple(container.name for container in self.observed.orphans)

    @property
    def kept_data(self) -> tuple[str, ...]:
        """Say of each container that the plan stops and does not remove why, and what comes of it."""
        orphans = {container.id for container in self.observed.orphans}
        return tuple(
            f"{step.name if step.number > 1 else step.subject}: {step.reason}; kept, "
            + (
                f"as is its stopped container {step.name}"
                if step.container_id in orphans
                else "and mounted again by the next start"
            )
            for step in self.plan.steps
            if step.kind == "keep"
        )


def prepare_start(
    engine: "Engine", stack: Stack, names: Sequence[str], options: StartOptions
) -> Prepared:
    """Return the plan that brings services up; changes nothing."""
    observed = observe(engine, stack)

    def differences(service: Service, number: int, container: "Container") -> tuple[str, ...]:
        from owctl.engine.create_config import container_config
        from owctl.engine.drift import differences as differing

        image = observed.images.get(service.image_name(stack.project))
        if image is None:
            return ()
        wanted = container_config(
            stack,
            service,
            number=number,
            image_id=image.id,
            api_version=engine.api_version,
            proxy_environment=engine.proxy_environment,
        )
        if engine.is_podman:
            from owctl.engine.drift import differences_on_podman

            return differences_on_podman(wanted, container.raw, image.raw)
        return differing(wanted, container.raw, image.raw, network_ids=observed.networks)

    return Prepared(plan_start(stack, observed, names, options, differences), observed)


def prepare_stop(
    engine: "Engine", stack: Stack, names: Sequence[str], *, orphans: bool = False
) -> Prepared:
    """Return the plan that stops and removes services; changes nothing."""
    observed = observe(engine, stack, images=False)
    return Prepared(plan_stop(stack, observed, names, orphans=orphans), observed)


def prepare_restart(engine: "Engine", stack: Stack, names: Sequence[str]) -> Prepared:
    """Return the plan that restarts services; changes nothing.

    Raises ServiceFailed where a named service has no container to restart.
    """
    observed = observe(engine, stack, images=False)
    absent = [name for name in names if not observed.of(name)]
    if absent:
        raise ServiceFailed(
            f"{', '.join(absent)} cannot be restarted: not started yet.",
            hint="owctl start " + " ".join(absent),
        )
    return Prepared(plan_restart(stack, observed, names), observed)


def run(
    engine: "Engine",
    stack: Stack,
    prepared: Prepared,
    receiver: Receiver,
    *,
    timeout_seconds: float = 300.0,
    pull: bool = False,
    no_cache: bool = False,
) -> Actions:
    """Execute a plan; returns what it made and how long each wait took.

    ``pull`` fetches newer base images where images are built, ``no_cache`` builds every layer anew.
    Raises OwctlError of the first step that failed, or Interrupted. Containers that were created
    and not started are removed again; services that did start stay up.
    """
    actions = Actions(
        engine,
        stack,
        prepared.plan,
        timeout_seconds=timeout_seconds,
        force_pull=pull,
        no_cache=no_cache,
    )
    announce(prepared.plan, receiver)
    try:
        execute(prepared.plan, actions.perform, receiver)
        for text in actions.left_behind:
            receiver(warning(text))
    except (KeyboardInterrupt, Interrupted) as error:
        actions.discard_unstarted()
        raise Interrupted(
            "Interrupted; what was running by then goes on.",
            hint="owctl status shows it, owctl start continues, owctl stop ends it",
        ) from error
    except OwctlError:
        actions.discard_unstarted()
        raise
    return actions


# -- Looks at a plan of `start` with the doctor's eyes before it is carried out.


def check_before_start(
    engine: "Engine",
    stack: Stack,
    prepared: "Prepared",
    project_dir: Path,
    ignore: Collection[str] = (),
    more: "MoreChecks | None" = None,
) -> "tuple[Finding, ...]":
    """Return warnings about what the plan starts; raises OwctlError for what must not be started.

    A plan that starts nothing is not looked at. ``ignore`` names checks to leave out, ``more`` are made
    beside the doctor's own.
    """
    starting = starting_services(prepared.plan)
    if not starting:
        return ()
    from owctl.doctor.examine import preflight
    from owctl.doctor.finding import Situation

    observed = prepared.observed
    containers = (*observed.containers, *observed.successors)
    situation = Situation(engine, stack, containers, observed.volumes, observed.images)
    return preflight(situation, starting, project_dir, ignore, more)


def starting_services(plan: Plan) -> list[str]:
    """Return the services that a plan starts containers of."""
    names = (step.service for step in plan.steps if step.kind == "start" and step.service)
    return list(dict.fromkeys(names))
