"""Replaces containers one at a time: a successor first, then the old one; what a killed run left goes."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from owctl.compose.model import Mount, Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import (
    Container,
    inspect_container,
    list_containers,
    remove_container,
    rename_container,
    start_container,
    stop_and_remove,
    stop_container,
)
from owctl.engine.drift import is_made_from
from owctl.engine.images import Image, inspect_image
from owctl.errors import OwctlError, ServiceFailed
from owctl.lifecycle.actions import Actions, grace_seconds, missing_image, start_again
from owctl.lifecycle.observed import Observed, final_name, observe, set_apart
from owctl.lifecycle.plan import Plan, Step
from owctl.lifecycle.proxy import reload_gracefully, web_servers
from owctl.lifecycle.readiness import wait_until_ready
from owctl.lifecycle.start_plan import host_ports
from owctl.progress import Event, Receiver, State, warning

# -- What a replacement that was cut short leaves: one container too many, or one with a wrong name.


def tidy(engine: Engine, stack: Stack) -> set[str]:
    """Remove successors whose predecessor is still there; give the others its name.

    A predecessor that was stopped already is started by what comes next. Returns the services that
    have fewer containers now. Raises OwctlError.
    """
    fewer = set[str]()
    counted, left = set_apart(list_containers(engine, stack.project))
    for container in left:
        if container.service in stack.services:
            # It may serve already.
            stop_and_remove(engine, container.id, grace_seconds(stack.services[container.service]))
            fewer.add(container.service)
    for container in counted:
        if container.service in stack.services and container.name != final_name(container):
            rename_container(engine, container.id, final_name(container))
    return fewer


# -- Which containers are replaced, in which order, and whether anybody notices.


Mode = Literal["beside", "in place"]
# What serves requests, and keeps its data elsewhere, may run twice for a moment.
_SERVING = ("http", "socketio")


@dataclass(frozen=True, slots=True)
class Replacement:
    """One container that gets a successor.

    "beside": the successor is ready before the old one is stopped. "in place": the old one is
    stopped first. ``gap`` says why nobody answers for the service meanwhile; "" if somebody does.
    """

    service: str
    number: int
    name: str
    container_id: str
    mode: Mode
    gap: str = ""


def plan_replacements(
    stack: Stack, containers: Mapping[str, Sequence[Container]], names: Sequence[str]
) -> tuple[Replacement, ...]:
    """Return how the containers of the named services are replaced, one after the other.

    ``containers`` are all of a service's that count, by service: those that stay as they are serve
    on meanwhile. ``names`` are in the order in which it is done.
    """
    return tuple(
        _replacement(stack.services[name], container, len(containers[name]))
        for name in names
        for container in containers[name]
    )


def _replacement(service: Service, container: Container, count: int) -> Replacement:
    obstacle = _why_not_beside(service, container, count)
    return Replacement(
        service=service.name,
        number=container.number,
        name=container.name,
        container_id=container.id,
        mode="in place" if obstacle else "beside",
        gap=obstacle if count == 1 else "",
    )


def _why_not_beside(service: Service, container: Container, count: int) -> str:
    """Return why a container cannot have another one beside it for a while; "" if it can."""
    from owctl.compose.services import choose_probe

    if choose_probe(service).type not in _SERVING:
        return "only one at a time may work on its data"
    for port in service.ports:
        if host_ports(port) is not None:
            host = f"{port.host_ip}:" if port.host_ip else ""
            return f"two cannot have the host port {host}{port.published}"
    if any(
        each.ipv4_address or each.ipv6_address or each.mac_address for each in service.attachments
    ):
        return "two cannot have its fixed address"
    if service.network_mode is not None:
        return f"network_mode {service.network_mode}"
    written = [mount for mount in service.mounts if _is_written(mount)]
    if count == 1 and written:
        # Whoever scales a service has said that several may use what they share.
        return f"only one at a time may write to {written[0].target}"
    # Its successor has the very same, and it is no other container's.
    alone = next(iter(container.unnamed_volumes), None)
    return f"only one at a time may write to {alone}" if alone else ""


def _is_written(mount: Mount) -> bool:
    return mount.type in ("volume", "bind") and not mount.read_only


# -- Containers replaced by ones of other images: service after service, one container at a time.


@dataclass(slots=True)
class Rolled:
    """What was done: seconds by service, and for how long nobody answered for it (0 for no gap)."""

    seconds: dict[str, float] = field(default_factory=dict)
    gap_seconds: dict[str, float] = field(default_factory=dict)


def roll(
    engine: Engine,
    stack: Stack,
    names: Sequence[str],
    receive: Receiver,
    *,
    timeout_seconds: float,
) -> Rolled:
    """Bring the containers of the named services to the images that the stack names for them.

    ``names`` are in the order in which it is done. A container that runs its image already is left
    alone; one that was stopped is started. Raises what failed, ServiceFailed or another OwctlError,
    with the container's last words; the containers are then as far as it came.
    """
    rolling = _Roll(engine, stack, receive, timeout_seconds)
    try:
        return rolling.run(names)
    except (KeyboardInterrupt, OwctlError):
        rolling.give_up()
        raise


class _Roll:
    def __init__(
        self, engine: Engine, stack: Stack, receive: Receiver, timeout_seconds: float
    ) -> None:
        self.engine = engine
        self.stack = stack
        self.receive = receive
        self.timeout_seconds = timeout_seconds
        self.actions = Actions(engine, stack, Plan(()))
        self.rolled = Rolled()
        # The main thread does it all: a signal ends a wait by itself.
        self.cancel = threading.Event()
        self.restarts: dict[str, int] = {}
        self.at_work: str | None = None

    def run(self, names: Sequence[str]) -> Rolled:
        fewer = tidy(self.engine, self.stack)
        observed = observe(self.engine, self.stack, images=False)
        for name in sorted(fewer):
            self._refresh(name, observed)
        images = {name: self._image(name) for name in names}
        containers = {name: observed.of(name) for name in names}
        # On the way back, and after a kill: what is down is missed already.
        names = sorted(names, key=lambda name: all(each.is_running for each in containers[name]))
        plan = {
            each.container_id: each for each in plan_replacements(self.stack, containers, names)
        }
        for name in names:
            for container in containers[name]:
                self._tell(self._subject(container), "waiting", "waiting")
        for name in names:
            began = time.monotonic()
            for container in containers[name]:
                self._bring(container, images[name], plan[container.id], observed)
            self.rolled.seconds[name] = time.monotonic() - began
        self._restart_dependants(containers, observed)
        self._look_again(names)
        return self.rolled

    def _image(self, name: str) -> Image:
        service = self.stack.services[name]
        reference = service.image_name(self.stack.project)
        image = inspect_image(self.engine, reference)
        if image is None:
            raise missing_image(service, reference, self.stack.project)
        return image

    def _bring(
        self, container: Container, image: Image, planned: Replacement, observed: Observed
    ) -> None:
        subject = self._subject(container)
        if not is_made_from(container.raw, image.raw):
            self._replace(planned, subject, observed)
        elif not container.is_running and not self.stack.is_one_shot(container.service):
            self._tell(subject, "starting the container of before")
            service = self.stack.services[container.service]
            start_again(self.engine, service, container.id, container.name)
            self._wait(container.service, container.id, subject)
            self._refresh(container.service, observed)
            self._tell(subject, "runs again", "done")
        else:
            self._tell(subject, "runs that image", "done")

    def _replace(self, planned: Replacement, subject: str, observed: Observed) -> None:
        """Put a successor in a container's place; the old one is there until that is ready."""
        name, grace = planned.service, grace_seconds(self.stack.services[planned.service])
        self._tell(subject, "creating the new container")
        successor = self._create(planned)
        if planned.mode == "beside":
            self._start(planned, successor, subject)
            self._refresh(name, observed)
            self._tell(subject, "stopping the old container")
            stop_container(self.engine, planned.container_id, grace)
        else:
            self._tell(subject, "stopping the old container")
            began = time.monotonic()
            stop_container(self.engine, planned.container_id, grace)
            if not planned.gap:
                # The others serve: nobody is to be sent to the one that is gone.
                self._refresh(name, observed)
            self._start(planned, successor, subject)
            if planned.gap:
                self.rolled.gap_seconds[name] = time.monotonic() - began
        self._refresh(name, observed)
        remove_container(self.engine, planned.container_id, force=True)
        rename_container(self.engine, successor, planned.name)
        self._tell(subject, "replaced, and ready", "done")

    def _create(self, planned: Replacement) -> str:
        step = Step(
            kind="create",
            subject=planned.service,
            service=planned.service,
            number=planned.number,
            name=planned.name,
            container_id=planned.container_id,
        )
        self.actions.perform(step, self.cancel, lambda _: None)
        while self.actions.left_behind:
            self.receive(warning(self.actions.left_behind.pop()))
        return self.actions.created[(planned.service, planned.number)]

    def _start(self, planned: Replacement, successor: str, subject: str) -> None:
        self._tell(subject, "starting the new container")
        start_container(self.engine, successor, planned.name)
        self._wait(planned.service, successor, subject)

    def _wait(self, name: str, container_id: str, subject: str) -> None:
        wait_until_ready(
            self.engine,
            self.stack,
            self.stack.services[name],
            timeout_seconds=self.timeout_seconds,
            cancel=self.cancel,
            report=lambda text: self._tell(subject, f"waiting: {text}"),
            one_shot=self.stack.is_one_shot(name),
            only={container_id},
        )
        ready = inspect_container(self.engine, container_id)
        if ready is not None and ready.is_running:
            self.restarts[container_id] = ready.restart_count

    def _refresh(self, name: str, observed: Observed) -> None:
        """Let the web servers in front know which addresses the service has now."""
        for server in web_servers(self.stack, observed, name):
            present = inspect_container(self.engine, server.id)
            if present is not None and present.is_running:
                reload_gracefully(self.engine, present, self.cancel)

    def _restart_dependants(
        self, replaced: Mapping[str, Sequence[Container]], observed: Observed
    ) -> None:
        """Restart what says ``depends_on: {…: {restart: true}}`` of a service that was replaced."""
        from owctl.engine.containers import restart_container

        for name, service in self.stack.services.items():
            causes = [e for e in service.depends_on if e.restart and e.service in replaced]
            if not causes or name in replaced:
                continue
            for container in observed.of(name):
                subject = self._subject(container)
                self._tell(subject, f"restarting: {causes[0].service} was replaced")
                restart_container(self.engine, container.id, grace_seconds(service))
                self._wait(name, container.id, subject)
                self._refresh(name, observed)
                self._tell(subject, "restarted", "done")

    def _look_again(self, names: Sequence[str]) -> None:
        """Find what was ready and has ended since; raises ServiceFailed."""
        from owctl.observe.evidence import how_it_ended, last_words

        for container_id, restarts in self.restarts.items():
            container = inspect_container(self.engine, container_id)
            if container is None or (container.is_running and container.restart_count == restarts):
                continue
            raise ServiceFailed(
                f"{container.service} was ready, and then {how_it_ended(container)}.",
                hint=f"owctl logs --tail 200 {container.service}",
                details=last_words(self.engine, container),
            )

    def _subject(self, container: Container) -> str:
        return container.service if container.number == 1 else container.name

    def give_up(self) -> None:
        """Tell that what is at work will not come to its end."""
        if self.at_work is not None:
            self._tell(self.at_work, "did not become ready", "failed")

    def _tell(self, subject: str, text: str, state: State = "working") -> None:
        self.at_work = subject if state == "working" else None
        self.receive(Event(subject, state, text))
