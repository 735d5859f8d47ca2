"""From the Python backend's SQLite database to this stack's PostgreSQL, every row accounted for."""
