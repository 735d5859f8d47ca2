"""Names of tables and columns in SQLite statements."""


def quoted(name: str) -> str:
    """Return a name as SQLite's identifier."""
    return '"' + name.replace('"', '""') + '"'
