"""The plan of ``start``: how many containers each service gets, and which steps lead there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from owctl.compose.model import Port, Service, Stack
from owctl.errors import UsageError
from owctl.lifecycle.observed import Observed, final_name
from owctl.lifecycle.plan import ASKED_FOR, SCALED_DOWN, Plan, Step, StepKind, keys
from owctl.lifecycle.proxy import reach_steps

if TYPE_CHECKING:
    from owctl.engine.containers import Container


# -- How many containers a service gets, and whether it can have that many.


# Written by setup beside compose.yaml: takes the fixed host ports away.
SCALE_FILE = "compose.scale.yaml"


@dataclass(frozen=True, slots=True)
class Scale:
    """The number of containers by service, where it differs from the files' own."""

    asked: Mapping[str, int] = field(default_factory=dict)

    def of(self, service: Service) -> int:
        """Return how many containers the service is to have."""
        return self.asked.get(service.name, service.scale)


def check_scale(stack: Stack, scale: Scale, names: Sequence[str]) -> None:
    """Refuse what cannot be: two containers with one name, or on one host port.

    Raises UsageError that says which line of the files is in the way, and the way out.
    """
    for name in names:
        service = stack.services[name]
        count = scale.of(service)
        if count <= 1:
            continue
        if service.container_name is not None:
            raise UsageError(
                f"{name} cannot run {count} times: its container_name, {service.container_name}, "
                "can be given once only.",
                hint=f"take container_name out of the compose file's {name} (a file of overrides: "
                "container_name: !reset null)",
            )
        for port in service.ports:
            free = host_ports(port)
            if free is not None and free < count:
                raise UsageError(
                    f"{name} cannot run {count} times: it publishes "
                    f"{_described(port, free)} for its port {port.target}.",
                    hint=f"{_with_scale_file(stack, name, count)}a range such as "
                    f"{_range(port, count)}:{port.target} under ports",
                )


def host_ports(port: Port) -> int | None:
    """Return how many host ports a port may take; None if the engine chooses or it has none."""
    if not port.published:
        return None
    first, dash, last = port.published.partition("-")
    return int(last) - int(first) + 1 if dash else 1


def _described(port: Port, free: int) -> str:
    if free == 1:
        return f"the one host port {port.published}"
    return f"the host ports {port.published}, {free} in number,"


def _with_scale_file(stack: Stack, name: str, count: int) -> str:
    """Return the command that takes the shipped override along, where the project has it."""
    if not (stack.working_dir / SCALE_FILE).is_file():
        return ""
    files = [path.name for path in stack.config_files if path.name != SCALE_FILE]
    flags = " ".join(f"-f {file}" for file in (*files, SCALE_FILE))
    return f"owctl {flags} start --scale {name}={count}; or "


def _range(port: Port, count: int) -> str:
    first = int((port.published or "0").partition("-")[0])
    return f"{first}-{first + count - 1}"


# -- Stack + what exists → the steps that `start` takes.


