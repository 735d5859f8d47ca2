"""Backups on another machine: in parts, resumed by part, each verified where it lies."""
