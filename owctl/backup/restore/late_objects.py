"""What a dump has for the database of one name alone: made once the restored one has that name.

Some extensions (pg_cron) refuse in a database of another name than the one they were set up for, and
so the rows of their tables cannot be staged. The SQL that makes them waits beside the journal.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from owctl.backup.restore.configuration import folder_of
from owctl.errors import OwctlError
from owctl.postgres.load import Loaded, run_script
from owctl.postgres.psql import Server
from owctl.project.private_file import put_file
from owctl.project.state import FOLDER_MODE

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
