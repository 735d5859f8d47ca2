"""Replaces ``$VARIABLE`` references in one text, exactly as compose does."""

import re
from collections.abc import Callable, Mapping

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
# With an operator a reference may reach up to the line's last brace: `_closing_brace` then says
# where it really ends. A dollar sign before anything else is just a dollar sign.
_REFERENCE = re.compile(
    rf"\$(?:(?P<escaped>\$)|(?P<named>{_NAME})|\{{(?:(?P<braced>{_NAME}(?::?[-+?].*)?)\}}|))"
)
_BODY = re.compile(rf"({_NAME})(:?[-+?])(.*)")
_BEGINNING = re.compile(r"\$\{?[A-Za-z0-9_]*[^\s\w]?")
_MAX_DEPTH = 40

OnUnset = Callable[[str], None]


class InterpolationError(ValueError):
    """A reference is malformed, or a required variable has no value.

    ``variable`` is the name of the variable that is missing, None where the syntax is wrong.
    """

    def __init__(self, message: str, variable: str | None = None) -> None:
        super().__init__(message)
        self.variable = variable


def substitute(
    template: str, variables: Mapping[str, str], *, on_unset: OnUnset | None = None
) -> str:
    """Return ``template`` with its references replaced.

    Known are ``$V``, ``${V}``, ``$$`` (a dollar sign) and, with a word that may itself hold
    references: ``${V:-word}`` (if unset or empty) and ``${V-word}`` (if unset), ``${V:+word}`` and
    ``${V+word}`` (the word if there is a value, else nothing), ``${V:?message}`` and
    ``${V?message}`` (required). A word is evaluated whether it is used or not, as compose does it:
    a required variable in it is required in any case. A variable without value and default becomes
    empty, and its name is passed to ``on_unset``. Raises InterpolationError.
    """
    return _Substitution(variables, on_unset).text(template, 0)


class _Substitution:
    def __init__(self, variables: Mapping[str, str], on_unset: OnUnset | None) -> None:
        self.variables = variables
        self.on_unset = on_unset

    def text(self, template: str, depth: int) -> str:
        if "$" not in template:
            return template
        if depth > _MAX_DEPTH:
            raise InterpolationError(f"variables are nested more than {_MAX_DEPTH} deep")
        return _REFERENCE.sub(lambda match: self._reference(match.group(), depth), template)

    def _reference(self, text: str, depth: int) -> str:
        end = _closing_brace(text)
        rest = text[end + 1 :] if end is not None else ""
        reference = text[: end + 1] if end is not None else text
        match = _REFERENCE.match(reference)
        if match is None or not any(match.groups()):
            raise _malformed(text)
        if match["escaped"]:
            return "$"
        operation = _BODY.fullmatch(match["braced"] or "")
        if operation is None:
            return self._value(match["named"] or match["braced"])
        name, operator, word = operation.groups()
        return self._operation(name, operator, word, depth + 1) + self.text(rest, depth + 1)

    def _operation(self, name: str, operator: str, template: str, depth: int) -> str:
        word = self.text(template, depth)
        value = self.variables.get(name)
        # With a colon, an empty value counts as none.
        present = bool(value) if operator.startswith(":") else value is not None
        if operator.endswith("+"):
            return word if present else ""
        if present:
            return value or ""
        if operator.endswith("?"):
            message = f"required variable {name} is missing a value"
            raise InterpolationError(f"{message}: {word}" if word else message, name)
        return word

    def _value(self, name: str) -> str:
        value = self.variables.get(name)
        if value is None:
            if self.on_unset is not None:
                self.on_unset(name)
            return ""
        return value


def _closing_brace(text: str) -> int | None:
    """Return where the first brace of ``text`` is closed, by compose's way of counting.

    It never looks at the character after an opening brace, so that ``{}`` does not close.
    """
    depth = 0
    position = 0
    while position < len(text):
        if text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        elif text[position] == "{":
            depth += 1
            position += 1
        position += 1
    return None


def _malformed(text: str) -> InterpolationError:
    return InterpolationError(
        f"{_excerpt(text)} is not a variable reference; write $$ for a dollar sign"
    )


def _excerpt(text: str) -> str:
    """Return what begins ``text``, quoted, and no more: the rest might be a secret."""
    match = _BEGINNING.match(text)
    return f'"{match.group()}"' if match else "this"
