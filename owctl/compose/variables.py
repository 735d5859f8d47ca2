"""Replaces the variables in one compose file's values (never in its keys)."""

from collections.abc import Mapping

from owctl.compose.document import Node
from owctl.environment.interpolation import InterpolationError, substitute
from owctl.errors import Problem


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
