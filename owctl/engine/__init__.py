"""The Docker engine: the only room that imports docker."""
