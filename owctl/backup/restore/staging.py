"""What a restore makes ready beside what is there: a database, volumes, files; and what has to wait for the swap."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from owctl.backup.create.run import create_safety_backup
from owctl.backup.manifest import PARTS, Part
from owctl.backup.restore.configuration import folder_of, stage_files
from owctl.backup.restore.plan import RestorePlan, VolumeTarget, with_server
from owctl.backup.restore.source import DatabaseContent
from owctl.errors import OwctlError
from owctl.figures import readable
from owctl.postgres.load import Loaded, count_rows, load_dump, run_script
from owctl.postgres.login import make_application_database
from owctl.postgres.psql import Server
from owctl.postgres.swap import DatabaseSwap, database_names
from owctl.progress import Receiver, warning
from owctl.project.private_file import put_file
from owctl.project.state import FOLDER_MODE
from owctl.volumes.losses import told
from owctl.volumes.swap import stage_volume

if TYPE_CHECKING:
    from owctl.backup.restore.run import Restore

# -- What a dump has for the database of one name alone: made once the restored one has that name.
# Some extensions (pg_cron) refuse in a database of another name than the one they were set up for, and
# so the rows of their tables cannot be staged. The SQL that makes them waits beside the journal.


# With rows in it, the restore fails if it does; else it is told what is missing.
_FILES: Final = {True: "late-rows.sql", False: "late-objects.sql"}
_AVAILABLE = "SELECT name FROM pg_available_extensions;"
# Says that the script was run, should owctl be killed before it has removed it.
_MARK = "CREATE SCHEMA {};\n"
_MARKED = "SELECT 1 FROM pg_namespace WHERE nspname = :'name';"
_UNMARK = 'DROP SCHEMA IF EXISTS :"name";'


class LateObjects:
    """The script of one restore, if there is one. Every method can be called again."""

    def __init__(self, working_dir: Path, restore_id: str) -> None:
        self._folder = folder_of(working_dir, restore_id)
        self._mark = f"owctl_late_{restore_id}"

    def write(self, server: Server, loaded: Loaded) -> bool:
        """Keep what extensions have refused; returns whether there is any of it that may yet be made.

        Raises OwctlError for rows of an extension that the server does not have at all.
        """
        wanted = [each for each in loaded.of_extensions if each.kind == "extension"]
        available = {row[0] for row in server.ask(_AVAILABLE)}
        lacking = [each for each in wanted if each.name not in available]
        if lacking and loaded.extension_tables:
            raise OwctlError(
                f"The rows of {', '.join(loaded.extension_tables)} belong to an extension that this "
                "PostgreSQL does not have.",
                hint=lacking[0].hint,
                details=[f"{each.kind} {each.name}: {each.reason}" for each in lacking],
            )
        if len(wanted) == len(lacking) and not loaded.extension_tables:
            return False
        script = bytearray(_MARK.format(self._mark).encode())
        loaded.write_script(script.extend)
        path = self._folder / _FILES[bool(loaded.extension_tables)]
        try:
            put_file(path, bytes(script), folder_mode=FOLDER_MODE)
        except OSError as error:
            raise OwctlError(
                f"Cannot write {path}: {error.strerror or error}.",
                hint="make the project's folder writable for this user",
            ) from error
        return True

    def make(self, server: Server) -> list[str] | None:
        """Make them in the database that has its name by now; returns why they could not be.

        None: there is nothing to make. Raises OwctlError if rows are among them.
        """
        for has_rows, name in _FILES.items():
            path = self._folder / name
            if path.exists():
                return self._make(server, path, has_rows=has_rows)
        return None

    def _make(self, server: Server, path: Path, *, has_rows: bool) -> list[str]:
        problems: Sequence[str] = ()
        if not server.ask(_MARKED, name=self._mark):
            try:
                run_script(server, path.read_bytes())
            except OwctlError as error:
                if has_rows:
                    raise
                problems = error.details
        path.unlink()
        server.ask(_UNMARK, name=self._mark)
        return list(problems)


# -- Everything that a plan names, made ready.


class Staging:
    """Everything that a plan names, made ready beside what is there."""

    def __init__(self, restore: "Restore", plan: RestorePlan, receive: Receiver) -> None:
        self.restore = restore
        self.plan = plan
        self.receive = receive
        self.engine = restore.engine
        self.stack = restore.stack
        self.warnings: list[str] = []

    def stage(self) -> dict[str, int]:
        """Make everything ready; returns the rows by table."""
        restore, server = self.restore, None
        if self.plan.database is not None:
            server = restore.services.start_database()
            with_server(self.plan, server)
            make_application_database(server, restore.services.require_place().login)
            restore.advance("staging", database=database_names(server, restore.journal.id))
        self._safety_backup()
        rows: dict[str, int] = {}
        if server is not None and self.plan.database is not None:
            rows = self._database(server, self.plan.database)
        for target in self.plan.volumes:
            self._volume(target)
        files = stage_files(self.stack.working_dir, restore.journal.id, self.plan.config)
        restore.advance("staged", config=files)
        return rows

    def _safety_backup(self) -> None:
        journal = self.restore.journal
        if not journal.wants_safety_backup or journal.safety_backup is not None:
            return
        wanted = set(self.plan.parts) | {"config"}
        parts: frozenset[Part] = frozenset(part for part in PARTS if part in wanted)
        label = f"restore of {self.plan.source.id}"
        try:
            created = create_safety_backup(
                self.engine, self.stack, label, self.receive, parts=parts
            )
        except OwctlError as error:
            raise type(error)(
                f"The safety backup failed, so nothing was restored: {error.message}",
                hint=error.hint or "owctl backup, which shows what is wrong",
                details=error.details,
            ) from error
        self.restore.advance(journal.phase, safety_backup=str(created.path))

    def _database(self, server: Server, content: DatabaseContent) -> dict[str, int]:
        restore, names = self.restore, self.restore.journal.database
        assert names is not None
        swap, properties = DatabaseSwap(server, names), content.properties()
        for text in swap.create(content.encoding, content.collation, properties):
            self.receive(warning(text))
        whole = readable(content.content_bytes)

        def tell(done_bytes: int) -> None:
            restore.tell("database", "working", f"loading: {readable(done_bytes)} of {whole}")

        tell(0)
        container, environment = server.container, server.environment
        loaded = load_dump(
            self.engine,
            container,
            environment,
            names.staged,
            content.pieces,
            form=content.form,
            search_path=content.search_path,
            user=content.user,
            on_bytes=tell,
        )
        self._report(server, loaded)
        for text in swap.give(properties, with_owner=loaded.with_owners) if properties else ():
            self.receive(warning(text))
        restore.tell("database", "working", "counting rows")
        rows = count_rows(self.engine, container, environment, names.staged)
        content.check_rows(rows)
        total = f"{sum(rows.values())} rows in {len(rows)} tables"
        restore.tell("database", "done", f"loaded beside, {total}")
        return rows

    def _report(self, server: Server, loaded: Loaded) -> None:
        restore = self.restore
        restore.late, restore.not_made = loaded.of_extensions, loaded.not_made
        late = LateObjects(self.stack.working_dir, restore.journal.id).write(server, loaded)
        for each in (*(() if late else loaded.of_extensions), *loaded.not_made):
            self.receive(warning(each.in_words()))
        for name in loaded.roles:
            self.receive(
                warning(
                    f"The role {name}, which the backup names, was not there: it was made, and "
                    "nobody can sign in as it. Try: owctl shell db, ALTER ROLE … LOGIN PASSWORD …"
                )
            )

    def _volume(self, target: VolumeTarget) -> None:
        restore, key = self.restore, target.content.key
        whole = readable(target.content.files_bytes)

        def tell(done_bytes: int) -> None:
            restore.tell(key, "working", f"unpacking beside: {readable(done_bytes)} of {whole}")

        with ExitStack() as opened:
            losses = stage_volume(
                self.engine,
                self.stack.project,
                restore.image_id,
                target.volume.name,
                restore.journal.id,
                opened.enter_context(target.content.open()),
                [opened.enter_context(copy()) for copy in target.content.sqlite],
                tell,
                target.hidden,
                opened.enter_context(target.content.open()) if target.content.hole_bytes else None,
            )
        if losses:
            self.warnings.append(told(key, losses))
            self.receive(warning(self.warnings[-1]))
        restore.tell(key, "done", f"unpacked beside, {whole}")
