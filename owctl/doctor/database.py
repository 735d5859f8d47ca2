"""The database: whether its volume accepts the password, and fits the image's PostgreSQL."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from owctl.compose.model import Mount, Service
from owctl.doctor.finding import Finding, Situation
from owctl.engine.volumes import inspect_volume
from owctl.figures import parse_time
from owctl.postgres.files import (
    DEFAULT_FOLDER,
    DatabaseFiles,
    data_folder,
    image_major,
    read_database_files,
)
from owctl.postgres.login import Login, matches, try_login, users_of
from owctl.postgres.place import Credentials, DatabasePlace, database_of

if TYPE_CHECKING:
    from owctl.engine.containers import Container

# Where the data may be, from the top of what is mounted.
_FOLDERS = ("", "data", "pgdata")


@dataclass(frozen=True, slots=True)
class _Store:
    """Where the database is: in words, and which folders of which container show it."""

    name: str
    container_id: str
    root: str
    folders: tuple[str, ...] = ("",)


def check_database(
    situation: Situation, starting: Collection[str] | None = None
) -> tuple[Finding, ...]:
    """Judge password and version against what the volume has. Raises the engine's errors.

    ``starting`` names the services that are about to be started, None means all: a password that
    is refused is a hard finding only where a service that signs in with it would be.
    """
    place = database_of(situation.stack)
    if place is None:
        why = "the stack has no PostgreSQL"
        return tuple(Finding(name, "skipped", why) for name in ("password", "postgres-version"))
    service = place.service
    with _store(situation, service) as store:
        if store is None:
            why = "there is no database yet"
            return tuple(Finding(name, "ok", why) for name in ("password", "postgres-version"))
        running = any(container.is_running for container in situation.of(service.name))
        files = read_database_files(
            situation.engine, store.container_id, store.root, store.folders, users=not running
        )
    return (
        _password(situation, place, store, files, starting),
        _version(situation, service, store, files),
    )


DataState = Literal["absent", "empty", "there", "unknown"]


def state_of_data(
    situation: Situation, service: Service, *, since: datetime
) -> tuple[str, DataState]:
    """Return where a service's next container will have its database, in words, and what is there.

    A volume that is older than ``since`` is not looked into: it has what it had. Raises the engine's
    errors.
    """
    mount = _data_mount(situation, service)
    if mount is None:
        return "", "unknown"
    volume = situation.stack.volumes.get(mount.source or "")
    if volume is None:
        return f"folder {mount.source}", _state_of_folder(situation, service, mount)
    name = f"volume {volume.name}"
    if volume.name not in situation.volumes:
        return name, "absent"
    found = inspect_volume(situation.engine, volume.name)
    made_at = parse_time((found.created_at if found else None) or "")
    if made_at is not None and made_at < since:
        return name, "there"
    with _store(situation, service) as store:
        if store is None:
            return name, "unknown"
        files = read_database_files(
            situation.engine, store.container_id, store.root, store.folders, users=False
        )
    return name, "empty" if files is None else "there"


def _state_of_folder(situation: Situation, service: Service, mount: Mount) -> DataState:
    folder = Path(mount.source or "")
    if not situation.is_local:
        return "unknown"
    try:
        if not folder.exists():
            return "absent"
        inside = _inside(situation, service, mount)
        is_there = any((folder / each / "PG_VERSION").exists() for each in inside)
        return "there" if is_there else "empty"
    except OSError:
        # Who may not look into it: somebody's it is.
        return "unknown"


@contextmanager
def _store(situation: Situation, service: Service) -> Iterator[_Store | None]:
    """Give access to the folder that the service's next container will use, if it exists."""
    mount = _data_mount(situation, service)
    containers = situation.of(service.name)
    if mount is None:
        # No volume of the files: at most an anonymous one, which its container carries along.
        if not containers:
            yield None
            return
        folder = containers[0].environment.get("PGDATA") or DEFAULT_FOLDER
        yield _Store(f"data of the container {containers[0].name}", containers[0].id, folder)
        return
    volume = situation.stack.volumes.get(mount.source or "")
    source = volume.name if volume else (mount.source or "")
    name = f"volume {source}" if volume else f"folder {source}"
    if volume is not None and source not in situation.volumes:
        yield None
        return
    inside = _inside(situation, service, mount)
    for container in situation.containers:
        for each in container.mounts:
            if source in (each.name, each.source):
                yield _Store(name, container.id, each.destination, inside)
                return
    image = next(iter(situation.images.values()), None)
    if image is None:
        yield None
        return
    from owctl.volumes.one_off import readable

    raw = {"Type": mount.type, "Source": source}
    with readable(situation.engine, situation.stack.project, image.id, raw) as (helper, path):
        yield _Store(name, helper, path, inside)


