"""Everything that can go wrong, before it does: one file for each family of checks."""
