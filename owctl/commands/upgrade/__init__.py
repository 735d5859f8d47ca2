"""``owctl upgrade`` and ``owctl rollback``."""
