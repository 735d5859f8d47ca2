"""What the steps of a plan do on the engine."""

import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from owctl.compose.model import Service, Stack
from owctl.errors import ContainerLost, ImageMissing, OwctlError, ServiceFailed, TimedOut
from owctl.lifecycle.execute import Cancelled
from owctl.lifecycle.observed import final_name
from owctl.lifecycle.plan import ASKED_FOR, SCALED_DOWN, Plan, Step
from owctl.lifecycle.readiness import wait_until_ready

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container
    from owctl.engine.images import PullProgress


# -- What to say of an image that a container is to be made from, and that is not there.


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


# -- What each kind of step does to the engine, and the clearing up when a run is cut short.


Report = Callable[[str], None]


class Actions:
    """Carries out the steps of one run and remembers what it made.

    ``created`` maps (service, number) → the id of a container that this run created;
    ``ready_seconds`` maps service → how long it took from its start, or from the beginning of the
    wait if it ran already, until it was ready; ``left_behind`` says which data no container has any
    more, as the files have another mount at its place.
    """

    def __init__(
        self,
        engine: "Engine",
        stack: Stack,
        plan: Plan,
        *,
        timeout_seconds: float = 300.0,
        force_pull: bool = False,
        no_cache: bool = False,
    ) -> None:
        self.engine = engine
        self.stack = stack
        self.plan = plan
        self.timeout_seconds = timeout_seconds
        self.force_pull = force_pull
        self.no_cache = no_cache
        self.created: dict[tuple[str, int], str] = {}
        self.ready_seconds: dict[str, float] = {}
        self.left_behind: list[str] = []
        self.networks: list[str] = []
        self._started: set[str] = set()
        self._began: dict[str, float] = {}

    def perform(self, step: Step, cancel: threading.Event, report: Report) -> str:
        """Carry out one step; returns a detail for the user. Raises OwctlError or Cancelled."""
        if step.kind == "ready":
            return self._wait(step, cancel, report)
        action: Callable[[Step, threading.Event, Report], str] = {
            "pull": self._pull,
            "build": self._build,
            "network": self._network,
            "volume": self._volume,
            "create": self._create,
            "rename": self._rename,
            "replace": self._replace,
            "start": self._start,
            "reach": self._reach,
            "restart": self._restart,
            "stop": self._stop,
            "remove": self._remove,
            "keep": self._keep,
            "remove-network": self._remove_network,
        }[step.kind]
        return action(step, cancel, report)

    def discard_unstarted(self) -> None:
        """Remove the containers that this run created and never started.

        The networks that it made go, too, if the project has no container left to use them.
        """
        from owctl.engine.containers import list_containers, remove_container
        from owctl.engine.networks import remove_network

        for container_id in self.created.values():
            if container_id not in self._started:
                remove_container(self.engine, container_id, force=True)
        if self.networks and not list_containers(self.engine, self.stack.project):
            for name in self.networks:
                remove_network(self.engine, name)

    def _service(self, step: Step) -> Service:
        assert step.service is not None
        return self.stack.services[step.service]

    def _pull(self, step: Step, cancel: threading.Event, report: Report) -> str:
        from owctl.engine.images import pull_image

        assert step.name is not None
        service = self._service(step)

        def progress(state: "PullProgress") -> None:
            if cancel.is_set():
                raise Cancelled
            total = f" of {state.bytes_total / 1e6:.0f}" if state.bytes_total else ""
            report(f"pulling: {state.bytes_done / 1e6:.0f}{total} MB, {state.status}")

        report("pulling " + step.name)
        pull_image(self.engine, step.name, service.platform, progress)
        return "pulled"

    def _build(self, step: Step, cancel: threading.Event, report: Report) -> str:
        from owctl.engine.build import build_image

        def line(text: str) -> None:
            if cancel.is_set():
                raise Cancelled
            if text.strip():
                report("building: " + text.strip())

        build_image(
            self.engine,
            self.stack.project,
            self._service(step),
            no_cache=self.no_cache,
            pull=self.force_pull,
            on_line=line,
        )
        return "built"

    def _network(self, step: Step, cancel: threading.Event, report: Report) -> str:
        from owctl.engine.networks import ensure_network

        network = self.stack.networks[step.subject]
        ensure_network(self.engine, self.stack, network)
        if not network.external:
            self.networks.append(network.name)
        return "created"

    def _volume(self, step: Step, cancel: threading.Event, report: Report) -> str:
        from owctl.engine.volumes import ensure_volume

        ensure_volume(self.engine, self.stack, self.stack.volumes[step.subject])
        return "created"

    def _create(self, step: Step, cancel: threading.Event, report: Report) -> str:
        from owctl.engine.containers import inspect_container

        predecessor = (
            inspect_container(self.engine, step.container_id) if step.container_id else None
        )
        if predecessor is not None and step.reason != ASKED_FOR:
            _check_data_stays(step, predecessor)
        prefix = f"{step.container_id[:12]}_" if step.container_id else ""
        self._make(step, f"{prefix}{step.name}", predecessor)
        return "created"

    def _make(self, step: Step, name: str, predecessor: "Container | None") -> None:
        """Make the step's container, with what the one before it hands on."""
        from owctl.engine.archives import write_files
        from owctl.engine.containers import create_container
        from owctl.engine.create_config import container_config, with_volumes_of
        from owctl.engine.images import inspect_image

        service = self._service(step)
        reference = service.image_name(self.stack.project)
        image = inspect_image(self.engine, reference)
        if image is None:
            raise missing_image(service, reference, self.stack.project)
        body = container_config(
            self.stack,
            service,
            number=step.number,
            image_id=image.id,
            api_version=self.engine.api_version,
            proxy_environment=self.engine.proxy_environment,
        )
        if predecessor is not None:
            body = with_volumes_of(body, predecessor, image.raw.get("Config") or {})
            mounts = body["HostConfig"].get("Mounts") or ()
            self.left_behind += _left_behind(predecessor, [m.get("Source") for m in mounts])
        made = create_container(self.engine, name, body, platform=service.platform)
        self.created[(service.name, step.number)] = made
        write_files(self.engine, made, service)

    def _rename(self, step: Step, cancel: threading.Event, report: Report) -> str:
        from owctl.engine.containers import rename_container

        assert step.container_id is not None
        assert step.name is not None
        rename_container(self.engine, step.container_id, step.name)
        return "renamed"

    def _replace(self, step: Step, cancel: threading.Event, report: Report) -> str:
        from owctl.engine.containers import remove_container, rename_container, stop_container

        assert step.container_id is not None
        assert step.name is not None
        service = self._service(step)
        report("stopping the old container")
        stop_container(self.engine, step.container_id, grace_seconds(service))
        remove_container(self.engine, step.container_id, force=True)
        successor = self.created[(service.name, step.number)]
        # From here on it is the service's container, started or not.
        self._started.add(successor)
        rename_container(self.engine, successor, step.name)
        return "replaced"

    def _start(self, step: Step, cancel: threading.Event, report: Report) -> str:
        service = self._service(step)
        container_id = self.created.get((service.name, step.number), step.container_id)
        assert container_id is not None
        self._began.setdefault(service.name, time.monotonic())
        try:
            start_again(self.engine, service, container_id, step.name)
        except ContainerLost:
            container_id = self._make_anew(step, container_id, report)
            start_again(self.engine, service, container_id, step.name)
        self._started.add(container_id)
        return "started"

    def _make_anew(self, step: Step, container_id: str, report: Report) -> str:
        """Replace a container that the engine cannot start any more; return the new one's id."""
        from owctl.engine.containers import inspect_container, remove_container

        report("making the container anew: the engine lost track of it")
        lost = inspect_container(self.engine, container_id)
        remove_container(self.engine, container_id, force=True)
        self._make(step, step.name or "", lost)
        return self.created[(self._service(step).name, step.number)]

    def _restart(self, step: Step, cancel: threading.Event, report: Report) -> str:
        from owctl.engine.containers import restart_container

        assert step.container_id is not None
        restart_container(self.engine, step.container_id, grace_seconds(self._service(step)))
        return "restarted"

    def _wait(self, step: Step, cancel: threading.Event, report: Report) -> str:
        service = self._service(step)
        began = self._began.setdefault(service.name, time.monotonic())
        try:
            detail = wait_until_ready(
                self.engine,
                self.stack,
                service,
                timeout_seconds=self.timeout_seconds,
                cancel=cancel,
                report=report,
                one_shot=self.stack.is_one_shot(service.name),
            )
        except (ServiceFailed, TimedOut) as error:
            error.details = (*error.details, *self._circumstances(service))
            raise
        self.ready_seconds[service.name] = time.monotonic() - began
        return f"ready: {detail}" if detail else "ready"

    def _circumstances(self, service: Service) -> list[str]:
        """Return what else there is to know of a wait that failed."""
        lines = [
            f"changed in this start: {step.reason}"
            for step in self.plan.steps
            if step.kind == "replace" and step.service == service.name
        ]
        lines += self.left_behind
        held_up = {
            step.service: None
            for step in self.plan.steps
            if step.kind == "start" and step.service not in self._began
        }
        if held_up:
            lines.append(f"not started because of this: {', '.join(map(str, held_up))}")
        return lines

    def _reach(self, step: Step, cancel: threading.Event, report: Report) -> str:
        from owctl.engine.containers import inspect_container
        from owctl.lifecycle.proxy import mend

        assert step.container_id is not None
        container = inspect_container(self.engine, step.container_id)
        if container is None or container.state != "running":
            return "not running any more"
        return mend(self.engine, self.stack, self._service(step), container, cancel)

    def _stop(self, step: Step, cancel: threading.Event, report: Report) -> str:
        from owctl.engine.containers import stop_container

        assert step.container_id is not None
        service = self.stack.services.get(step.service or "")
        stop_container(self.engine, step.container_id, grace_seconds(service))
        return "stopped"

    def _remove(self, step: Step, cancel: threading.Event, report: Report) -> str:
        from owctl.engine.containers import inspect_container, stop_and_remove

        assert step.container_id is not None
        service = self.stack.services.get(step.service or "")
        container = inspect_container(self.engine, step.container_id)
        if container is not None and step.reason == SCALED_DOWN:
            self.left_behind += _left_behind(container, ())
        stop_and_remove(self.engine, step.container_id, grace_seconds(service))
        return "removed"

    def _keep(self, step: Step, cancel: threading.Event, report: Report) -> str:
        from owctl.engine.containers import set_restart_policy

        assert step.container_id is not None
        set_restart_policy(self.engine, step.container_id, "no")
        return f"kept, stopped: {step.reason}"

    def _remove_network(self, step: Step, cancel: threading.Event, report: Report) -> str:
        from owctl.engine.networks import remove_network

        assert step.name is not None
        try:
            remove_network(self.engine, step.name)
        except OwctlError as error:
            # Another project's container may be attached: that is no reason to fail a stop.
            return f"kept: {error.message}"
        return "removed"


