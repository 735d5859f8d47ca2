"""The steps of a migration, and the services that are stopped and started around them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owctl.compose.model import Stack
from owctl.errors import OwctlError
from owctl.lifecycle.run import check_before_start, prepare_start, run
from owctl.lifecycle.services import Services
from owctl.lifecycle.start_plan import StartOptions
from owctl.migrate import passwords
from owctl.migrate.convert.column_map import Options
from owctl.migrate.convert.references import OWNER_REJECTED
from owctl.migrate.folder import (
    Journal,
    Step,
    read_document,
    write_document,
)
from owctl.migrate.load import target
from owctl.migrate.load.files import (
    StoredFile,
    captured_sizes,
    copy_files,
    count_in_uploads,
    files_document,
    remove_uploads,
)
from owctl.migrate.load.load import LoadRequest, load
from owctl.migrate.prove import Expected, prove
from owctl.migrate.report import results
from owctl.migrate.report.model import describe, source_document
from owctl.migrate.report.rejects import FOLDER_NAME, rejected_accounts
from owctl.migrate.source import capture
from owctl.migrate.source.capture import Captured, capture_file, capture_place, read_captured
from owctl.migrate.source.database import Source, open_source
from owctl.progress import Event, Receiver, warning
from owctl.project.ownership import check_owner

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container


# -- The new stack's services around a migration: started, the backend halted, started again.


class StackServices:
    """The stack; ``timeout_seconds`` is for each service until it answers."""

    def __init__(
        self, engine: "Engine", stack: Stack, receive: Receiver, timeout_seconds: float
    ) -> None:
        self.engine = engine
        self.stack = stack
        self.receive = receive
        self.timeout_seconds = timeout_seconds

    def start(self, step: str) -> None:
        """Start every service and wait until it answers; what would go wrong is looked for first."""
        check_owner(self.engine, self.stack.project, self.stack.working_dir, adopt=False)
        names = list(self.stack.services)
        prepared = prepare_start(self.engine, self.stack, names, StartOptions())
        folder = self.stack.working_dir
        for found in check_before_start(self.engine, self.stack, prepared, folder, ()):
            self.receive(warning(f"{found.detail}. {found.hint or ''}".strip()))
        tell, seconds = partial(self._tell, step), self.timeout_seconds
        run(self.engine, self.stack, prepared, tell, timeout_seconds=seconds)

    def halt(self, name: str) -> None:
        """Stop a service and keep its containers."""
        self._services("halt").stop(keep=[other for other in self.stack.services if other != name])

    def halt_all(self) -> None:
        """Stop every service and keep the containers."""
        self._services("rollback").stop()

    def container_of(self, name: str) -> "Container | None":
        """Return a service's first container, running or not."""
        from owctl.engine.containers import list_containers

        return next(iter(list_containers(self.engine, self.stack.project, services=[name])), None)

    def any_image(self) -> str:
        """Return the id of any image of the stack that is on this machine."""
        from owctl.engine.images import image_id

        for service in self.stack.services.values():
            found = image_id(self.engine, service.image_name(self.stack.project))
            if found is not None:
                return found
        raise OwctlError("None of the stack's images is on this machine.", hint="owctl start")

    def refuse_sqlite(self, backend: str) -> None:
        """Raise OwctlError if the backend keeps its data in a SQLite file beside PostgreSQL."""
        from owctl.doctor.data import check_data
        from owctl.doctor.finding import look

        for found in check_data(look(self.engine, self.stack)):
            if found.status == "warning" and found.subject == backend:
                raise OwctlError(
                    f"The new backend does not seem to use PostgreSQL: {found.detail}.",
                    hint=f"an image of {backend} that uses PostgreSQL; or, if the file is an old "
                    "one, move it out of the volume",
                )

    def _services(self, step: str) -> Services:
        return Services(self.engine, self.stack, partial(self._tell, step), self.timeout_seconds)

    def _tell(self, step: str, event: Event) -> None:
        """Pass on what happens to a service, as what the migration's step is at."""
        if event.state != "waiting":
            detail = f"{event.subject}: {event.text or event.state}"
            self.receive(Event(step, "working", detail))


# -- The steps of a migration, one method each; ``run.py`` decides which of them are left to do.


_LOAD_NAME = "load.json"
_DEFAULT_UPLOAD_DIR = "/app/data/uploads"