def _data_mount(situation: Situation, service: Service) -> Mount | None:
    data = data_folder(service, situation.image(service))
    for mount in service.mounts:
        target = PurePosixPath(mount.target)
        holds_it = data.is_relative_to(target) or target.is_relative_to("/var/lib/postgresql")
        if mount.type != "tmpfs" and mount.source and holds_it:
            return mount
    return None


def _inside(situation: Situation, service: Service, mount: Mount) -> tuple[str, ...]:
    """Return where in the mount the data may be, the likeliest first."""
    data, target = data_folder(service, situation.image(service)), PurePosixPath(mount.target)
    likely = str(data.relative_to(target)) if data.is_relative_to(target) else "."
    return tuple(dict.fromkeys(("" if likely == "." else likely, *_FOLDERS)))


def _password(
    situation: Situation,
    place: DatabasePlace,
    store: _Store,
    files: DatabaseFiles | None,
    starting: Collection[str] | None,
) -> Finding:
    credentials = place.credentials
    if not credentials.password:
        return Finding("password", "skipped", "POSTGRES_PASSWORD is not among the settings")
    running = next((c for c in situation.of(place.name) if c.is_running), None)
    if running is not None:
        login = try_login(situation.engine, running, credentials)
    elif files is None:
        return Finding("password", "ok", f"the {store.name} is empty: it takes any password")
    elif files.verifiers and credentials.user not in files.verifiers:
        return Finding(
            "password",
            "warning",
            f"the database {store.name} has no password of {credentials.user}, only of "
            f"{', '.join(files.verifiers)}",
            "put the POSTGRES_USER that it was made with back into .env",
        )
    else:
        login = _by_verifier(credentials, files)
    if login.outcome == "accepted":
        return Finding("password", "ok", f"the database accepts it for {credentials.user}")
    if login.outcome == "unknown":
        return Finding("password", "skipped", login.detail)
    return _mismatch(situation, place, store, login, running, starting)


def _by_verifier(credentials: Credentials, files: DatabaseFiles) -> Login:
    verifier = files.verifiers.get(credentials.user)
    verdict = matches(verifier, credentials.user, credentials.password) if verifier else None
    if verdict is None:
        return Login("unknown", "it cannot be told before the database runs")
    if verdict:
        return Login("accepted")
    return Login("refused", "" if files.is_clean else "it was not shut down in order")


def _mismatch(
    situation: Situation,
    place: DatabasePlace,
    store: _Store,
    login: Login,
    running: "Container | None",
    starting: Collection[str] | None,
) -> Finding:
    users = users_of(situation.stack, place.credentials.password)
    concerned = starting is None or bool(users & set(starting))
    # A server that crashed may have a newer password in its log, to be worked in at its start.
    is_certain = running is not None or not login.detail
    detail = f"the database {store.name} does not accept POSTGRES_PASSWORD of .env"
    repair = "owctl setup --sync-password"
    if running is None and (concerned or place.name not in (starting or ())):
        repair = f"owctl start {place.name}, then {repair}"
    return Finding(
        "password",
        "failed" if concerned and is_certain else "warning",
        f"{detail} ({login.detail})" if login.detail and not is_certain else detail,
        f"{repair}, which makes it accept it; or put the old password back into .env",
    )


def _version(
    situation: Situation, service: Service, store: _Store, files: DatabaseFiles | None
) -> Finding:
    reference = service.image_name(situation.stack.project)
    wanted = image_major(reference, situation.image(service))
    if files is None:
        return Finding("postgres-version", "ok", f"the {store.name} is empty")
    if wanted is None:
        return Finding(
            "postgres-version",
            "skipped",
            f"the {store.name} is of PostgreSQL {files.major}; the image {reference} does not tell",
        )
    if wanted == files.major:
        return Finding("postgres-version", "ok", f"volume and image: PostgreSQL {wanted}")
    way = f"set an image of PostgreSQL {files.major} (POSTGRES_IMAGE in .env)"
    if int(files.major.partition(".")[0]) < int(wanted):
        way = f"owctl upgrade --postgres-major, which moves it to PostgreSQL {wanted}; or {way}"
    return Finding(
        "postgres-version",
        "failed",
        f"the database {store.name} is of PostgreSQL {files.major}, and the image {reference} is "
        f"PostgreSQL {wanted}, which cannot read it",
        way,
    )
