"""What a newer owctl would write in place of the files that setup wrote here."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, unified_diff
from pathlib import Path
from typing import Any, Literal

from owctl.environment.masking import is_secret_key
from owctl.project import setup_plan
from owctl.project.state import StateFile

# -- The variables that an example ``.env`` explains, also those that stand in a comment.


_VARIABLE = re.compile(
    r"^[ \t]*(?P<off>#[ \t]*)?(?:export[ \t]+)?(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)$"
)
_HEADING = re.compile(r"^# ---")


@dataclass(frozen=True, slots=True)
class ExampleVariable:
    """A variable of the example: its line, and the comment above it. ``value`` None: switched off."""

    name: str
    line: str
    comment: tuple[str, ...]
    value: str | None


def variables_of(text: str) -> dict[str, ExampleVariable]:
    """Return the variables of an example, by name, in their order."""
    found: dict[str, ExampleVariable] = {}
    comment: list[str] = []
    for line in text.splitlines():
        match = _VARIABLE.match(line)
        if match is not None:
            value = None if match["off"] else match["value"]
            found[match["name"]] = ExampleVariable(match["name"], line, tuple(comment), value)
            comment = []
        elif line.startswith("#") and not _HEADING.match(line):
            comment.append(line)
        else:
            comment = []
    return found


def mentioned(text: str) -> set[str]:
    """Return the names that stand in an ``.env``, set or in a comment."""
    return {match["name"] for line in text.splitlines() if (match := _VARIABLE.match(line))}


def lines_that_set(text: str) -> dict[str, tuple[int, str]]:
    """Return, by name, the number (from 1) and the value of the line that sets a variable last."""
    found: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _VARIABLE.match(line)
        if match is not None and not match["off"]:
            found[match["name"]] = (number, match["value"])
    return found


# -- What owctl had shipped when setup ran: the base that a later owctl's files are compared with.


@dataclass(frozen=True, slots=True)
class Record:
    """The texts that were shipped, by name (``.env.example`` among them), and by which version."""

    version: str
    texts: Mapping[str, str]


def _parse(document: Mapping[str, Any]) -> Record:
    texts = {str(name): str(text) for name, text in document["texts"].items()}
    return Record(str(document["owctl_version"]), texts)


SHIPPED = StateFile(
    "shipped.json",
    parse=_parse,
    render=lambda record: {"owctl_version": record.version, "texts": record.texts},
    damaged="{path}, which tells what setup wrote, is damaged: {error}.",
    remedy="remove {path}; what is yours and what is owctl's is then not told apart",
)
read_record = SHIPPED.read


def shipped_now(directory: Path) -> dict[str, str]:
    """Return the texts that this owctl ships for the stack in a folder, by name.

    The files that the demonstration's images are built from are not among them.
    """
    files = [*setup_plan.production_files()]
    if (directory / setup_plan.DEMO_COMPOSE_FILE).exists():
        files += [file for file in setup_plan.demo_files() if "/" not in file.path]
    return {file.path: file.data.decode("utf-8") for file in files}


def remember_shipped(directory: Path, version: str, *, new_environment: bool) -> None:
    """Write down what of the project's files is as this owctl ships it; raises OwctlError.

    ``new_environment`` says that ``.env`` was made just now. What differs keeps the base that it had.
    """
    before = SHIPPED.read(directory)
    texts = dict(before.texts) if before else {}
    found = {
        name: text
        for name, text in shipped_now(directory).items()
        if _recorded_text(directory / name) == text
    }
    if not found:
        return  # the stack is not one of ours
    if new_environment or (before is None and not _mentions_less(directory)):
        found[setup_plan.EXAMPLE_FILE] = setup_plan.example_text()
    if {**texts, **found} == texts:
        return
    SHIPPED.write(directory, Record(version, {**texts, **found}))


def _mentions_less(directory: Path) -> bool:

    known = mentioned(_recorded_text(directory / ".env") or "")
    return not variables_of(setup_plan.example_text()).keys() <= known


def _recorded_text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return None


# -- What this owctl ships, against what a project has: owctl's changes told from the user's.


# Who changed a file since setup wrote it; "unknown": there is no record; "missing": it is not here.
FileStatus = Literal["same", "owctl", "you", "both", "unknown", "missing"]
VariableStatus = Literal["new", "default", "dropped"]
_OURS = "x-owctl:"


@dataclass(frozen=True, slots=True)
class FileDifference:
    """A file; ``diff`` is what is to be taken over from owctl, empty if nothing is."""

    path: str
    status: FileStatus
    diff: str


@dataclass(frozen=True, slots=True)
class VariableDifference:
    """A variable that ``.env`` lacks, whose default is another now, or that nothing reads any more.

    ``default`` and ``before`` are owctl's own, never the user's; None where there is none.
    """

    name: str
    status: VariableStatus
    default: str | None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class SetupDifference:
    """All that differs. ``base_version`` is the owctl that wrote the files, None if not on record.

    ``is_ours`` is False for compose files that owctl did not ship. ``environment_diff`` holds lines
    of owctl's example only.
    """

    is_ours: bool
    base_version: str | None
    files: tuple[FileDifference, ...]
    variables: tuple[VariableDifference, ...]
    environment_diff: str

    @property
    def differs(self) -> bool:
        """Whether there is anything to take over."""
        return bool(self.patch)

    @property
    def patch(self) -> str:
        """Everything to be taken over, for ``patch -p1`` in the project's folder."""
        return "".join(file.diff for file in self.files) + self.environment_diff


