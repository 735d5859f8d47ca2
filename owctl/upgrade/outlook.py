"""What an upgrade would bring, as far as that can be known without fetching anything."""

from dataclasses import dataclass, replace
from typing import Literal

from owctl.engine.connection import Engine
from owctl.engine.images import Image, inspect_image
from owctl.errors import OwctlError
from owctl.project.upgrade_record import ImageNote
from owctl.upgrade.acquire import Fetching, Source, source_of
from owctl.upgrade.candidates import Candidate
from owctl.upgrade.notes import note_of

Verdict = Literal["new", "same", "unknown"]


@dataclass(frozen=True, slots=True)
class Outlook:
    """One service: whether its image would be another one.

    ``digest`` is the registry's, where it told; ``after`` the image, where it is on this machine;
    ``why`` says in words how that is known, or why it is not.
    """

    service: str
    reference: str
    source: Source
    before: ImageNote
    verdict: Verdict
    why: str
    after: ImageNote | None = None
    digest: str | None = None


def look_ahead(
    engine: Engine, candidates: tuple[Candidate, ...], fetching: Fetching
) -> list[Outlook]:
    """Return the outlook of each service; registries are asked, all at once."""
    return engine.map(lambda each: _outlook(engine, each, fetching), candidates)


def _outlook(engine: Engine, candidate: Candidate, fetching: Fetching) -> Outlook:
    source = source_of(candidate.service, fetching)
    here = inspect_image(engine, candidate.reference)
    base = Outlook(
        service=candidate.service.name,
        reference=candidate.reference,
        source=source,
        before=candidate.before,
        verdict="unknown",
        why="",
    )
    if source == "build":
        return _with(base, "unknown", "built here: known after the build")
    if source == "pull":
        return _asked(engine, base, here)
    return _here(base, here, "on this machine")


def _asked(engine: Engine, base: Outlook, here: Image | None) -> Outlook:
    from owctl.engine.distribution import registry_digest

    try:
        digest = registry_digest(engine, base.reference)
    except OwctlError as error:
        why = error.message.rstrip(".")
        return _with(base, "unknown", f"not known without pulling: {why}")
    if here is not None and any(each.endswith("@" + digest) for each in here.digests):
        return _here(base, here, "pulled already", digest)
    if base.before.digest == digest:
        return _with(base, "same", "the registry has nothing newer", digest=digest)
    return _with(base, "new", "the registry has another one", digest=digest)


def _here(base: Outlook, here: Image | None, why: str, digest: str | None = None) -> Outlook:
    if here is None:
        return _with(base, "unknown", "not on this machine")
    note = note_of(here, base.reference)
    if note.image_id == base.before.image_id:
        return _with(base, "same", "nothing newer", after=note, digest=digest)
    return _with(base, "new", why, after=note, digest=digest)


def _with(
    base: Outlook,
    verdict: Verdict,
    why: str,
    *,
    after: ImageNote | None = None,
    digest: str | None = None,
) -> Outlook:
    return replace(base, verdict=verdict, why=why, after=after, digest=digest)
