"""What a running stack says: logs."""