def compare(directory: Path, environment_file: Path) -> SetupDifference:
    """Compare the files of a project with those that this owctl ships; changes nothing.

    Raises OwctlError where a file cannot be read.
    """
    record = read_record(directory)
    if record is None and _OURS not in _text_of(directory / setup_plan.COMPOSE_FILE):
        return SetupDifference(False, None, (), (), "")
    files = tuple(
        _compare_file(directory, name, text, record)
        for name, text in shipped_now(directory).items()
    )
    base = record.texts.get(setup_plan.EXAMPLE_FILE) if record else None
    yours = _text_of(environment_file)
    variables = tuple(_compare_variables(yours, base, setup_plan.example_text()))
    diff = _environment_diff(environment_file.name, yours, variables)
    return SetupDifference(True, record.version if record else None, files, variables, diff)


def _compare_file(
    directory: Path, name: str, shipped: str, record: Record | None
) -> FileDifference:
    base = record.texts.get(name) if record else None
    if not (directory / name).exists():
        # Who removed what has not changed since does not want it.
        diff = "" if base == shipped else _unified(name, None, shipped)
        return FileDifference(name, "missing", diff)
    yours = _text_of(directory / name)
    if yours == shipped:
        return FileDifference(name, "same", "")
    if base is None:
        return FileDifference(name, "unknown", _unified(name, yours, shipped))
    if base == shipped:
        return FileDifference(name, "you", "")
    taken = _with_what_was_taken(base, shipped, yours)
    status: FileStatus = "owctl" if yours == base else "both" if taken != shipped else "you"
    return FileDifference(name, status, _unified(name, taken, shipped))


def _with_what_was_taken(base: str, shipped: str, yours: str) -> str:
    """Return the base with those changes of owctl that the user's file has already."""
    before, after = base.splitlines(keepends=True), shipped.splitlines(keepends=True)
    found: list[str] = []
    for kind, i1, i2, j1, j2 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        # With a line around it, so that it is recognised where it belongs.
        block = "".join(after[max(0, j1 - 1) : j2 + 1])
        is_taken = kind == "equal" or f"\n{block}" in f"\n{yours}"
        found += after[j1:j2] if is_taken else before[i1:i2]
    return "".join(found)


def _compare_variables(yours: str, base: str | None, shipped: str) -> Iterator[VariableDifference]:
    now, there, values = variables_of(shipped), mentioned(yours), lines_that_set(yours)
    then = variables_of(base) if base is not None else {}
    for name, variable in now.items():
        old = then.get(name)
        if old is None and name not in there:
            yield VariableDifference(name, "new", variable.value)
        elif old is not None and _is_old_default(name, old.value, variable.value, values):
            yield VariableDifference(name, "default", variable.value, old.value)
    for name in sorted((then.keys() - now.keys()) & values.keys()):
        yield VariableDifference(name, "dropped", None)


def _is_old_default(
    name: str, before: str | None, default: str | None, values: Mapping[str, tuple[int, str]]
) -> bool:
    if is_secret_key(name) or before == default or None in (before, default) or name not in values:
        return False
    return values[name][1] == before


def _environment_diff(name: str, yours: str, variables: Sequence[VariableDifference]) -> str:
    """Return hunks without context: what stands around a line of ``.env`` is nobody's to see."""
    values, example = lines_that_set(yours), variables_of(setup_plan.example_text())
    changed = sorted((values[v.name][0], v) for v in variables if v.status == "default")
    hunks = [
        f"@@ -{number} +{number} @@\n-{v.name}={v.before}\n+{v.name}={v.default}\n"
        for number, v in changed
    ]
    added: list[str] = []
    for variable in variables:
        if variable.status == "new":
            entry = example[variable.name]
            added += (
                ["", *entry.comment, entry.line] if entry.comment or not added else [entry.line]
            )
    if added:
        count = len(yours.splitlines())
        lines = "".join(f"+{line}\n" for line in added)
        hunks.append(f"@@ -{count},0 +{count + 1},{len(added)} @@\n{lines}")
    return f"--- a/{name}\n+++ b/{name}\n{''.join(hunks)}" if hunks else ""


def _unified(name: str, before: str | None, after: str) -> str:
    old, new = ("" if before is None else before).splitlines(True), after.splitlines(True)
    label = "/dev/null" if before is None else f"a/{name}"
    lines = unified_diff(old, new, label, f"b/{name}")
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        from owctl.project.private_file import cannot

        raise cannot("read", path, error) from error
