"""Restore: verify, stage beside what is there, swap, and keep what was there until it is finished."""
