"""``owctl setup --diff``: what a newer owctl would ship, as a patch; nothing is changed."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from owctl import __version__
from owctl.context import Context
from owctl.errors import ConfigurationError, UsageError
from owctl.ui.console import json_document

if TYPE_CHECKING:
    from owctl.project.setup_diff import SetupDifference

# As diff does.
DIFFERS = 1
_SENTENCES = {
    "same": "",
    "owctl": "owctl changed it; you did not.",
    "you": "you changed it; there is nothing new from owctl.",
    "both": "owctl changed it, and so did you; the diff is owctl's part alone.",
    "unknown": "it differs. What owctl had shipped is not on record, so your own changes are shown as "
    "well, as removed lines.",
    "missing": "owctl ships it; it is not here.",
}


def show_difference(context: Context, *, as_json: bool) -> int:
    """Print what is to be taken over from this owctl; returns 0 for nothing, 1 for something."""
    from owctl.environment.secrets import Mask, secret_values
    from owctl.project.setup_diff import compare
    from owctl.project.setup_plan import load_setup_settings

    settings = load_setup_settings(context.flags, context.environ, context.working_dir)
    directory, files = settings.project_dir, settings.environment_files
    environment_file = files[0] if files else directory / ".env"
    if not environment_file.exists():
        raise UsageError(f"{directory} was not set up: there is no .env.", hint="owctl setup")
    context.console.mask = Mask(secret_values(settings.environment))
    try:
        # From here on the console masks what the compose files hold, too.
        project = context.stack.project
    except ConfigurationError:
        project = None
    found = compare(directory, environment_file)
    if as_json:
        context.console.json(_document(found, project, str(directory)))
    else:
        _show(context, found)
    return DIFFERS if found.differs else 0


def _document(found: "SetupDifference", project: str | None, directory: str) -> dict[str, object]:
    return json_document(
        project,
        directory=directory,
        owctl_version=__version__,
        base_version=found.base_version,
        ours=found.is_ours,
        differs=found.differs,
        files=[asdict(file) for file in found.files],
        variables=[asdict(variable) for variable in found.variables],
        environment_diff=found.environment_diff,
    )


def _show(context: Context, found: "SetupDifference") -> None:
    console = context.console
    if not found.is_ours:
        console.info("The compose files here are not owctl's: there is nothing to compare.")
        return
    since = found.base_version or "an owctl that kept no record"
    console.info(f"Set up by {since}; this is {__version__}.")
    for file in found.files:
        if file.diff or file.status == "you":
            console.info(f"{file.path}: {_SENTENCES[file.status]}")
    for status, words in (
        ("new", "variables that .env does not have"),
        ("default", "variables with another default"),
        ("dropped", "variables that nothing reads any more"),
    ):
        names = [variable.name for variable in found.variables if variable.status == status]
        if names:
            console.info(f".env: {words}: {', '.join(names)}")
    if not found.differs:
        console.info("There is nothing to take over.")
        return
    console.result(found.patch.removesuffix("\n"))
    if any(file.status == "unknown" for file in found.files):
        console.info(
            "Nothing was changed. Take over by hand what you want: patch would undo yours."
        )
        return
    console.info(
        "Nothing was changed. To take it over: owctl setup --diff | patch -p1 in the project's folder, "
        "then owctl start --dry-run."
    )
