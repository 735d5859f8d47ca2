"""The development stack of a project: its compose files, its name, what a backend outside needs."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from owctl.errors import ConfigurationError
from owctl.settings import COMPOSE_FILE_NAMES, Flags, Settings

if TYPE_CHECKING:
    from owctl.compose.model import Stack

SUFFIX = "-dev"
TOOLS_PROFILE = "tools"
BACKEND = "rust-backend"
# Paths of the backend's container mean nothing outside of it.
_INSIDE = "/app/"
_BRIDGES_BACKEND = re.compile(r"//host\.docker\.internal:(\d+)")


def development_settings(
    flags: Flags, environ: Mapping[str, str], working_dir: Path, *, tools: bool
) -> Settings:
    """Return the settings of the development stack: those of the project with other compose files.

    Its files are those of ``-f``, else each of the project's with ``.dev`` before its ending, where
    there is such a one; its name is that of ``-p``, else COMPOSE_PROJECT_NAME or the folder's name
    with ``-dev``, else the ``name:`` of its files. ``tools`` enables the profile of that name.

    Raises ConfigurationError where there are no such files, or where both stacks would share a name.
    """
    from owctl.compose.loader import declared_name, settled_name

    project = Settings.load(flags, environ, working_dir)
    files = project.compose_files if flags.files else _twins(project)
    profiles = (*project.profiles, TOOLS_PROFILE) if tools else project.profiles
    own = replace(project, compose_files=files, profiles=profiles, ignored_files=())
    if flags.project_name is None:
        named = project.project_name or (None if declared_name(own) else settled_name(own))
        own = replace(own, project_name=f"{named}{SUFFIX}" if named else None)
    name = settled_name(own)
    if not flags.files and project.compose_files:
        base = replace(project, project_name=project.environment.get("COMPOSE_PROJECT_NAME"))
        if settled_name(base) == name:
            raise ConfigurationError(
                f"Both stacks of this folder would be the project {name}, and the development stack "
                "would replace the other's containers.",
                hint=f"owctl -p {name}{SUFFIX} dev …, or another `name:` in {files[0].name}",
            )
    return own


def _twins(project: Settings) -> tuple[Path, ...]:
    """Return the development files that lie beside the project's own."""
    own = project.compose_files or tuple(project.project_dir / n for n in COMPOSE_FILE_NAMES)
    twins = [path.with_name(f"{path.stem}.dev{path.suffix}") for path in own]
    found = [path for path in twins if path.is_file()]
    # An override's twin alone describes nothing.
    if not found or (project.compose_files and found[0] != twins[0]):
        raise ConfigurationError(
            f"There is no {twins[0].name} in {project.project_dir}: nothing describes a development "
            "stack.",
            hint="owctl setup (writes it beside owctl's own compose.yaml), or "
            "owctl -f FILE dev start",
        )
    return tuple(found if project.compose_files else found[:1])


def backend_environment(project: "Stack", development: "Stack") -> dict[str, str]:
    """Return the variables of a backend that runs on this machine beside the development stack.

    They are those of the project's own backend, the addresses of services replaced by the host
    ports of the development stack. Raises ConfigurationError where one of the two lacks what is
    needed.
    """
    backend = project.services.get(BACKEND)
    if backend is None:
        raise ConfigurationError(
            f"The compose files describe no service {BACKEND}, whose environment would be taken.",
            hint="owctl config --services lists those that they describe",
        )
    addresses = _addresses(development)
    found: dict[str, str] = {}
    for name, value in backend.environment.items():
        if value is not None and not value.startswith(_INSIDE):
            found[name] = _relocated(value, addresses)
    found |= {"ENV": "development"} if "ENV" in found else {}
    port = _backend_port(development)
    return found | ({"PORT": port} if port else {})


def _addresses(development: "Stack") -> dict[str, str]:
    """Return host:port as containers say it → host:port as this machine does."""
    return {
        f"{service.name}:{port.target}": f"{_host(port.host_ip)}:{port.published}"
        for service in development.services.values()
        for port in service.ports
        if (port.published or "").isdecimal()
    }


def _host(address: str | None) -> str:
    return "127.0.0.1" if address in (None, "", "0.0.0.0", "::") else str(address)  # noqa: S104


def _relocated(value: str, addresses: Mapping[str, str]) -> str:
    for inside, outside in addresses.items():
        # As a whole host name, behind // or the @ of a password.
        value = re.sub(rf"(?<=[/@]){re.escape(inside)}(?!\d)", outside, value)
    return value


def _backend_port(development: "Stack") -> str | None:
    """Return the port at which the bridge expects the backend on this machine."""
    for service in development.services.values():
        for value in service.environment.values():
            if match := _BRIDGES_BACKEND.search(value or ""):
                return match[1]
    return None
