"""How a file's path is shown to the user: short where they stand, absolute elsewhere."""

from pathlib import Path


def display_path(path: Path) -> str:
    """Return ``path`` relative to the working directory if it is inside it, else as it is."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, FileNotFoundError):
        # Outside the working directory, or the working directory itself has been removed.
        return str(path)
