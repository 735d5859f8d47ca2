"""Compares owctl with docker compose and shell pipelines: `make bench`."""
