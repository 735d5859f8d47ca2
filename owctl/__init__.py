"""owctl: the operations CLI of a self-hosted Open WebUI stack."""

__version__ = "0.1.0"
