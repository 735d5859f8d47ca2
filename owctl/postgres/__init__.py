"""Everything that speaks PostgreSQL."""
