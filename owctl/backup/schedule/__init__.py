"""Backups by themselves, at set times: systemd timers and crontab lines."""
