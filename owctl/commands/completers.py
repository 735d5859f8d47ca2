"""What a shell offers for a value: services, backups, folders, files. Silent where it cannot know."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from owctl.context import Context
from owctl.settings import Flags

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
_BACKUP_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


def given_flags(params: Mapping[str, Any]) -> Flags:
    """Return the options before the command, from what click parsed."""
    folder = params.get("project_dir")
    return Flags(
        project_dir=Path(folder) if folder else None,
        files=tuple(Path(name) for name in params.get("files") or ()),
        environment_files=tuple(Path(name) for name in params.get("env_files") or ()),
        project_name=params.get("project_name"),
        profiles=tuple(params.get("profiles") or ()),
        context=params.get("docker_context"),
    )


def _silent(complete: Completer) -> Completer:
    """Offer nothing where the project cannot be read: an error would stand in the user's prompt."""

    @wraps(complete)
    def offer(
        ctx: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from owctl.errors import OwctlError

        try:
            return complete(ctx, parameter, incomplete)
        except (OwctlError, OSError):
            return []

    return offer


@_silent
def complete_service(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete a service's name from the compose files; short names once a letter is typed."""
    from owctl.compose.services import SHORT_NAMES

    services = list(_project(ctx).stack.services)
    short = [
        name
        for name, full in SHORT_NAMES.items()
        if incomplete and full in services and name not in services
    ]
    return _fitting([*services, *short], incomplete, ctx.params.get(str(parameter.name)))


@_silent
def complete_backup(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete a backup's id, the newest first; a path where one is begun."""
    from owctl.backup.catalogue import FOLDER_NAME, LATEST

    if "/" in incomplete or incomplete.startswith((".", "~")):
        return complete_file(ctx, parameter, incomplete)
    context, output = _project(ctx), ctx.params.get("output")
    folder = (
        context.working_dir / Path(output).expanduser()
        if output
        else context.settings.project_dir / FOLDER_NAME
    )
    names = [path.name for path in folder.iterdir() if _BACKUP_ID.fullmatch(path.name)]
    offered = [*([LATEST] if names else []), *sorted(names, reverse=True)]
    return _fitting(offered, incomplete, ctx.params.get(str(parameter.name)))


@_silent
def complete_migration(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete a migration's id, the newest first."""
    from owctl.migrate.folder import FOLDER_NAME

    folder = _project(ctx).settings.project_dir / FOLDER_NAME
    names = [path.name for path in folder.iterdir() if _BACKUP_ID.fullmatch(path.name)]
    return _fitting(sorted(names, reverse=True), incomplete)


def complete_folder(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Leave it to the shell, which knows the folders."""
    return [CompletionItem(incomplete, type="dir")]


def complete_file(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Leave it to the shell, which knows the files."""
    return [CompletionItem(incomplete, type="file")]


def complete_parts(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the last of parts with commas between: ``db,files``."""
    from owctl.backup.manifest import PARTS

    before, comma, last = incomplete.rpartition(",")
    named = before.split(",")
    left = [part for part in PARTS if part not in named and part.startswith(last)]
    return [CompletionItem(f"{before}{comma}{part}") for part in left]


def _project(ctx: click.Context) -> Context:
    """Return the project that the line so far means; its files are read when it is asked."""
    root = ctx.find_root()
    context = root.obj
    if not isinstance(context, Context):
        context = Context(dict(os.environ), Path.cwd())
    flags = given_flags(root.params)
    if flags.project_dir is not None:
        # The shell expands it only when the line is run.
        flags = given_flags({**root.params, "project_dir": flags.project_dir.expanduser()})
    context.flags = flags
    return context


def _fitting(names: Iterable[str], incomplete: str, given: object = None) -> list[CompletionItem]:
    """Return the names that go on where the user stopped, but for those already on the line."""
    there = set(given) if isinstance(given, (tuple, list)) else set()
    return [
        CompletionItem(name) for name in names if name.startswith(incomplete) and name not in there
    ]
