"""Which secrets setup writes: generated, kept, or the password that a database volume works with already."""

import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from owctl.errors import ConfigurationError

if TYPE_CHECKING:
    from owctl.compose.model import Service, Stack
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container


# -- The secrets that a stack needs: their names, what is no secret at all, and new ones.


SECRET_NAMES = ("WEBUI_SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD")
# Which addresses carry which password.
URL_NAMES = {
    "POSTGRES_PASSWORD": ("DATABASE_URL",),
    "REDIS_PASSWORD": ("REDIS_URL", "WEBSOCKET_REDIS_URL"),
}
LENGTH = 40

_ALPHABET = string.ascii_letters + string.digits
# Lower case, letters and digits only. Values that examples and compose files are published with.
_KNOWN = frozenset(
    """
    admin administrator changeit changeme changethis default dummy example insecure key none null
    openwebui openwebuipassword owui pass passw0rd passwd password password1 password123 postgres
    postgresql postgrespassword qwerty redis redispassword replaceme root s3cr3t secret secretkey
    supersecret supersecretkey t0ps3cr3t test testing todo topsecret webui webuisecretkey
    1234 12345 123456 12345678 123456789 1234567890
    """.split()  # noqa: SIM905
)
_KNOWN_FORM = re.compile(
    r"(?:my|your|the|a|some|insert|enter|put|add|set|please|change|replace|generate|use)"
    r"\w*?(?:secret|key|password|passwd|pass|token|value|here|me|this|it)\w*|x+|\*+"
)


def is_placeholder(value: str) -> bool:
    """Return whether a value stands for a secret that is yet to be chosen, or is widely known.

    The empty text is one. So is "<…>", whatever is in it.
    """
    text = value.strip().lower()
    if not text or (text.startswith("<") and text.endswith(">")):
        return True
    plain = re.sub(r"[^a-z0-9*]", "", text)
    if not plain:
        return text.isascii()  # "..." and the like, not another alphabet
    if plain in _KNOWN:
        return True
    # A phrase has its words apart, or is short: a long random text may begin with "my".
    is_phrase = len(plain) <= 16 or len(re.findall(r"[a-z0-9]+", text)) > 1
    return is_phrase and _KNOWN_FORM.fullmatch(plain) is not None


def new_secret() -> str:
    """Return 40 random letters and digits: some 238 bits, fit for addresses and shells."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH))


# -- What a project's containers and volumes on the engine already depend on.


# PostgreSQL takes these when its volume is new, and never again.
DATABASE_NAMES = ("POSTGRES_PASSWORD", "POSTGRES_USER", "POSTGRES_DB")
_DATA_FOLDER = "/var/lib/postgresql"


@dataclass(frozen=True, slots=True)
class InUse:
    """``values`` are variables as the containers have them; ``database`` names what holds the
    database ("volume x_postgres_data"), None where there is none yet.
    """

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    database: str | None = None


def find_in_use(engine: "Engine", stack: "Stack") -> InUse:
    """Look on the engine for the stack's containers and its database volume.

    Raises the engine's errors. Nothing is changed.
    """
    from owctl.engine.containers import list_containers

    containers = list_containers(engine, stack.project)
    databases = [item for item in containers if _is_database(item, database_services(stack))]
    values: dict[str, str] = {}
    for name in SECRET_NAMES:
        if name not in DATABASE_NAMES:
            found = [item.environment[name] for item in containers if item.environment.get(name)]
            values |= {name: found[0]} if found else {}
    for container in databases[:1]:
        values |= {
            name: container.environment[name]
            for name in DATABASE_NAMES
            if container.environment.get(name)
        }
    holder = f"container {databases[0].name}" if databases else _database_volume(engine, stack)
    return InUse(values, holder)


def database_services(stack: "Stack") -> dict[str, "Service"]:
    """Return the stack's PostgreSQL services: by what they mount, else by their settings."""
    return {
        name: service
        for name, service in stack.services.items()
        if any(mount.target.startswith(_DATA_FOLDER) for mount in service.mounts)
        or "POSTGRES_PASSWORD" in service.environment
    }


def _is_database(container: "Container", services: Mapping[str, "Service"]) -> bool:
    return container.service in services or any(
        mount.destination.startswith(_DATA_FOLDER) for mount in container.mounts
    )


def _database_volume(engine: "Engine", stack: "Stack") -> str | None:
    """Return the volume that the stack would give its PostgreSQL, if it is there already."""
    wanted = {
        stack.volumes[mount.source or ""].name
        for service in database_services(stack).values()
        for mount in service.mounts
        if mount.source in stack.volumes and mount.target.startswith(_DATA_FOLDER)
    }
    with engine.translate("list the volumes"):
        existing = {volume["Name"] for volume in engine.api.volumes().get("Volumes") or []}
    found = sorted(wanted & existing)
    return f"volume {found[0]}" if found else None


# -- Which value a secret gets: the one in use before all others, a new one only where that is safe.


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
