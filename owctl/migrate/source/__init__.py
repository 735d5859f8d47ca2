"""The Python backend's database, as it is found."""
