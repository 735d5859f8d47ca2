"""Finds the project's name, by compose's rule."""

import re
from collections.abc import Sequence
from dataclasses import replace

from owctl.compose.document import Node
from owctl.compose.variables import Interpolation
from owctl.compose.yaml_reader import read_yaml
from owctl.errors import ConfigurationError, Problem
from owctl.settings import Settings

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
