"""Backups: create, manifest, verify."""
