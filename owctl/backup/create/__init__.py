"""Making a backup: what is captured, and what is stopped or started meanwhile."""
