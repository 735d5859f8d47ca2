"""What a registry has under a name, asked by the engine; nothing is pulled."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from owctl.engine.connection import Engine


def registry_digest(engine: "Engine", reference: str) -> str:
    """Return the digest (``sha256:…``) of what the registry gives under a name now.

    Raises EngineError where the registry cannot be asked, or does not know the name.
    """
    with engine.translate(f"ask the registry about {reference}"):
        answer = engine.api.inspect_distribution(reference)  # type: ignore[no-untyped-call]
    return str((answer.get("Descriptor") or {}).get("digest") or "")
