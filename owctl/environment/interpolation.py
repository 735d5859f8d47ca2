"""Replaces ``$VARIABLE`` references in one text, by the rules of compose files."""

import re
from collections.abc import Callable, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BEGINNING = re.compile(r"\$\{?[A-Za-z0-9_]*[^\s\w]?")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
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
    ``${V?message}`` (required). A variable without value and default becomes empty, and its name
    is passed to ``on_unset``. Raises InterpolationError.
    """
    return _substitute(template, variables, on_unset, depth=0)


def _substitute(
    template: str, variables: Mapping[str, str], on_unset: OnUnset | None, depth: int
) -> str:
    if "$" not in template:
        return template
    if depth > _MAX_DEPTH:
        raise InterpolationError(f"variables are nested more than {_MAX_DEPTH} deep")
    parts: list[str] = []
    position = 0
    while True:
        dollar = template.find("$", position)
        if dollar < 0:
            parts.append(template[position:])
            return "".join(parts)
        parts.append(template[position:dollar])
        following = template[dollar + 1 : dollar + 2]
        if following == "$":
            parts.append("$")
            position = dollar + 2
        elif following == "{":
            end = _closing_brace(template, dollar)
            body = template[dollar + 2 : end]
            parts.append(_braced(body, variables, on_unset, depth))
            position = end + 1
        elif name := _NAME.match(template, dollar + 1):
            parts.append(_value(name.group(), variables, on_unset))
            position = name.end()
        else:
            raise _malformed(template[dollar:])


def _closing_brace(template: str, start: int) -> int:
    """Return where the brace that opens at ``start`` closes; only ``${`` opens another."""
    depth = 0
    position = start
    while position < len(template):
        if template.startswith("${", position):
            depth += 1
            position += 1
        elif template[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    raise InterpolationError(f"{_excerpt(template[start:])} has no closing brace")


def _braced(body: str, variables: Mapping[str, str], on_unset: OnUnset | None, depth: int) -> str:
    match = _NAME.match(body)
    if match is None:
        raise _malformed("${" + body + "}")
    name, rest = match.group(), body[match.end() :]
    if not rest:
        return _value(name, variables, on_unset)
    operator = next((op for op in _OPERATORS if rest.startswith(op)), None)
    if operator is None:
        raise _malformed("${" + body + "}")
    value = variables.get(name)
    # With a colon, an empty value counts as none.
    present = bool(value) if operator.startswith(":") else value is not None
    if present and not operator.endswith("+"):
        return value or ""
    if not present and operator.endswith("+"):
        return ""
    word = _substitute(rest[len(operator) :], variables, on_unset, depth + 1)
    if operator.endswith("?"):
        message = f"required variable {name} is missing a value"
        raise InterpolationError(f"{message}: {word}" if word else message, name)
    return word


def _value(name: str, variables: Mapping[str, str], on_unset: OnUnset | None) -> str:
    value = variables.get(name)
    if value is None:
        if on_unset is not None:
            on_unset(name)
        return ""
    return value


def _malformed(text: str) -> InterpolationError:
    return InterpolationError(
        f"{_excerpt(text)} is not a variable reference; write $$ for a dollar sign"
    )


def _excerpt(text: str) -> str:
    """Return what begins ``text``, quoted, and no more: the rest might be a secret."""
    match = _BEGINNING.match(text)
    return f'"{match.group()}"' if match else "this"
