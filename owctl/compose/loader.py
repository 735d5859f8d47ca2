"""From compose files to a stack: variables, the project's name, the merge of several files, and the checks in order."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from owctl.compose import resolve
from owctl.compose.document import Node, Value, kind_of, plain
from owctl.compose.fields import Reference, Scope
from owctl.compose.forms import canonical
from owctl.compose.model import Probe, Stack
from owctl.compose.references import (
    check_dependencies,
    check_files,
    check_names,
    check_resources,
    used,
)
from owctl.compose.service_rules import service_spec
from owctl.compose.top_level_rules import (
    SECTIONS,
    check_top_level,
    definition,
    network_spec,
    probe,
    section,
    volume_spec,
)
from owctl.compose.yaml_reader import read_yaml
from owctl.environment.dotenv import display_path
from owctl.environment.interpolation import InterpolationError, substitute
from owctl.errors import ConfigurationError, Problem
from owctl.settings import Settings

# -- Replaces the variables in one compose file's values (never in its keys).


class Interpolation:
    """Replaces variables in documents and remembers what went wrong and what was not set."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self.unset: dict[str, None] = {}
        # An anchor's values are read once for each alias, but reported once.
        self.problems: dict[Problem, None] = {}
        self.required: dict[str, None] = {}

    def apply(self, node: Node) -> Node:
        """Return the node with every text in it interpolated."""
        value = node.value
        if isinstance(value, str):
            return node.with_value(self._text(node, value)) if "$" in value else node
        if isinstance(value, dict):
            return node.with_value({key: self.apply(child) for key, child in value.items()})
        if isinstance(value, list):
            return node.with_value([self.apply(child) for child in value])
        return node

    def _text(self, node: Node, text: str) -> str:
        try:
            return substitute(text, self.variables, on_unset=self._note_unset)
        except InterpolationError as error:
            if error.variable:
                self.required[error.variable] = None
            self.problems[node.problem(str(error))] = None
            return text

    def _note_unset(self, name: str) -> None:
        self.unset[name] = None


# -- Finds the project's name, by compose's rule.


_VALID = re.compile(r"[a-z0-9][a-z0-9_-]*")
_RULE = "use a-z, 0-9, - and _ only, beginning with a letter or digit"


def project_name(settings: Settings, documents: Sequence[Node], problems: list[Problem]) -> str:
    """Return the name: ``-p`` or COMPOSE_PROJECT_NAME, the last ``name:``, else the folder's.

    Adds to ``problems`` a ``name:`` that cannot be; raises ConfigurationError for one that was
    asked for in another way.
    """
    if settings.project_name:
        if not _VALID.fullmatch(settings.project_name):
            raise ConfigurationError(
                f'The project name "{settings.project_name}" cannot be used.', hint=_RULE
            )
        return settings.project_name
    named = [node for document in documents if (node := document.get("name"))]
    if named:
        return _from_file(named[-1], settings, problems)
    folder = settings.project_dir.name
    name = re.sub(r"[^a-z0-9_-]", "", folder.lower()).lstrip("_-")
    if not name:
        raise ConfigurationError(
            f'No project name can be made from the folder\'s name "{folder}".',
            hint="give one with -p, or put name: … into the compose file",
        )
    return name


def declared_name(settings: Settings) -> str | None:
    """Return what the files' last ``name:`` says, None where none says anything."""
    if any(document.get("name") for document in _documents(settings)):
        return settled_name(replace(settings, project_name=None))
    return None


def settled_name(settings: Settings) -> str:
    """Return the project's name, the rest of the files unread.

    Raises ConfigurationError; what is wrong in the files is left to be said when they are loaded.
    """
    return project_name(settings, _documents(settings), [])


def _documents(settings: Settings) -> list[Node]:
    found = (read_yaml(path, []) for path in settings.compose_files)
    return [document for document in found if document is not None]


def _from_file(node: Node, settings: Settings, problems: list[Problem]) -> str:
    # What is wrong with its variables is reported when the whole file is interpolated.
    value = Interpolation(settings.environment).apply(node).value
    if isinstance(value, str) and _VALID.fullmatch(value):
        return value
    if isinstance(value, str):  # what is no text is reported with the rest of the document
        problems.append(node.problem(f'name is "{value}", which cannot be used: {_RULE}'))
    return "invalid"


# -- Merges several compose files into one document, by compose's rules.


# Below services.<name>: compose makes lists of them to merge them.
_MERGED_AS_LISTS = (
    ("environment",), ("labels",), ("annotations",), ("sysctls",), ("build", "args"),
    ("build", "labels"), ("deploy", "labels"),
)  # fmt: skip
# Below services.<name>: what a later file gives replaces what an earlier one gave.
_REPLACED = (("command",), ("entrypoint",), ("healthcheck", "test"))


def merge_documents(documents: Sequence[Node], problems: list[Problem]) -> Node:
    """Return one document; later ones win. Adds to ``problems`` what cannot be merged.

    The documents are in canonical form (``owctl.compose.forms``). Mappings are merged, lists are
    appended (doubles are removed when the lists are validated), anything else is replaced.
    """
    # What one file resets is there again where a later one gives it.
    return reduce(
        lambda base, over: _without_resets(_merge(base, over, (), problems)),
        documents[1:],
        _without_resets(documents[0]),
    )


