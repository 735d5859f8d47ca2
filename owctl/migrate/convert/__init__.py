"""From source rows to target rows."""
