"""Which value a secret gets: the one in use before all others, a new one only where that is safe."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from owctl.errors import ConfigurationError
from owctl.project.in_use import InUse
from owctl.project.secret_values import is_placeholder, new_secret


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known before a secret is chosen.

    ``fresh``: the file is about to be made from a public example, so that nothing in it is secret.
    ``in_use`` is None where the engine could not be asked. ``effective`` is what the compose files
    gave each variable so far, their own defaults included.
    """

    current: Mapping[str, str] = field(repr=False)
    shell: Mapping[str, str] = field(repr=False)
    effective: Mapping[str, str] = field(repr=False)
    in_use: InUse | None
    fresh: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """``value`` None leaves the file as it is; ``note`` is a sentence for the user."""

    value: str | None = field(default=None, repr=False)
    generated: bool = False
    note: str | None = None


def choose_secret(name: str, situation: Situation) -> Choice:
    """Return what to do about one secret.

    Raises ConfigurationError where a database exists and nobody knows its password.
    """
    current = situation.current.get(name, "")
    settled = not situation.fresh and not is_placeholder(current)
    in_use = situation.in_use.values.get(name) if situation.in_use is not None else None
    if settled:
        return Choice(note=_difference(name, current, in_use))
    if in_use is not None:
        return _keep(name, current, in_use, "which the stack's containers use")
    if shell := situation.shell.get(name):
        return _keep(name, current, shell, "from this shell's environment")
    if name == "POSTGRES_PASSWORD" and situation.in_use is not None and situation.in_use.database:
        return _database_password(current, situation, situation.in_use.database)
    if situation.in_use is None and not situation.fresh:
        left = current or situation.effective.get(name, "")
        if left:
            return Choice(
                note=f"{name} has a widely known value. It was left, because without an engine it "
                "is not known whether it is in use: start the engine, then owctl setup again."
            )
    return Choice(new_secret(), generated=True)


def _keep(name: str, current: str, value: str, origin: str) -> Choice:
    weak = " It is widely known: change it." if is_placeholder(value) else ""
    if current == value:
        return Choice(note=f"{name} was left as it is: it is in use.{weak}" if weak else None)
    return Choice(value, note=f"{name} got the value {origin}.{weak}")


def _difference(name: str, current: str, in_use: str | None) -> str | None:
    if name != "POSTGRES_PASSWORD" or in_use is None or in_use == current:
        return None
    return (
        f"{name} in .env is not the one that the database's container was made with. "
        "If the database refuses it, put the old one back."
    )


def _database_password(current: str, situation: Situation, database: str) -> Choice:
    """Keep what the database was most likely made with: its container is gone."""
    known = situation.effective.get("POSTGRES_PASSWORD", "")
    if not situation.fresh and current:
        known = current
    if not known:
        raise ConfigurationError(
            f"The {database} holds this project's database, and its password is not known: "
            "no .env has it, and no container.",
            hint="--set POSTGRES_PASSWORD=… with the old one (an old .env has it); "
            "or another project name: owctl -p OTHER_NAME setup",
        )
    weak = " It is widely known: change it, in the database too." if is_placeholder(known) else ""
    return Choice(
        None if known == current else known,
        note=f"POSTGRES_PASSWORD was kept: the {database} exists, so a new one would not fit.{weak}",
    )
