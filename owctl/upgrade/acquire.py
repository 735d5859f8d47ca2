"""The new images, fetched or built while the old ones run; put back where something fails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from owctl.compose.model import Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.drift import is_made_from
from owctl.engine.images import Image, image_id, inspect_image, tag_image
from owctl.errors import ImageMissing, OwctlError
from owctl.lifecycle.actions import Actions
from owctl.lifecycle.execute import execute
from owctl.lifecycle.plan import Plan, Step
from owctl.lifecycle.plan import Receiver as StepReceiver
from owctl.project.upgrade_record import Change
from owctl.upgrade.candidates import Candidate
from owctl.upgrade.notes import note_of

Source = Literal["pull", "build", "local"]


@dataclass(frozen=True, slots=True)
class Fetching:
    """Where new images come from. ``pull`` None: ready-made images are pulled, and base images of
    builds are not; True: those, too; False: nothing is pulled.
    """

    pull: bool | None = None
    build: bool = True


def fetch_plan(stack: Stack, candidates: Sequence[Candidate], fetching: Fetching) -> Plan:
    """Return the steps that get the images, each name once; all can be done at the same time."""
    steps: dict[tuple[str, str], Step] = {}
    for each in candidates:
        kind = source_of(each.service, fetching)
        if kind != "local":
            name = each.service.name
            step = Step(kind=kind, subject=name, service=name, name=each.reference)
            steps.setdefault((kind, each.reference), step)
    return Plan(tuple(steps.values()))


def source_of(service: Service, fetching: Fetching) -> Source:
    """Return where a service's new image comes from; "local" is this machine."""
    policy = service.pull_policy or "missing"
    if service.build is not None and policy not in ("always", "never"):
        return "build" if fetching.build else "local"
    return "local" if policy == "never" or fetching.pull is False else "pull"


def fetch(
    engine: Engine, stack: Stack, plan: Plan, fetching: Fetching, receive: StepReceiver
) -> None:
    """Pull and build. Raises the first failure; the tags are then as far as it came."""
    actions = Actions(engine, stack, plan, force_pull=fetching.pull is True)
    execute(plan, actions.perform, receive)


def present_tags(engine: Engine, candidates: Sequence[Candidate]) -> dict[str, str | None]:
    """Return which image each reference means now, by id; None for one that is not there."""
    references = sorted({each.reference for each in candidates})
    return {reference: image_id(engine, reference) for reference in references}


def put_back(engine: Engine, tags: Mapping[str, str | None]) -> None:
    """Give names back to the images that had them; one that is gone by now is left out."""
    for reference, before in tags.items():
        if before is None or "@" in reference or image_id(engine, reference) == before:
            continue
        if inspect_image(engine, before) is not None:
            tag_image(engine, before, reference)


def find_changes(engine: Engine, candidates: Sequence[Candidate]) -> tuple[Change, ...]:
    """Return the services whose reference means another image than the one that they run.

    Raises ImageMissing where a reference means none.
    """
    changes = list[Change]()
    for each in candidates:
        image = inspect_image(engine, each.reference)
        if image is None:
            raise ImageMissing(
                f"The image {each.reference} of {each.service.name} is not on this machine.",
                hint="owctl upgrade without --no-pull and --no-build, or docker load",
            )
        runs_it = all(is_made_from(container.raw, image.raw) for container in each.containers)
        if not runs_it or each.before.image_id != image.id:
            _refuse_major_step(engine, each, image)
            changes.append(Change(each.service.name, each.before, note_of(image, each.reference)))
    return tuple(changes)


def _refuse_major_step(engine: Engine, candidate: Candidate, image: Image) -> None:
    """Refuse a PostgreSQL that cannot read the data of the one that runs."""
    from owctl.doctor.database import image_major
    from owctl.health.choice import choose_probe

    if choose_probe(candidate.service).type != "postgres":
        return
    old = inspect_image(engine, candidate.before.image_id)
    before = image_major(candidate.before.reference, old)
    after = image_major(candidate.reference, image)
    if before is not None and after is not None and before != after:
        raise OwctlError(
            f"{candidate.service.name} runs PostgreSQL {before}, and {candidate.reference} is "
            f"PostgreSQL {after}, which cannot read its data.",
            hint=f"owctl upgrade --postgres-major; or an image of PostgreSQL {before} in .env",
        )