Differences = Callable[[Service, int, "Container"], tuple[str, ...]]
"""What of a container differs from what the stack wants: human names of keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """What the user asked of `start`; ``builds`` are services to build as with ``build`` for all."""

    wait: bool = True
    recreate: bool = False
    pull: bool = False
    build: bool = False
    builds: frozenset[str] = frozenset()
    scale: Scale = field(default_factory=Scale)


def with_dependencies(stack: Stack, names: Sequence[str]) -> tuple[str, ...]:
    """Return the services and all that they depend on, in the order of the files."""
    wanted: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name in wanted or name not in stack.services:
            continue
        wanted.add(name)
        queue += [edge.service for edge in stack.services[name].depends_on]
    return tuple(name for name in stack.services if name in wanted)


def plan_start(
    stack: Stack,
    observed: Observed,
    names: Sequence[str],
    options: StartOptions,
    differences: Differences,
) -> Plan:
    """Return the steps that bring the named services (with dependencies) up.

    All containers are created before the first is started; a service starts when its own
    dependencies have reached their condition, not when a whole level has.
    """
    return _StartPlanner(stack, observed, options, differences).plan(
        with_dependencies(stack, names)
    )


class _StartPlanner:
    def __init__(
        self, stack: Stack, observed: Observed, options: StartOptions, differences: Differences
    ) -> None:
        self.stack = stack
        self.observed = observed
        self.options = options
        self.differences = differences
        self.prepare: list[Step] = []
        self.creates: list[Step] = []
        self.runs: list[Step] = []
        self.clears: list[Step] = []

    def plan(self, selected: Sequence[str]) -> Plan:
        services = [self.stack.services[name] for name in selected]
        self._settle_leftovers(selected)
        for service in services:
            self._prepare_image(service)
        # Nothing is made until the images are here: what cannot be had leaves nothing behind.
        images = keys(self.prepare)
        self._prepare_networks(services, images)
        self._prepare_volumes(services, images)
        for service in services:
            self._containers(service)
        self._restart_dependants(services)
        steps = [*self.prepare, *self.clears, *self.creates, *self._gated(selected)]
        return Plan((*steps, *reach_steps(self.stack, self.observed, steps)))

    def _settle_leftovers(self, selected: Sequence[str]) -> None:
        self.clears += [
            Step(
                kind="remove",
                subject=container.service,
                service=container.service,
                number=container.number,
                name=container.name,
                container_id=container.id,
                reason="left by an interrupted replacement",
            )
            for container in self.observed.successors
            if container.service in selected
        ]
        self.clears += [
            self._step(
                "rename",
                self.stack.services[container.service],
                container.number,
                container,
                "its replacement was interrupted",
            )
            for container in self.observed.containers
            if container.service in selected and container.name != final_name(container)
        ]

    def _prepare_networks(self, services: Sequence[Service], after: frozenset[str]) -> None:
        used = {attachment.network for service in services for attachment in service.attachments}
        for key, network in self.stack.networks.items():
            if key in used and network.name not in self.observed.networks:
                self.prepare.append(
                    Step(kind="network", subject=key, name=network.name, requires=after)
                )

    def _prepare_volumes(self, services: Sequence[Service], after: frozenset[str]) -> None:
        used = {m.source for s in services for m in s.mounts if m.type == "volume" and m.source}
        for key, volume in self.stack.volumes.items():
            if key in used and volume.name not in self.observed.volumes:
                self.prepare.append(
                    Step(kind="volume", subject=key, name=volume.name, requires=after)
                )

    def _prepare_image(self, service: Service) -> None:
        name = service.image_name(self.stack.project)
        kind = self._image_step(service, present=name in self.observed.images)
        if kind is None:
            return
        reason = ASKED_FOR if name in self.observed.images else "not on this machine"
        step = Step(kind=kind, subject=service.name, service=service.name, reason=reason)
        # Services that share an image share the step's work, too.
        same = [s for s in self.prepare if s.kind == kind and s.name == name]
        if not same:
            self.prepare.append(replace(step, name=name))

    def _image_step(self, service: Service, *, present: bool) -> StepKind | None:
        if service.held_image is not None:
            # Went back to an image that no registry and no build gives: only an upgrade ends that.
            return None
        if service.build is not None and service.name in self.options.builds:
            return "build"
        policy = service.pull_policy or "missing"
        if service.build is not None and policy not in ("always", "never"):
            # Where there is a build section the image is ours to build, as compose does.
            if self.options.build or policy == "build" or not present:
                return "build"
            return None
        if policy == "never":
            return None
        return "pull" if self.options.pull or policy == "always" or not present else None

    def _containers(self, service: Service) -> None:
        wanted = self.options.scale.of(service)
        existing = {container.number: container for container in self.observed.of(service.name)}
        numbers = sorted(existing)[:wanted]
        free = (n for n in range(1, wanted + len(existing) + 1) if n not in existing)
        numbers += [next(free) for _ in range(wanted - len(numbers))]
        for number, container in existing.items():
            if number not in numbers:
                self.clears.append(self._step("remove", service, number, container, SCALED_DOWN))
        for number in sorted(numbers):
            self._container(service, number, existing.get(number))

    def _container(self, service: Service, number: int, existing: "Container | None") -> None:
        image_steps = [s for s in self.prepare if s.kind in ("pull", "build")]
        if existing is None:
            self._create(service, number, None, "")
            self.runs.append(self._step("start", service, number))
            return
        reason = self._reason_to_replace(service, number, existing, image_steps)
        if reason:
            self._create(service, number, existing, reason)
            self.runs.append(self._step("replace", service, number, existing, reason))
            self.runs.append(self._step("start", service, number))
        elif existing.state not in ("running", "restarting"):
            self.runs.append(self._step("start", service, number, existing, existing.state))

    def _restart_dependants(self, services: Sequence[Service]) -> None:
        """Restart what says ``depends_on: {…: {restart: true}}`` of a service that is replaced."""
        for service in services:
            replaced = {step.service for step in self.runs if step.kind == "replace"}
            causes = [e.service for e in service.depends_on if e.restart and e.service in replaced]
            if not causes or any(step.service == service.name for step in self.runs):
                continue
            reason = f"{', '.join(causes)} replaced"
            for container in self.observed.of(service.name):
                self.runs.append(
                    self._step("restart", service, container.number, container, reason)
                )

    def _reason_to_replace(
        self,
        service: Service,
        number: int,
        existing: "Container",
        image_steps: Sequence[Step],
    ) -> str:
        image = service.image_name(self.stack.project)
        if self.options.recreate:
            return ASKED_FOR
        if existing.state in ("dead", "removing"):
            return f"container is {existing.state}"
        if any(step.name == image for step in image_steps):
            return "new image"
        changed = self.differences(service, number, existing)
        return f"{', '.join(changed)} changed" if changed else ""

    def _create(
        self, service: Service, number: int, existing: "Container | None", reason: str
    ) -> None:
        image = service.image_name(self.stack.project)
        mine = [
            step
            for step in self.prepare
            if (step.kind in ("pull", "build") and step.name == image)
            or (step.kind == "network" and step.subject in {a.network for a in service.attachments})
            or (step.kind == "volume" and step.subject in {m.source for m in service.mounts})
        ]
        clears = [step for step in self.clears if step.service == service.name]
        step = self._step("create", service, number, existing, reason)
        self.creates.append(replace(step, requires=keys([*mine, *clears])))

    def _gated(self, selected: Sequence[str]) -> list[Step]:
        """Give every run step what it has to wait for, and add the waits."""
        everything_created = keys([*self.prepare, *self.creates, *self.clears])
        result: list[Step] = []
        for name in selected:
            service = self.stack.services[name]
            mine = [step for step in self.runs if step.service == name]
            gate = frozenset[str]().union(
                *(self._gate(e.service, e.condition, selected) for e in service.depends_on)
            )
            for index, step in enumerate(mine):
                before = {s.key for s in mine if s.number == step.number and s.kind == "replace"}
                if index and any((host_ports(port) or 1) > 1 for port in service.ports):
                    # Older engines give two containers that start at once the same port of a range.
                    before.add(mine[index - 1].key)
                own = frozenset(before - {step.key})
                result.append(replace(step, requires=everything_created | gate | own))
            if self.options.wait or self._awaited(name, selected):
                requires = keys(mine) if mine else everything_created | gate
                result.append(
                    Step(kind="ready", subject=name, service=name, requires=frozenset(requires))
                )
        return result

    def _gate(self, dependency: str, condition: str, selected: Sequence[str]) -> frozenset[str]:
        if dependency not in selected:
            return frozenset()
        if condition == "service_started":
            return keys(
                step for step in self.runs if step.service == dependency and step.kind == "start"
            )
        return frozenset({Step(kind="ready", subject=dependency).key})

    def _awaited(self, name: str, selected: Sequence[str]) -> bool:
        return any(
            edge.service == name and edge.condition != "service_started"
            for other in selected
            for edge in self.stack.services[other].depends_on
        )

    def _step(
        self,
        kind: StepKind,
        service: Service,
        number: int,
        existing: "Container | None" = None,
        reason: str = "",
    ) -> Step:
        from owctl.engine.naming import container_name

        return Step(
            kind=kind,
            subject=service.name,
            service=service.name,
            number=number,
            name=container_name(self.stack, service, number),
            container_id=existing.id if existing else None,
            reason=reason,
        )
