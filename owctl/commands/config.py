"""``owctl config``: the resolved stack, secrets redacted."""

from collections.abc import Mapping
from typing import Any

import click

from owctl.commands.options import examples, format_option, pass_context
from owctl.compose.document import Plain
from owctl.compose.model import Stack
from owctl.context import Context


def printable_spec(stack: Stack) -> dict[str, Any]:
    """Return ``stack.spec`` with dollar signs doubled, as ``docker compose config`` prints it."""
    result: dict[str, Any] = _escaped(stack.spec)
    return result


def _escaped(value: Plain) -> Plain:
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key.replace("$", "$$"): _escaped(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_escaped(child) for child in value]
    return value


_EXAMPLES = examples(
    "owctl config",
    "owctl config --validate",
    "owctl config --services",
)


@click.command(epilog=_EXAMPLES)
@click.option("--show-secrets", is_flag=True, help="Print secrets in clear text.")
@click.option("--validate", is_flag=True, help="Only check; print nothing but problems.")
@click.option("--services", "only_services", is_flag=True, help="Print the services' names only.")
@format_option("yaml", "json", text="How to print it.")
@pass_context
def config(
    context: Context, show_secrets: bool, validate: bool, only_services: bool, output_format: str
) -> None:
    """Show the resolved stack, secrets redacted.

    Variables are filled in, files merged, short forms written out. No engine is needed.
    """

    from owctl.ui.console import unmasked

    stack = context.stack
    context.warn_of_files()
    if validate:
        context.console.info(f"{stack.project}: {len(stack.services)} services, no problems.")
        return
    if only_services:
        for name in stack.services:
            context.console.result(name)
        return
    document: object = printable_spec(stack)
    if show_secrets:
        context.console.mask = unmasked
    else:
        document = _redacted(document, "")
    if output_format == "json":
        context.console.document(stack.project, config=document)
        return
    import yaml

    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    context.console.result(text.rstrip())


def _redacted(value: object, key: str) -> object:
    from owctl.environment.masking import redacted

    if isinstance(value, Mapping):
        return {name: _redacted(item, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, key) for item in value]
    return redacted(key, value) if isinstance(value, str) else value
