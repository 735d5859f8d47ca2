"""Converters for the fields of a compose file: which keys there may be, and one value each."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from owctl.compose.document import (
    Invalid,
    Node,
    Plain,
    Timestamp,
    format_duration,
    kind_of,
    parse_duration,
    parse_size,
    plain_text,
    single_precision,
    split_command,
)
from owctl.errors import Problem

# -- Keys that compose knows and owctl does not, with a way out, and guesses at misspelt ones.


_RUN_WITH_COMPOSE = "run this file with docker compose"

UNSUPPORTED: dict[str, dict[str, str]] = {
    "document": {
        "include": "name the files with -f or COMPOSE_FILE",
        "models": _RUN_WITH_COMPOSE,
    },
    "service": {
        "extends": "use a YAML anchor (&name, <<: *name), or several files with -f",
        "links": "services reach each other by name; use depends_on for the order",
        "external_links": "join the other project's network (networks: … external: true)",
        "volumes_from": "use a named volume",
        "provider": _RUN_WITH_COMPOSE,
        "models": _RUN_WITH_COMPOSE,
        "post_start": "put it into the image's entry point",
        "pre_stop": "handle stop_signal in the image",
        "label_file": "put the labels under labels",
        "log_driver": "use logging.driver",
        "log_opt": "use logging.options",
        "net": "use network_mode",
        "dockerfile": "use build.dockerfile",
        "volume_driver": "use the driver of a top-level volume",
        **dict.fromkeys(
            (
                "annotations",
                "attach",
                "blkio_config",
                "cpu_count",
                "cpu_percent",
                "cpu_rt_period",
                "cpu_rt_runtime",
                "credential_spec",
                "device_cgroup_rules",
                "domainname",
                "isolation",
                "mac_address",
                "use_api_socket",
            ),
            _RUN_WITH_COMPOSE,
        ),
    },
    "build": dict.fromkeys(
        (
            "additional_contexts",
            "cache_to",
            "dockerfile_inline",
            "entitlements",
            "isolation",
            "no_cache",
            "privileged",
            "provenance",
            "pull",
            "sbom",
            "secrets",
            "shm_size",
            "ssh",
            "tags",
            "ulimits",
        ),
        "build the image with docker buildx and name it under image",
    ),
    "network attachment": dict.fromkeys(
        ("link_local_ips", "driver_opts", "gw_priority", "interface_name"), _RUN_WITH_COMPOSE
    ),
    "bind": {"recursive": _RUN_WITH_COMPOSE},
    "volume": {"subpath": "mount the whole volume", "labels": "use a top-level volume with labels"},
    "mount": {"image": _RUN_WITH_COMPOSE},
    "network": {"enable_ipv4": _RUN_WITH_COMPOSE},
    "limits": {},
    "reservations": {"generic_resources": _RUN_WITH_COMPOSE},
    "secret or config": dict.fromkeys(
        ("driver", "driver_opts", "template_driver"), "say where it comes from: file or environment"
    ),
    "env_file": {"format": "write the file so that it can be read without"},
}


def unknown_key(path: str, key: str, section: str, known: Iterable[str]) -> str:
    """Return the message for a key that cannot be used below ``path``."""
    full = f"{path}.{key}" if path else key
    unsupported = UNSUPPORTED.get(section, {})
    if key in unsupported:
        return f"{full} is not supported by owctl; {_way_out(unsupported[key])}"
    import difflib

    matches = difflib.get_close_matches(key, [*known, *unsupported], n=1)
    guess = f"; did you mean {matches[0]}?" if matches else ""
    return f"{full} is not a key of compose files{guess}"


def _way_out(advice: str) -> str:
    return advice if advice == _RUN_WITH_COMPOSE else f"{advice}, or {_RUN_WITH_COMPOSE}"


# -- Converters from a document's node to a checked, normalised value; they name what is wrong.
# A converter takes the node, its path for messages (``services.redis.ports``) and the scope. It
# returns the value as ``docker compose config`` would print it, or raises Invalid. Converters of
# mappings and lists record what is wrong inside and go on, so that everything is reported at once.


Converter: TypeAlias = Callable[[Node, str, "Scope"], Any]

_TRUE = ("true", "y", "yes", "on", "1")
_FALSE = ("false", "n", "no", "off", "0")


@dataclass(frozen=True, slots=True)
class Reference:
    """A place that names a top-level network or volume."""

    section: str
    name: str
    node: Node
    path: str


@dataclass(slots=True)
class Scope:
    """What converters need besides their node, and where they leave their findings.

    ``unmet`` is what only matters where the service is used: one of an inactive profile may lack its
    image or its files, and name what is not supported. Outside of services it is ``problems``.
    """

    project_dir: Path
    variables: Mapping[str, str] = field(repr=False)
    problems: list[Problem] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)
    references: list[Reference] = field(default_factory=list)
    files: dict[Path, None] = field(default_factory=dict)
    unmet: list[Problem] = field(init=False)

    def __post_init__(self) -> None:
        self.unmet = self.problems

    def convert(self, converter: Converter, node: Node, path: str, default: Plain = None) -> Plain:
        """Return the converted value; on failure record the problem and return ``default``."""
        try:
            return converter(node, path, self)
        except Invalid as error:
            self.problems.append(error.problem)
            return default

    def warn(self, message: str) -> None:
        """Add a warning, once."""
        self.warnings[message] = None


def mapping(
    fields: Mapping[str, Converter], *, required: tuple[str, ...] = (), section: str = ""
) -> Converter:
    """Return a converter for a mapping with these keys; the result is in the order of ``fields``.

    ``section`` names what the mapping is, for the keys that compose has and owctl does not.
    """

    def convert(node: Node, path: str, scope: Scope) -> dict[str, Any]:
        expect(node, path, dict, "a mapping")
        result: dict[str, Any] = {}
        for key, child in node.entries():
            if key in fields:
                value = scope.convert(fields[key], child, f"{path}.{key}", default=Invalid)
                if value is not Invalid:
                    result[key] = value
            elif not key.startswith("x-"):
                unsupported = key in UNSUPPORTED.get(section, {})
                found = scope.unmet if unsupported else scope.problems
                found.append(child.problem(unknown_key(path, key, section, fields)))
        for key in required:
            if node.get(key) is None:
                raise Invalid(node, f"{path} needs the key {key}")
        return {key: result[key] for key in fields if key in result}

    return convert


def each(converter: Converter) -> Converter:
    """Return a converter for a list; every item is converted."""

    def convert(node: Node, path: str, scope: Scope) -> list[Any]:
        expect(node, path, list, "a list")
        assert isinstance(node.value, list)
        results = [
            scope.convert(converter, item, f"{path}[{index}]", default=Invalid)
            for index, item in enumerate(node.value)
        ]
        return [result for result in results if result is not Invalid]

    return convert


def expect(node: Node, path: str, wanted: type, name: str) -> None:
    """Raise Invalid unless the node's value is a ``wanted``."""
    if not isinstance(node.value, wanted) or (wanted is int and isinstance(node.value, bool)):
        raise Invalid(node, f"{path} must be {name}, not {kind_of(node.value)}")


