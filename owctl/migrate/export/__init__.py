"""Tables of either database as files."""
