"""Deep checks: each uses a service as the application does."""