def _merge(base: Node, over: Node, path: tuple[str, ...], problems: list[Problem]) -> Node:
    if over.merge == "override" or _is_replaced(path):
        return over
    if over.value is None and (isinstance(base.value, (dict, list)) or _keeps(path)):
        return base
    if base.value is None or over.value is None:
        return over
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        if _is_other_log_driver(base, over, path):
            return over
        return _merge_mappings(base, over, path, problems)
    if isinstance(base.value, list) and isinstance(over.value, list):
        if path[:1] == ("networks",) and path[2:] == ("ipam", "config"):
            return over.with_value(_merge_address_pools(base.value, over.value))
        return over.with_value([*base.value, *over.value])
    if isinstance(base.value, (dict, list)) or isinstance(over.value, (dict, list)):
        if path[:1] == ("services",) and path[2:3] == ("ulimits",):
            return over
        problems.append(
            over.problem(
                f"{'.'.join(path)} is {kind_of(over.value)} here, but {kind_of(base.value)} "
                f"in {base.file}:{base.line}: the two cannot be merged"
            )
        )
        return base
    return over


def _merge_mappings(base: Node, over: Node, path: tuple[str, ...], problems: list[Problem]) -> Node:
    result: dict[str, Node] = dict(base.entries())
    for key, node in over.entries():
        if node.merge == "reset":
            if base.merge != "listed":
                result.pop(key, None)
        elif key not in result or key.startswith("x-"):
            result[key] = node
        else:
            result[key] = _merge(result[key], node, (*path, key), problems)
    if over.merge == "listed" or (path[:1] == ("services",) and path[2:] in _MERGED_AS_LISTS):
        return replace(base, value=result, merge="listed")
    return base.with_value(result)


def _keeps(path: tuple[str, ...]) -> bool:
    """Whether nothing over a value of a service's leaves the value, as it does not in ``environment``."""
    return path[:1] == ("services",) and len(path) == 3


def _merge_address_pools(base: Sequence[Node], over: Sequence[Node]) -> list[Node]:
    """Merge two lists of ``ipam.config`` as compose-go does: one of another subnet replaces."""

    def subnet(entries: Mapping[str, Node]) -> Value:
        node = entries.get("subnet")
        return None if node is None else node.value

    found: list[tuple[Node, dict[str, Node]]] = []
    later = [(node, dict(node.entries())) for node in over]
    for entries in [dict(node.entries()) for node in base]:
        for node, given in later:
            if subnet(given) != subnet(entries) and all(
                subnet(other) != subnet(given) for _, other in found
            ):
                found.append((node, given))
                continue
            entries.update(given)
            same = [i for i, (_, other) in enumerate(found) if subnet(other) == subnet(entries)]
            if same:
                found[same[0]] = (node, entries)
            else:
                found.append((node, entries))
    return [node.with_value(entries) for node, entries in found]


def _is_replaced(path: tuple[str, ...]) -> bool:
    return path[:1] == ("services",) and path[2:] in _REPLACED


def _is_other_log_driver(base: Node, over: Node, path: tuple[str, ...]) -> bool:
    """Options of one log driver mean nothing to another, so they are not kept."""
    if path[:1] != ("services",) or path[2:] != ("logging",):
        return False
    before, after = base.get("driver"), over.get("driver")
    return before is not None and after is not None and before.value != after.value


def _without_resets(node: Node) -> Node:
    if isinstance(node.value, dict):
        return node.with_value(
            {k: _without_resets(v) for k, v in node.value.items() if v.merge != "reset"}
        )
    if isinstance(node.value, list):
        return node.with_value([_without_resets(v) for v in node.value if v.merge != "reset"])
    return node


# -- Loads the stack: compose files → documents → merged → checked → the model.


_SERVICE_NAME = re.compile(r"[a-zA-Z0-9._-]+")
_UNSET = "The {} variable is not set. Defaulting to a blank string."


@dataclass(slots=True)
class _Checked:
    """A document after checking: specs of what it defines, in file order."""

    services: dict[str, dict[str, Any]]
    references: dict[str, list[Reference]]
    unmet: dict[str, list[Problem]]
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
    for key in checked.services:
        if key in active:
            problems += checked.unmet[key]
            check_resources(checked.references[key], defined, scope)
    check_names(services, checked.services, active, scope)
    check_files(services, checked.services, active, checked.files, scope)
    check_dependencies(services, checked.services, active, scope)
    if problems:
        raise _error(problems, required=tuple(interpolation.required))
    return _stack(settings, name, checked, active, merged, scope)


def _check(document: Node, project: str, scope: Scope) -> _Checked:
    check_top_level(document, scope)
    checked = _Checked({}, {}, {}, {}, {}, {kind: {} for kind in SECTIONS}, {})
    for name, node in section(document, "services").items():
        path = f"services.{name}"
        if not _SERVICE_NAME.fullmatch(name):
            message = f'the service name "{name}" may have only a-z A-Z 0-9 . _ -'
            scope.problems.append(node.problem(message))
        scope.references = checked.references[name] = []
        scope.unmet = checked.unmet[name] = []
        spec = scope.convert(service_spec, node, path)
        checked.probes[name] = probe(node, path, scope)
        if spec is not None:
            checked.services[name] = spec
    scope.unmet = scope.problems
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
    resolved = {
        key: resolve.service(
            key,
            spec,
            specs if key in active else checked.services,
            checked.probes[key],
            checked.files,
            scope.variables,
        )
        for key, spec in checked.services.items()
    }
    others = used(checked.services, "volumes") - volumes.keys()
    return Stack(
        project=name,
        working_dir=settings.project_dir,
        config_files=settings.compose_files,
        environment_files=settings.environment_files,
        services={key: resolved[key] for key in specs},
        networks={key: resolve.network(key, spec) for key, spec in networks.items()},
        volumes={key: resolve.volume(key, spec) for key, spec in volumes.items()},
        warnings=tuple(scope.warnings),
        named_files=tuple(scope.files),
        inactive_services={key: each for key, each in resolved.items() if key not in active},
        inactive_volumes={
            key: resolve.volume(key, spec) for key, spec in checked.volumes.items() if key in others
        },
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
