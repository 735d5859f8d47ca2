"""Puts the manual into the wheel, made from the commands themselves."""

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualHook(BuildHookInterface):
    """Makes the man pages when a wheel is built, and forgets them afterwards."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the pages, and have them installed as share/man/man1."""
        if version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory(prefix="owctl-man-")
        sys.path.insert(0, self.root)
        try:
            script = Path(self.root) / "scripts" / "man_pages.py"
            spec = importlib.util.spec_from_file_location("man_pages", script)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            pages = module.write_pages(Path(self._folder.name))
        finally:
            sys.path.remove(self.root)
        build_data["shared_data"] |= {str(page): f"share/man/man1/{page.name}" for page in pages}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the pages; the wheel has them."""
        if version != "editable":
            self._folder.cleanup()
