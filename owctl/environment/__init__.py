"""Variables: compose's interpolation and its rules for .env files."""