def text(node: Node, path: str, scope: Scope) -> str:
    """Text; a number must be put in quotes, as compose wants it."""
    if isinstance(node.value, (int, float)):
        raise Invalid(node, f"{path} must be text, not {kind_of(node.value)}: put it in quotes")
    expect(node, path, str, "text")
    return str(node.value)


def scalar_text(node: Node, path: str, scope: Scope) -> str:
    """Text, or a number or boolean, which becomes text."""
    if node.value is None or isinstance(node.value, (dict, list)):
        raise Invalid(node, f"{path} must be text, not {kind_of(node.value)}")
    if isinstance(node.value, Timestamp):
        scope.warn(
            f'{path} is an unquoted date, which becomes "{node.value.text}", as with docker '
            "compose; put it in quotes."
        )
        return node.value.text
    if isinstance(node.value, float) and not math.isfinite(node.value):
        raise Invalid(node, f"{path} is no finite number; if it is a word, put it in quotes")
    return plain_text(node.value)


def one_of(*choices: str) -> Converter:
    """Return a converter for one of some words."""

    def convert(node: Node, path: str, scope: Scope) -> str:
        value = text(node, path, scope)
        if value not in choices:
            raise Invalid(node, f'{path} is "{value}", but must be one of: {", ".join(choices)}')
        return value

    return convert


