"""What a migration tells afterwards."""
