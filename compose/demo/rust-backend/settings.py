"""The backend's settings, read from the environment."""

import os
from dataclasses import dataclass
from pathlib import Path

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _is_true(name: str, default: str) -> bool:
    return os.environ.get(name, default).strip().lower() in ("true", "1", "yes", "on")


def _lifetime_seconds(text: str) -> int | None:
    """Return the seconds that `text` (such as 30d) means; None if sessions never end."""
    if text in ("-1", "0"):
        return None
    return int(text[:-1]) * SECONDS[text[-1]]


@dataclass(frozen=True)
class Settings:
    """What the operator can choose."""

    host: str
    port: int
    database_url: str
    schema: str
    pool_size: int
    secret_key: str
    session_seconds: int | None
    signup_enabled: bool
    default_role: str
    upload_folder: Path


def from_environment() -> Settings:
    """Read the settings; a missing secret or a malformed value ends the process with a message."""
    try:
        return Settings(
            host=os.environ.get("HOST", "0.0.0.0"),
            port=int(os.environ.get("PORT", "8080")),
            database_url=os.environ["DATABASE_URL"],
            schema=os.environ.get("DEMO_SCHEMA", "001-010"),
            pool_size=int(os.environ.get("DATABASE_POOL_SIZE", "20")),
            secret_key=os.environ["WEBUI_SECRET_KEY"],
            session_seconds=_lifetime_seconds(os.environ.get("JWT_EXPIRES_IN", "30d")),
            signup_enabled=_is_true("ENABLE_SIGNUP", "true"),
            default_role=os.environ.get("DEFAULT_USER_ROLE", "user"),
            upload_folder=Path(os.environ.get("UPLOAD_DIR", "/app/data/uploads")),
        )
    except KeyError as error:
        raise SystemExit(f"The environment lacks {error.args[0]}.") from None
    except ValueError as error:
        raise SystemExit(f"A setting is malformed: {error}") from None
