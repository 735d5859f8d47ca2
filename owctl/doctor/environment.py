"""`.env`: whether it is there, private, and has secrets worth the name."""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from owctl.doctor.finding import Finding
from owctl.environment.dotenv import display_path
from owctl.project.secret_choice import SECRET_NAMES, is_placeholder

if TYPE_CHECKING:
    from owctl.compose.model import Stack
    from owctl.settings import Settings

_SHORTEST = 12
_FEWEST_CHARACTERS = 5


def check_environment(settings: "Settings", stack: "Stack | None") -> tuple[Finding, ...]:
    """Judge the environment files and the secrets that the stack gets; ``stack`` None: not known.

    No value is ever part of a finding.
    """
    files = settings.environment_files
    findings: list[Finding] = []
    if not files:
        place = display_path(settings.project_dir / ".env")
        # Without it, nothing but the files' own defaults, which everybody knows.
        findings.append(Finding("env", "failed", f"{place} does not exist", "owctl setup"))
    findings += [finding for path in files if (finding := _open_to_others(path))]
    for name, value in _secrets(settings, stack).items():
        findings += _judge_secret(name, value, stack)
    if findings:
        return tuple(findings)
    names = ", ".join(display_path(path) for path in files)
    return (Finding("env", "ok", f"{names}: private, and every secret is set"),)


def _open_to_others(path: Path) -> Finding | None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
    if not mode & 0o077:
        return None
    shown = display_path(path)
    return Finding(
        "env",
        "warning",
        f"{shown} holds secrets and is open to other users (mode {mode:04o})",
        f"chmod 600 {shown}",
    )


def _secrets(settings: "Settings", stack: "Stack | None") -> dict[str, str]:
    """Return the value of each secret that the stack uses, defaults of its files included."""
    if stack is None:
        known = settings.environment
        return {name: known[name] for name in SECRET_NAMES if name in known}
    found: dict[str, str] = {}
    for service in stack.services.values():
        for name in SECRET_NAMES:
            if name in service.environment and not found.get(name):
                found[name] = service.environment[name] or ""
    return found


def _judge_secret(name: str, value: str, stack: "Stack | None") -> list[Finding]:
    if not value:
        return [Finding("env", "failed", f"{name} is empty", "owctl setup generates one")]
    hint = f"a new one in .env: {_how_to_change(name)}"
    if is_placeholder(value):
        return [Finding("env", "warning", f"{name} has a widely known value", hint)]
    if len(value) < _SHORTEST or len(set(value)) < _FEWEST_CHARACTERS:
        return [Finding("env", "warning", f"{name} is weak: too short, or too regular", hint)]
    if stack is not None and quote(value, safe="") != value and _in_an_address(value, stack):
        return [
            Finding(
                "env",
                "warning",
                f"{name} has characters with a meaning of their own in addresses, where it stands",
                hint + "; of letters and digits",
            )
        ]
    return []


def _how_to_change(name: str) -> str:
    changes: Mapping[str, str] = {
        "POSTGRES_PASSWORD": "then owctl setup --sync-password and owctl start",
        "REDIS_PASSWORD": "then owctl start",
    }
    return changes.get(name, "then owctl start, which signs everybody out")


def _in_an_address(value: str, stack: "Stack") -> bool:
    return any(
        f":{value}@" in (variable or "")
        for service in stack.services.values()
        for variable in service.environment.values()
    )
