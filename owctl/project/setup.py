"""Plans and writes what a project needs before its first start: ``.env`` and compose files."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from owctl.errors import ConfigurationError, UsageError
from owctl.project import private_file, setup_plan
from owctl.project.environment_template import EnvironmentTemplate, read_template
from owctl.project.ownership import check_owner
from owctl.project.secret_choice import (
    DATABASE_NAMES,
    SECRET_NAMES,
    URL_NAMES,
    InUse,
    Situation,
    choose_secret,
    database_services,
    find_in_use,
    is_placeholder,
)
from owctl.project.setup_plan import (
    ComposeChoice,
    PlannedFile,
    SetupPlan,
    SetupRequest,
    choose_compose_files,
    load_stack,
    split_list,
)

if TYPE_CHECKING:
    from owctl.compose.model import Stack
    from owctl.engine.connection import Engine

EXAMPLE_NAMES = ("env.example", ".env.example")
_READABLE_BY_OTHERS = 0o077


def plan_setup(request: SetupRequest, engine: "Engine | None", why_not: str = "") -> SetupPlan:
    """Decide on every file; nothing is changed.

    ``engine`` None means that it could not be reached; ``why_not`` then says why, as a sentence.

    Raises ConfigurationError (what is there cannot be read or completed), UsageError
    (contradicting wishes), ForeignProject, or the engine's errors.
    """
    return _Planner(request, engine, why_not).plan()


class _Planner:
    """One run of planning: what was learned on the way, and what the user should be told."""

    def __init__(self, request: SetupRequest, engine: "Engine | None", why_not: str) -> None:
        self.request = request
        self.why_not = why_not
        self.engine = engine
        self.directory = request.settings.project_dir
        self.notes: list[str] = []
        self.generated: list[str] = []
        self.kept: list[str] = []

    def plan(self) -> SetupPlan:
        files = self.request.settings.environment_files
        self.env_path = files[0] if files else self.directory / ".env"
        self.fresh = not self.env_path.exists()
        existing = self._existing()
        before, template = existing if existing else (b"", None)
        listed = self._listed_files(template)
        choice = choose_compose_files(
            self.directory, self.request.settings.compose_files, listed, demo=self.request.demo
        )
        self.template = template or self._example(choice)
        assignments = self._assignments(choice, listed)
        stack = self._stack(choice, assignments)
        in_use = self._look_at_engine(stack)
        effective = self._effective(choice)
        self._check_assignments(assignments, in_use)
        self._choose_secrets(choice, assignments, in_use, effective)
        self._keep_database_names(assignments, in_use, effective)
        for name, value in assignments.items():
            if self.template.values.get(name) != value:
                self.template.assign(name, value)
        return SetupPlan(
            project=stack.project if stack else self.request.project_name,
            directory=self.directory,
            files=(*self._compose_files(choice), self._env_file(before)),
            generated=tuple(self.generated),
            kept=tuple(self.kept),
            notes=tuple(self.notes),
        )

    def _existing(self) -> tuple[bytes, EnvironmentTemplate] | None:
        if self.fresh:
            if self.env_path.is_symlink():
                raise ConfigurationError(
                    f"{self.env_path} is a link to {self.env_path.readlink()}, which does not "
                    "exist.",
                    hint=f"remove the link (rm {self.env_path}), or put the file there",
                )
            return None
        data, text = read_template(self.env_path, self.env_path.name)
        return data, EnvironmentTemplate(text, self.env_path.name, self.request.shell)

    def _example(self, choice: ComposeChoice) -> EnvironmentTemplate:
        """Return what a new ``.env`` starts from: the folder's own example, or ours."""
        if self.request.settings.compose_files and not choice.ours:
            for name in EXAMPLE_NAMES:
                path = self.directory / name
                if path.exists():
                    _, text = read_template(path, name)
                    self.notes.append(f".env was made from {name}.")
                    return EnvironmentTemplate(text, name, self.request.shell)
            return EnvironmentTemplate("", ".env", self.request.shell)
        text = setup_plan.example_text()
        return EnvironmentTemplate(text, setup_plan.EXAMPLE_FILE, self.request.shell)

    def _listed_files(self, template: EnvironmentTemplate | None) -> tuple[str, ...]:
        """Return the compose files that ``.env`` names; the shell's own list is in settings."""
        shell, written = self.request.shell, template.values if template else {}
        if shell.get("COMPOSE_FILE"):
            return ()
        values = {**written, **self.request.assignments}
        separator = shell.get("COMPOSE_PATH_SEPARATOR") or values.get("COMPOSE_PATH_SEPARATOR")
        return split_list(values.get("COMPOSE_FILE", ""), separator)

    def _assignments(self, choice: ComposeChoice, listed: tuple[str, ...]) -> dict[str, str]:
        """Return ``--set``, with what ``-p`` and ``--demo`` have to leave in ``.env``."""
        wanted = dict(self.request.assignments)
        name = self.request.project_name
        if name is not None:
            stored = wanted.get("COMPOSE_PROJECT_NAME") or self.template.values.get(
                "COMPOSE_PROJECT_NAME", ""
            )
            if stored and stored != name:
                raise UsageError(
                    f"The project has two names: -p says {name}, COMPOSE_PROJECT_NAME {stored}.",
                    hint="one of them alone; a name in .env is changed there",
                )
            # Without it the next command, given no -p, would mean another project.
            wanted["COMPOSE_PROJECT_NAME"] = name
        if choice.demo and not listed and "COMPOSE_FILE" not in wanted:
            wanted["COMPOSE_FILE"] = f"{setup_plan.COMPOSE_FILE}:{setup_plan.DEMO_COMPOSE_FILE}"
        elif self.request.demo and listed and setup_plan.DEMO_COMPOSE_FILE not in listed:
            self.notes.append(
                f"COMPOSE_FILE does not list {setup_plan.DEMO_COMPOSE_FILE}: this is not the "
                "demonstration until it does."
            )
        project = wanted.get("COMPOSE_PROJECT_NAME")
        if project is not None and not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", project):
            raise UsageError(
                f"A project cannot be called {project!r}.",
                hint="lower-case letters, digits, - and _, a letter or digit first",
            )
        return wanted

    def _stack(self, choice: ComposeChoice, assignments: Mapping[str, str]) -> "Stack | None":
        """Load the stack as it will be; what the secrets will be does not matter to it."""
        environment = {**self.template.values, **assignments, **self.request.shell}
        for name in SECRET_NAMES:
            environment[name] = environment.get(name) or "chosen-later"
        try:
            return load_stack(self.request, choice.sources, environment)
        except ConfigurationError as error:
            reason = error.details[0] if error.details else error.message
            self.notes.append(
                f"The compose files cannot be used yet ({reason}), so the project's containers and "
                "volumes were not looked for: `owctl config --validate` says more."
            )
            return None

    def _look_at_engine(self, stack: "Stack | None") -> InUse | None:
        if stack is None:
            return None
        if self.engine is None:
            self.notes.append(
                f"Whether the project's name is taken, and whether it has a database already, was "
                f"not checked. {self.why_not}".strip()
            )
            return None
        check_owner(self.engine, stack.project, self.directory, adopt=self.request.adopt)
        return find_in_use(self.engine, stack)

    def _effective(self, choice: ComposeChoice) -> dict[str, str]:
        """Return what the compose files gave each variable until now, their defaults included."""
        try:
            before = self.request.settings.environment
            stack = load_stack(self.request, choice.sources, before)
        except ConfigurationError:
            # Something required is missing: this stack has not been started like that.
            return {}
        services = [*database_services(stack).values(), *stack.services.values()]
        return {
            name: value
            for name in {*SECRET_NAMES, *DATABASE_NAMES}
            for service in services[::-1]
            if (value := service.environment.get(name))
        }

    def _check_assignments(self, assignments: Mapping[str, str], in_use: InUse | None) -> None:
        """Refuse a wish that would lock the stack out of its own database."""
        if in_use is None or in_use.database is None:
            return
        for name in DATABASE_NAMES:
            written = "" if self.fresh else self.template.values.get(name, "")
            value = in_use.values.get(name) or written
            if value and assignments.get(name, value) != value:
                raise ConfigurationError(
                    f"{name} cannot be set: the {in_use.database} holds this project's database, "
                    "which uses another value.",
                    hint="leave it out; to change the password, change it in the database first",
                )

    def _choose_secrets(
        self,
        choice: ComposeChoice,
        assignments: Mapping[str, str],
        in_use: InUse | None,
        effective: Mapping[str, str],
    ) -> None:
        current = dict(self.template.values)
        situation = Situation(current, self.request.shell, effective, in_use, self.fresh)
        for name in SECRET_NAMES:
            referenced = re.search(rf"\$\{{?{name}\b", choice.texts) is not None
            if not referenced and name not in current:
                continue
            if name in assignments:
                self._follow_in_addresses(name, assignments[name], current.get(name, ""))
            elif self.template.is_reference(name):
                self.kept.append(name)
            else:
                self._choose_secret(name, situation)

    def _choose_secret(self, name: str, situation: Situation) -> None:
        choice = choose_secret(name, situation)
        if choice.note:
            self.notes.append(choice.note)
        (self.generated if choice.generated else self.kept).append(name)
        if choice.value is not None:
            self.template.assign(name, choice.value)
            self._follow_in_addresses(name, choice.value, situation.current.get(name, ""))

    def _follow_in_addresses(self, name: str, value: str, old: str) -> None:
        for address in URL_NAMES.get(name, ()):
            self.template.assign_url_password(
                address, lambda password: password == old or is_placeholder(password), value
            )

    def _keep_database_names(
        self, assignments: Mapping[str, str], in_use: InUse | None, effective: Mapping[str, str]
    ) -> None:
        """Keep an example from renaming the user and the database of a volume that is in use."""
        if not self.fresh or in_use is None or in_use.database is None:
            return
        for name in ("POSTGRES_USER", "POSTGRES_DB"):
            value = in_use.values.get(name) or effective.get(name)
            differs = value and self.template.values.get(name, value) != value
            if value and differs and name not in assignments:
                self.template.assign(name, value)
                self.kept.append(name)

    def _compose_files(self, choice: ComposeChoice) -> list[PlannedFile]:
        new = [
            PlannedFile(
                self.directory / file.path,
                "created",
                0o777 if file.executable else 0o666,
                file.data,
            )
            for file in choice.missing
        ]
        shown = choice.present or tuple(
            str(path) for path in self.request.settings.compose_files if path.is_file()
        )
        return [*new, *(PlannedFile(self.directory / name, "kept", 0) for name in shown)]

    def _env_file(self, before: bytes) -> PlannedFile:
        data = self.template.text.encode("utf-8")
        mode = private_file.PRIVATE_MODE
        if self.fresh:
            return PlannedFile(self.env_path, "created", mode, data)
        exposed = self.env_path.stat().st_mode & _READABLE_BY_OTHERS
        if exposed:
            self.notes.append(
                f"{self.env_path.name} is open to other users: its mode becomes 0600."
            )
        if data != before:
            return PlannedFile(self.env_path, "updated", mode, data, expected=before)
        return PlannedFile(self.env_path, "restricted" if exposed else "kept", mode)
