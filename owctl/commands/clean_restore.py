"""What is on record of a project that is cleaned: what a restore or an upgrade keeps, upgrades."""

from pathlib import Path
from typing import TYPE_CHECKING

from owctl.context import Context
from owctl.errors import OwctlError

if TYPE_CHECKING:
    from owctl.lifecycle.clean import PreparedClean


def unfinished_restore(context: Context) -> bool:
    """Return whether a restore or an upgrade was begun, and neither finished nor undone."""
    return any(path.exists() for path in _journals(context))


def forget_restore(context: Context, prepared: "PreparedClean") -> None:
    """Remove the journal of what kept data that is gone; it stays while a volume does.

    Raises OwctlError where it cannot be removed.
    """
    if not takes_restore_along(prepared):
        return
    for path in _journals(context):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OwctlError(
                f"The containers and volumes are gone, and the journal of what was not finished "
                f"is left: {path}: {error.strerror}.",
                hint=f"rm {path}",
            ) from error


def takes_restore_along(prepared: "PreparedClean") -> bool:
    """Return whether no data of the project is left after the clean."""
    stays = [kept for kept in prepared.listing.kept if kept.kind == "volume" and kept.is_ours]
    return prepared.options.volumes and not stays


def forget_upgrades(context: Context, prepared: "PreparedClean") -> None:
    """Remove the record of upgrades: with the containers and the data, what it is about is gone.

    Raises OwctlError where it cannot be removed.
    """
    from owctl.project.upgrade_record import path_of

    if not takes_restore_along(prepared):
        return
    path = path_of(context.stack.working_dir)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OwctlError(
            f"The containers and volumes are gone, and the record of upgrades is left: {path}: "
            f"{error.strerror}.",
            hint=f"rm {path}",
        ) from error


def _journals(context: Context) -> tuple[Path, ...]:
    folder = context.stack.working_dir / ".owctl"
    return folder / "restore.json", folder / "postgres-upgrade.json"