def _check_data_stays(step: Step, predecessor: "Container") -> None:
    """Raise OwctlError where a container's successor could not have its data."""
    folder = predecessor.own_data_folder
    if folder is not None:
        raise OwctlError(
            f"{step.subject} keeps PostgreSQL's data in its container itself, as {folder} is in no "
            "volume: another container would begin without it. It was not replaced.",
            hint=f"owctl backup; then a volume at {folder} in the compose file, owctl start "
            f"--recreate {step.subject}, and owctl restore latest",
        )


def _left_behind(container: "Container", handed_on: Collection[str | None]) -> list[str]:
    """Say which unnamed volumes of a container that goes nothing mounts any more."""
    return [
        f"{final_name(container)}: what it had in {folder} is in the unnamed volume {name}, which is "
        "kept, and which nothing mounts any more."
        for folder, name in container.unnamed_volumes.items()
        if name not in handed_on
    ]


def start_again(engine: "Engine", service: Service, container_id: str, name: str | None) -> None:
    """Start a container; one from which a stop took its restart policy has it back."""
    from owctl.engine.containers import set_restart_policy, start_container

    if service.restart == "always":
        set_restart_policy(engine, container_id, "always")
    start_container(engine, container_id, name)


def grace_seconds(service: Service | None) -> int | None:
    """Return how long a container may take to end; None leaves it to the engine (10 s)."""
    seconds = service.stop_grace_period_seconds if service else None
    return None if seconds is None else max(1, round(seconds))
