"""The database to another major of PostgreSQL."""
