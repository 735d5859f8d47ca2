"""Kills, full disks and dying engines, and what must hold after each."""
