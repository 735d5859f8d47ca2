"""Loads the stack: compose files → documents → merged → checked → the model."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from owctl.compose import resolve
from owctl.compose.document import Node, plain
from owctl.compose.fields import Scope
from owctl.compose.file_rules import SECTIONS, definition
from owctl.compose.forms import canonical
from owctl.compose.merge import merge_documents
from owctl.compose.model import Probe, Stack
from owctl.compose.project_name import project_name
from owctl.compose.references import check_dependencies, check_files, check_resources, used
from owctl.compose.service_rules import service_spec
from owctl.compose.top_level_rules import (
    check_top_level,
    network_spec,
    probe,
    section,
    volume_spec,
)
from owctl.compose.variables import Interpolation
from owctl.compose.yaml_reader import read_yaml
from owctl.environment.paths import display_path
from owctl.errors import ConfigurationError, Problem
from owctl.settings import Settings

_SERVICE_NAME = re.compile(r"[a-zA-Z0-9._-]+")
_UNSET = "The {} variable is not set. Defaulting to a blank string."


@dataclass(slots=True)
class _Checked:
    """A document after checking: specs of what it defines, in file order."""

    services: dict[str, dict[str, Any]]
    networks: dict[str, dict[str, Any]]
    volumes: dict[str, dict[str, Any]]
    files: dict[str, dict[str, dict[str, Any]]]
    probes: dict[str, Probe | None]


def load(settings: Settings) -> Stack:
    """Read, merge and check the project's compose files.

    Raises ConfigurationError: with everything wrong in the files, or because there are none.
    """
    if not settings.compose_files:
        raise ConfigurationError(
            f"No compose file in {settings.project_dir}.",
            hint="owctl setup (writes compose.yaml and .env), or -C FOLDER, or -f FILE",
        )
    problems: list[Problem] = []
    documents = [
        node for path in settings.compose_files if (node := read_yaml(path, problems)) is not None
    ]
    if len(documents) < len(settings.compose_files):
        # With a file missing, whatever else could be said of the rest would mislead.
        raise _error(problems, required=())
    name = project_name(settings, documents, problems)
    variables = {**settings.environment, "COMPOSE_PROJECT_NAME": name}
    interpolation = Interpolation(variables)
    interpolated = [canonical(interpolation.apply(document)) for document in documents]
    problems += interpolation.problems
    merged = merge_documents(interpolated, problems)
    scope = Scope(settings.project_dir, variables, problems)
    for path in settings.ignored_files:
        scope.warn(f"{display_path(path)} is not read: a file of a name that comes first is there.")
    for unset in (*settings.unset_variables, *interpolation.unset):
        scope.warn(_UNSET.format(unset))
    checked = _check(merged, name, scope)
    services = section(merged, "services")
    active = _active(checked.services, settings.profiles)
    defined = {"networks": checked.networks, "volumes": checked.volumes, **checked.files}
    check_resources(scope.references, defined, scope)
    check_files(services, checked.services, active, checked.files, scope)
    check_dependencies(services, checked.services, active, scope)
    if problems:
        raise _error(problems, required=tuple(interpolation.required))
    return _stack(settings, name, checked, active, merged, scope)


def _check(document: Node, project: str, scope: Scope) -> _Checked:
    check_top_level(document, scope)
    checked = _Checked({}, {}, {}, {kind: {} for kind in SECTIONS}, {})
    for name, node in section(document, "services").items():
        path = f"services.{name}"
        if not _SERVICE_NAME.fullmatch(name):
            message = f'the service name "{name}" may have only a-z A-Z 0-9 . _ -'
            scope.problems.append(node.problem(message))
        spec = scope.convert(service_spec, node, path)
        checked.probes[name] = probe(node, path, scope)
        if spec is not None:
            checked.services[name] = spec
    services = document.get("services") or document.with_value({})
    if services.value == {}:
        scope.problems.append(services.problem("there are no services"))
    for key, node in section(document, "networks").items():
        checked.networks[key] = scope.convert(network_spec(project), node, key, default={})
    checked.networks.setdefault("default", {"name": f"{project}_default", "ipam": {}})
    for key, node in section(document, "volumes").items():
        checked.volumes[key] = scope.convert(volume_spec(project), node, key, default={})
    for kind in SECTIONS:
        for key, node in section(document, kind).items():
            convert = definition(kind, project)
            checked.files[kind][key] = scope.convert(convert, node, key, default={"file": ""})
    return checked


def _active(specs: Mapping[str, dict[str, Any]], profiles: tuple[str, ...]) -> frozenset[str]:
    return frozenset(
        name
        for name, spec in specs.items()
        if not spec.get("profiles") or "*" in profiles or set(spec["profiles"]) & set(profiles)
    )


def _stack(
    settings: Settings,
    name: str,
    checked: _Checked,
    active: frozenset[str],
    merged: Node,
    scope: Scope,
) -> Stack:
    specs = {key: spec for key, spec in checked.services.items() if key in active}
    networks = {k: v for k, v in checked.networks.items() if k in used(specs, "networks")}
    volumes = {k: v for k, v in checked.volumes.items() if k in used(specs, "volumes")}
    extensions = {k: plain(v) for k, v in merged.entries() if k.startswith("x-")}
    document = {"name": name, "services": specs, "networks": networks, "volumes": volumes}
    for kind, defined in checked.files.items():
        granted = {k: v for k, v in defined.items() if k in used(specs, kind)}
        document[kind] = granted
        scope.files |= {Path(v["file"]): None for v in granted.values() if v.get("file")}
    return Stack(
        project=name,
        working_dir=settings.project_dir,
        config_files=settings.compose_files,
        environment_files=settings.environment_files,
        services={
            key: resolve.service(key, spec, checked.probes[key], checked.files, scope.variables)
            for key, spec in specs.items()
        },
        networks={key: resolve.network(key, spec) for key, spec in networks.items()},
        volumes={key: resolve.volume(key, spec) for key, spec in volumes.items()},
        warnings=tuple(scope.warnings),
        named_files=tuple(scope.files),
        inactive_services=frozenset(checked.services) - active,
        spec={k: v for k, v in document.items() if v} | extensions,
    )


def _error(problems: list[Problem], required: tuple[str, ...]) -> ConfigurationError:
    unique = sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line))
    count = "one error" if len(unique) == 1 else f"{len(unique)} errors"
    hint = (
        f"owctl setup (fills in {', '.join(required)}), or set it in .env"
        if required
        else "correct the lines named above; `owctl config --validate` checks them"
    )
    return ConfigurationError(f"The compose files have {count}.", hint=hint, problems=unique)
