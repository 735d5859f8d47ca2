"""Wires settings → stack → engine → console, each built on first use."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from owctl.errors import OwctlError
from owctl.settings import Flags, Settings
from owctl.ui.console import Console

if TYPE_CHECKING:
    from owctl.compose.model import Stack
    from owctl.engine.connection import Engine
    from owctl.environment.masking import Mask


class Context:
    """What a command works with; click hands it on as ``ctx.obj``.

    ``environ`` is the process environment, ``working_dir`` the absolute folder owctl was run in.
    ``command_prefix`` stands before a command's name in the history and in locks; it is empty for
    the project's own stack, which upgrades, backups and restores are about.
    """

    command_prefix = ""

    def __init__(self, environ: Mapping[str, str], working_dir: Path) -> None:
        self.environ = environ
        self.working_dir = working_dir
        self.flags = Flags()
        self.console = Console(color=False if environ.get("NO_COLOR") else None)

    def set_output(
        self, *, quiet: bool = False, debug: bool = False, no_color: bool = False
    ) -> None:
        """Switch output options on; one that is on stays on."""
        self.console.quiet |= quiet
        self.console.debug |= debug
        if no_color:
            self.console.color = False

    @cached_property
    def settings(self) -> Settings:
        """Return the project's settings; raises ConfigurationError."""
        return Settings.load(self.flags, self.environ, self.working_dir)

    @cached_property
    def stack(self) -> "Stack":
        """Return the resolved stack; raises ConfigurationError.

        A service that went back to an earlier image is held at it; where the record of that is
        damaged, none is, which is said, and a command that changes something ends with it. From here
        on the console masks the stack's secrets.
        """
        from owctl.compose.loader import load
        from owctl.project.upgrade_record import hold_images, read_record

        stack = load(self.settings)
        self.console.mask = self.mask_for(stack)
        if self.command_prefix:
            return stack
        try:
            return hold_images(stack, read_record(stack.working_dir))
        except OwctlError as error:
            self.console.warn(f"{error.message} Images are taken as the files name them.")
            return stack

    def warn_of_files(self) -> None:
        """Say what the compose files make one wonder about, such as variables that are not set.

        For commands that change something or show the files: at each look at a log it is noise.
        """
        for warning in self.stack.warnings:
            self.console.warn(warning)

    @cached_property
    def engine(self) -> "Engine":
        """Return the connected engine; raises EngineUnavailable."""
        from owctl.engine.connection import Engine
        from owctl.interrupts import hear_at_once

        # From here on calls may block for long.
        hear_at_once()
        return Engine.connect(self.settings.docker_context, self.environ)

    def mask_for(self, stack: "Stack") -> "Mask":
        """Return what replaces the known secrets of a stack in text."""
        from owctl.environment.masking import Mask, hideable, is_secret_key, secret_values

        values = set(secret_values(self.settings.environment))
        public = {stack.project, *stack.services, *stack.volumes, *stack.networks}
        for service in stack.services.values():
            variables = {k: v for k, v in service.environment.items() if v is not None}
            values |= secret_values(variables)
            # Under a key that says so, because a secret's own name need not.
            for file in service.files:
                values |= secret_values({"SECRET": file.content.strip()} if file.is_secret else {})
            public |= {service.image or "", service.container_name or ""}
            # A user or database name; what holds a URL may hold a password.
            public |= {
                value
                for name, value in variables.items()
                if "://" not in value and not is_secret_key(name)
            }
        return Mask(hideable(values, public))

    @cached_property
    def development(self) -> "DevelopmentContext":
        """Return the same for the project's development stack, on the same console."""
        return DevelopmentContext(self)

    def close(self) -> None:
        """Close the engine's connections, if there are any."""
        if "engine" in self.__dict__:
            self.engine.close()


class DevelopmentContext(Context):
    """What a command works with that is meant for the development stack: ``owctl dev …``.

    ``tools`` enables the profile of the development tools.
    """

    command_prefix = "dev "

    def __init__(self, project: Context) -> None:
        super().__init__(project.environ, project.working_dir)
        self.project = project
        self.flags = project.flags
        self.console = project.console
        self.tools = False

    @cached_property
    def settings(self) -> Settings:
        """Return the development stack's settings; raises ConfigurationError."""
        from owctl.project.development import development_settings

        return development_settings(self.flags, self.environ, self.working_dir, tools=self.tools)
