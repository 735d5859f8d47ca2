"""Folders and files of this machine that containers on another one are to mount."""

from collections.abc import Iterable
from pathlib import Path

from owctl.compose.model import Stack
from owctl.doctor.finding import Finding
from owctl.doctor.situation import Situation


def check_mounts(situation: Situation, names: Iterable[str]) -> tuple[Finding, ...]:
    """Judge the bind mounts of the named services.

    A path below the project's folder, or the user's own, is meant for this machine: another one
    has an empty folder there, which its engine makes without a word.
    """
    machine = situation.engine.endpoint.machine
    if machine is None:
        return (Finding("mounts", "ok", "the engine is on this machine"),)
    found = [
        f"{name} mounts {source} at {target}"
        for name in names
        for source, target in _own_paths(situation.stack, name)
    ]
    if not found:
        return (Finding("mounts", "ok", f"nothing of this machine's is needed on {machine}"),)
    return tuple(
        Finding(
            "mounts",
            "failed",
            f"{each}, but the engine is on {machine} and sees that machine's files",
            "put the files into the image or into a named volume; a secret or config can have its "
            "`content:` or `environment:` in the compose file, which owctl writes into the container",
        )
        for each in found
    )


def _own_paths(stack: Stack, name: str) -> list[tuple[str, str]]:
    own = [stack.working_dir, Path.home()]
    return [
        (mount.source, mount.target)
        for mount in stack.services[name].mounts
        if mount.type == "bind"
        and mount.source
        and any(Path(mount.source).is_relative_to(folder) for folder in own)
    ]
