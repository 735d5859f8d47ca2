"""A project on disk: identity and owner, setup, lock, history, secrets."""
