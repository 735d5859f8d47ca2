"""Databases of the old backend for tests: both schemas, every trap of a migration, counted."""
