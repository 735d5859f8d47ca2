"""The configuration: compose files and ``.env``, stored as they are."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from owctl.backup.encryption import Encryption
from owctl.backup.manifest import Member
from owctl.backup.member_file import write_small
from owctl.compose.model import Stack
from owctl.errors import OwctlError


def configuration_files(stack: Stack) -> Iterator[tuple[str, Path]]:
    """Yield (name of the member, file); files outside the project go to ``config/elsewhere/``."""
    taken: set[str] = set()
    for path in dict.fromkeys((*stack.config_files, *stack.environment_files)):
        if path.is_relative_to(stack.working_dir):
            name = PurePosixPath("config") / path.relative_to(stack.working_dir).as_posix()
        else:
            name = PurePosixPath("config/elsewhere") / path.name
        number = 1
        while str(name) in taken:
            number += 1
            name = name.with_name(f"{number}-{path.name}")
        taken.add(str(name))
        yield str(name), path


def store_configuration(
    stack: Stack, folder: Path, encryption: Encryption | None = None
) -> Iterator[Member]:
    """Store the files in ``folder`` and yield their members; raises OwctlError."""
    for name, path in configuration_files(stack):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise OwctlError(
                f"Cannot read {path}: {error.strerror or error}.",
                hint="owctl config --validate",
            ) from error
        stored = write_small(folder, name, content, encryption)
        yield Member(
            name=stored.name,
            kind="configuration",
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            content_size_bytes=stored.content_size_bytes,
            detail={"path": str(path)},
        )