def boolean(node: Node, path: str, scope: Scope) -> bool:
    """True or false, also as text, since variables yield text."""
    if isinstance(node.value, bool):
        return node.value
    word = node.value.lower() if isinstance(node.value, str) else None
    if word not in (*_TRUE, *_FALSE):
        raise Invalid(node, f"{path} must be true or false")
    return word in _TRUE


def integer(node: Node, path: str, scope: Scope) -> int:
    """A whole number, also as text, since variables yield text."""
    if isinstance(node.value, str):
        try:
            return int(node.value)
        except ValueError:
            raise Invalid(node, f'{path} is "{node.value}", but must be a whole number') from None
    expect(node, path, int, "a whole number")
    assert isinstance(node.value, int)
    return node.value


def file_mode(node: Node, path: str, scope: Scope) -> int:
    """Permissions, such as 0440, as a number."""
    if isinstance(node.value, str):
        # compose would read the digits of a text as a decimal number ("0440" as 0670), or refuses it.
        raise Invalid(node, f"{path} must be a number such as 0440, without quotes")
    return integer(node, path, scope)


def processors(node: Node, path: str, scope: Scope) -> float | int:
    """A number of processors, such as 0.5 or "1.5"."""
    value = node.value
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise Invalid(node, f"{path} must be a number, not {kind_of(value)}")
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1_000_000:
        raise Invalid(node, f'{path} is "{value}", but must be a number such as 0.5')
    return single_precision(number)


def size(node: Node, path: str, scope: Scope) -> str:
    """A size such as 512m; returns the bytes as text, as compose prints them."""
    value = node.value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    try:
        return str(parse_size(text(node, path, scope)))
    except ValueError:
        raise Invalid(node, f'{path} is "{value}", but must be a size such as 512m or 2g') from None


def duration(node: Node, path: str, scope: Scope) -> str:
    """A duration such as 1m30s; returned as Go prints it."""
    if isinstance(node.value, (int, float)):
        raise Invalid(node, f"{path} is {node.value}, but needs a unit, such as {node.value}s")
    value = text(node, path, scope)
    try:
        return format_duration(parse_duration(value))
    except ValueError:
        raise Invalid(
            node, f'{path} is "{value}", but must be a duration such as 30s or 1m30s'
        ) from None


def unique_texts(node: Node, path: str, scope: Scope) -> list[str]:
    """A list of texts without doubles."""
    return list(dict.fromkeys(each(text)(node, path, scope)))


def texts(node: Node, path: str, scope: Scope) -> list[str]:
    """A list of texts."""
    result: list[str] = each(text)(node, path, scope)
    return result


def unique_scalars(node: Node, path: str, scope: Scope) -> list[str]:
    """A list of texts or numbers, as texts without doubles."""
    return list(dict.fromkeys(each(scalar_text)(node, path, scope)))


def key_values(node: Node, path: str, scope: Scope) -> dict[str, str | None]:
    """Names with values (None where there is none), sorted."""
    expect(node, path, dict, "a mapping, or a list of NAME=value")
    result: dict[str, str | None] = {}
    for key, child in sorted(node.entries()):
        if not key or "=" in key:
            scope.problems.append(child.problem(f'{path} has the name "{key}", which cannot be'))
        elif child.value is None:
            result[key] = None
        else:
            result[key] = scope.convert(scalar_text, child, f"{path}.{key}", default="")
    return result


def labels(node: Node, path: str, scope: Scope) -> dict[str, str]:
    """Labels, sorted; one without a value has an empty one."""
    return {key: value or "" for key, value in key_values(node, path, scope).items()}


def command(node: Node, path: str, scope: Scope) -> list[str] | None:
    """A command line as text or list; None keeps the image's, an empty one clears it."""
    if node.value is None:
        return None
    if isinstance(node.value, str):
        try:
            words, operator = split_command(node.value)
        except ValueError as error:
            raise Invalid(
                node, f"{path} cannot be split into words: {error}; a list needs no quotes"
            ) from None
        if operator:
            scope.warn(
                f"{path} ends before its unquoted {operator}, as with docker compose: no shell reads "
                'it. Put it in quotes, or write sh -c "…".'
            )
        return words
    if not isinstance(node.value, list):
        raise Invalid(node, f"{path} must be text or a list, not {kind_of(node.value)}")
    return texts(node, path, scope)
