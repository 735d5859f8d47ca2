"""Compose files → Stack: interpolation, merge, validation with line numbers, the model."""
