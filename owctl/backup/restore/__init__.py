"""Putting a backup back: beside what is live first, then in its place, with a way back."""
