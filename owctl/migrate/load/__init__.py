"""Into this stack's PostgreSQL, and whether all of it arrived."""