class Steps:
    """What can be done, each with the journal in hand; failures are OwctlError."""

    def __init__(
        self,
        engine: "Engine",
        stack: Stack,
        journal: Journal,
        receive: Receiver,
        timeout_seconds: float,
    ) -> None:
        self.engine = engine
        self.stack = stack
        self.journal = journal
        self.receive = receive
        self._names: frozenset[str] | None = None
        self.backend = target.find_backend(stack)
        self.services = StackServices(engine, stack, receive, timeout_seconds)

    @property
    def upload_dir(self) -> str:
        """Where the new backend keeps uploads."""
        container = self.services.container_of(self.backend.name)
        found = container.environment.get("UPLOAD_DIR") if container else None
        return found or self.backend.environment.get("UPLOAD_DIR") or _DEFAULT_UPLOAD_DIR

    def stop_old(self) -> dict[str, Any]:
        """Stop the old container, so that nothing is written to it any more."""
        from owctl.engine.containers import inspect_container, stop_container

        old = inspect_container(self.engine, self.journal.origin["name"])
        if old is not None and old.is_running:
            self.tell("stop-old", f"stopping {old.name}")
            stop_container(self.engine, old.id)
        return {}

    def capture(self) -> dict[str, Any]:
        """Copy the source into the migration's folder."""
        captured = self._captured()
        return {
            "source": {
                "kind": captured.kind,
                "name": captured.name,
                "captured_at": captured.captured_at,
                "database": str(captured.database),
                "database_sha256": captured.database_sha256,
                "vector_data": captured.vector_data,
            }
        }

    def start_new(self) -> dict[str, Any]:
        """Start the new stack once, so that the backend makes its tables; check that it did."""
        self.services.start("start-new")
        container = self.services.container_of(self.backend.name)
        target.refuse_other_databases(self.backend, container)
        place = target.find_target(self.engine, self.stack)
        with target.connect(place) as connection:
            found = target.look(connection)
        target.refuse_without_tables(found, self.backend.name)
        self.services.refuse_sqlite(self.backend.name)
        if not self.loaded_before():
            target.refuse_unless_empty(found, replace=self.journal.choices.replace)
        return {
            "target": {
                "service": place.service,
                "address": str(place.address),
                "database": place.database,
                "schema": found.schema,
                "server_version": found.server_version,
                "rows_before": found.filled,
            }
        }

    def back_up(self) -> dict[str, Any]:
        """Make a verified backup of a target that is about to be replaced."""
        before = self.journal.facts["target"]["rows_before"]
        if not before or not self.journal.choices.replace or self.loaded_before():
            return {}
        from owctl.backup.create.run import create_safety_backup

        self.tell("backup", "backing up what will be replaced")
        label = f"migration {self.journal.id}"
        created = create_safety_backup(self.engine, self.stack, label)
        return {"backup": {"id": created.manifest.id, "path": str(created.path)}}

    def halt(self) -> dict[str, Any]:
        """Stop the new backend; its database stays up."""
        self.services.halt(self.backend.name)
        return {}

    def load(self) -> dict[str, Any]:
        """Load the captured database; a load that was committed before is not done again."""
        with self._connected() as connection, self._source() as source:
            if target.marked(connection) == self.journal.id:
                return self._loaded(connection, source)
            choices = self.journal.choices
            made = passwords.make_passwords(
                passwords.accounts_of(source),
                choices.passwords,
                self.journal.folder,
                lambda count: self.tell("load", f"{count} passwords made"),
            )
            options = self.options(source, target.look(connection), self._upload_names())
            if choices.passwords == "one-time":
                options = replace(options, passwords=made.hashes)
            request = LoadRequest(
                source,
                options,
                self.journal.folder,
                self.journal.id,
                choices.replace,
                self._note_result,
            )
            load(connection, request, self.receive)
            return self._loaded(connection, source)

    def files(self) -> dict[str, Any]:
        """Copy the uploads into the backend's volume."""
        captured = read_captured(self.journal.folder)
        container = self.services.container_of(self.backend.name)
        if captured is None or container is None:
            raise OwctlError(
                "The captured copy or the new backend's container is gone.",
                hint="a new migration: owctl migrate",
            )
        with self._connected() as connection, self._source() as source:
            old = passwords.paths_of(source)
            found = connection.execute("SELECT id, path FROM public.file WHERE path <> ''")
            rows = [StoredFile(key, old.pop(key, "") or path, path) for key, path in found]
        named = count_in_uploads(rows, self.upload_dir)
        if captured.uploads is None and captured.uploads_dir is None and named:
            self.receive(
                warning(
                    f"The database names {named} uploaded file{'s' if named > 1 else ''}, and there "
                    "is no folder of uploads: pass it with --uploads DIR."
                )
            )
        self._remove_earlier(container)
        result = copy_files(
            self.engine,
            container.id,
            self.upload_dir,
            captured,
            rows,
            lambda count, size: self.tell("files", f"{count} files, {size >> 20} MB"),
            rejected=old.values(),
            names=self._upload_names(),
        )
        return {"files": files_document(result) | {"hashes": dict(result.hashes)}}

    def _remove_earlier(self, container: "Container") -> None:
        """Remove the uploads that are replaced, of which there is a backup."""
        if not self.journal.choices.replace or not self.journal.facts.get("backup"):
            return
        self.tell("files", "removing the earlier uploads")
        if not remove_uploads(self.engine, self.stack.project, container, self.upload_dir):
            self.receive(
                warning(
                    f"The earlier uploads stay in {self.upload_dir} of {container.name}: it is in no "
                    "volume."
                )
            )

    def start(self) -> dict[str, Any]:
        """Start the new backend again, and what else of the stack does not run."""
        self.services.start("start")
        return {}

    def prove(self) -> dict[str, Any]:
        """Use the new stack, and write down what that shows."""
        facts = self.journal.facts
        rows = {
            table["target"]: table["inserted"]
            for table in facts["load"]["tables"]
            if table["target"]
        }
        rewritten = (target.CONFIG_TABLE,) if rows.pop(target.CONFIG_TABLE, 0) else ()
        known = passwords.read_passwords(self.journal.folder / passwords.FILE_NAME)
        files = facts.get("files", {})
        with self._connected() as connection:
            wanted = Expected(
                rows,
                known,
                files.get("hashes", {}),
                file_bytes=files.get("copied_bytes", 0),
                files_without_content=len(files.get("missing", ()))
                + len(files.get("elsewhere", ())),
                rewritten=rewritten,
            )
            proofs = prove(self.engine, self.stack, self.backend, connection, wanted)
        return {
            "proofs": [{"name": p.name, "status": p.status, "detail": p.detail} for p in proofs]
        }

    def options(
        self, source: Source, found: target.Look, upload_names: frozenset[str] | None
    ) -> Options:
        """Return how to convert, by what was chosen; ``upload_names`` is what was captured."""
        choices = self.journal.choices
        return Options(
            target_columns=found.columns,
            orphans=passwords.find_user(source, choices.orphans) if choices.orphans else None,
            on_duplicate_email=choices.on_duplicate_email,
            on_overflow=choices.on_overflow,
            keep_share_links=choices.keep_share_links,
            prompts_become_public=choices.prompts_become_public,
            allow_unknown=choices.allow_unknown,
            upload_dir=self.upload_dir,
            upload_names=upload_names,
        )

    def loaded_before(self) -> bool:
        """Whether this very migration's load was committed already."""
        with self._connected() as connection:
            return target.marked(connection) == self.journal.id

    def tell(self, step: Step, detail: str) -> None:
        """Report what a step is at."""
        self.receive(Event(step, "working", detail))

    def _captured(self) -> Captured:
        folder, place = self.journal.folder, self.journal.origin
        progress: Callable[[int], None] = lambda size: self.tell(  # noqa: E731
            "capture", f"{size >> 20} MB of uploads"
        )
        if place["kind"] == "file":
            uploads = Path(place["uploads"]) if place["uploads"] else None
            return capture_file(Path(place["name"]), uploads, folder)
        if place["kind"] == "volume":
            image = self.services.any_image()
            with capture.open_volume(
                self.engine, self.stack.project, image, place["name"]
            ) as found:
                return capture_place(self.engine, found, folder, progress)
        found = capture.find_container(self.engine, place["name"])
        return capture_place(self.engine, found, folder, progress)

    def _source(self) -> Source:
        captured = read_captured(self.journal.folder)
        if captured is None:
            raise OwctlError("The source was not captured.", hint="a new migration: owctl migrate")
        return open_source(captured.database, private=True)

    def _upload_names(self) -> frozenset[str] | None:
        """Return what the captured files are called; read once, for an archive may be large."""
        if self._names is None and (captured := read_captured(self.journal.folder)):
            sizes = captured_sizes(captured)
            self._names = frozenset(sizes) if sizes is not None else None
        return self._names

    def _connected(self) -> "Connection":
        return target.connect(target.find_target(self.engine, self.stack))

    def _note_result(self, result: results.LoadResult) -> None:
        """Keep the result on the disk before the commit: it is known afterwards, come what may."""
        write_document(self.journal.folder / _LOAD_NAME, results.to_document(result))

    def _loaded(self, connection: "Connection", source: Source) -> dict[str, Any]:
        choice, folder = self.journal.choices.passwords, self.journal.folder
        passwords.rewrite_list(folder / passwords.FILE_NAME, passwords.accounts_in(connection))
        loaded = read_document(folder / _LOAD_NAME) or {}
        strays = sum(
            table["reasons"].get(reason, 0)
            for table in loaded.get("tables", ())
            for reason in ("orphan-user", OWNER_REJECTED)
            if table["source"] == "auth"
        )
        made = passwords.read_back(connection, choice, folder, strays)
        options = self.options(source, target.look(connection), self._upload_names())
        return {
            "load": loaded,
            "source": self.journal.facts["source"] | source_document(source),
            "findings": describe(source, options)
            | {"rejected_accounts": rejected_accounts(folder / FOLDER_NAME)},
            "sign_in": passwords.document(made, choice),
        }
