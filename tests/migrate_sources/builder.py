"""Builds a database of the old backend row by row; deterministic by seed."""

import json
import random
import re
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
NOW = 1_730_000_000
ADMIN = "admin-0001"
VERSIONS = ("0.6.32", "0.6.43")

# What a row has where the caller says nothing; columns that the version lacks are left out.
DEFAULTS: dict[str, dict[str, object]] = {
    "user": {
        "name": "Ann", "role": "user", "profile_image_url": "/user.png", "last_active_at": NOW,
        "settings": '{"ui": {"theme": "dark"}}', "info": "null",
    },
    "auth": {"password": "$2b$12$" + "a" * 53, "active": 1},
    "chat": {"title": "A chat", "archived": 0, "chat": '{"messages": []}', "meta": "{}", "pinned": 0},
    "channel": {"name": "general", "data": "null", "meta": "null", "access_control": "null"},
    "channel_member": {"joined_at": NOW},
    "message": {"content": "hi", "data": "null", "meta": "null"},
    "message_reaction": {"name": "thumbsup"},
    "folder": {"name": "Folder", "is_expanded": 1, "meta": "null", "data": "null"},
    "model": {"name": "M", "meta": "{}", "params": "{}", "is_active": 1},
    "prompt": {"title": "P", "content": "say", "timestamp": NOW},
    "tool": {"name": "T", "content": "code", "specs": "[]", "meta": "{}"},
    "function": {
        "name": "F", "type": "filter", "content": "code", "meta": "{}", "is_active": 1, "is_global": 0,
    },
    "file": {"filename": "a.txt", "meta": "{}"},
    "knowledge": {"name": "K", "description": "d"},
    "memory": {"content": "likes tea"},
    "note": {"title": "N", "data": "{}"},
    "group": {"name": "G", "description": "", "permissions": "{}"},
    "tag": {"name": "t", "meta": "null"},
    "feedback": {"version": 0, "type": "rating", "data": "{}"},
    "config": {"version": 0, "data": "{}", "created_at": "2024-10-27 03:33:20"},
    "oauth_session": {"provider": "google", "token": "secret-token", "expires_at": NOW},
    "document": {"title": "D", "filename": "d", "user_id": ADMIN, "timestamp": NOW},
    "api_key": {"key": "sk-1"},
}  # fmt: skip
_NANOSECOND_TABLES = ("channel", "channel_member", "message", "message_reaction", "note")


class Builder:
    """An open database that rows are added to, and what a migration must make of them.

    ``rejects`` counts (source table, reason), ``notes`` counts (target table, column, kind).
    """

    def __init__(
        self, path: Path, version: str = "0.6.32", *, seed: int = 1, constraints: bool = True
    ) -> None:
        self.path = path
        self.version = version
        self.random = random.Random(seed)
        self.rejects: Counter[tuple[str, str]] = Counter()
        self.notes: Counter[tuple[str, str, str]] = Counter()
        self.connection = sqlite3.connect(path)
        self.connection.execute("PRAGMA synchronous = OFF")
        schema = (HERE / f"schema-{version}.sql").read_text()
        self.connection.executescript(schema if constraints else without_constraints(schema))
        self.columns = {
            name: [row[1] for row in self.connection.execute(f'PRAGMA table_info("{name}")')]
            for (name,) in self.connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            )
        }
        self.rejects["alembic_version", "bookkeeping"] = 1

    def add(self, table: str, /, **values: object) -> None:
        """Insert a row: what is given, the rest from DEFAULTS."""
        known = self.columns[table]
        now = NOW * 10**9 if table in _NANOSECOND_TABLES else NOW
        times = {name: now for name in ("created_at", "updated_at") if name in known}
        row = {**times, **DEFAULTS.get(table, {}), **values}
        row = {name: value for name, value in row.items() if name in known or name in values}
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        self.connection.execute(
            f'INSERT INTO "{table}" ({names}) VALUES ({marks})', tuple(row.values())
        )

    def rejected(self, table: str, reason: str, **values: object) -> None:
        """Insert a row that must be rejected for this reason."""
        self.add(table, **values)
        self.rejects[table, reason] += 1

    def noted(self, table: str, column: str, kind: str, count: int = 1) -> None:
        """Expect a note."""
        self.notes[table, column, kind] += count

    def user(self, user_id: str, email: str | None = None, **values: object) -> None:
        """Add an account: its row in ``user`` and in ``auth``."""
        address = email if email is not None else f"{user_id}@example.com"
        self.add("user", **{"id": user_id, "email": address, **values})
        self.add("auth", id=user_id, email=address)

    def text(self, table: str, column: str, row_id: str, raw: bytes) -> None:
        """Set a column to a text of these very bytes, which need not be UTF-8."""
        self.connection.execute(
            f'UPDATE "{table}" SET "{column}" = CAST(? AS TEXT) WHERE id = ?', (raw, row_id)
        )

    def close(self) -> "Builder":
        """Write everything and close."""
        self.connection.commit()
        self.connection.close()
        return self

    def chats(self, count: int, size_bytes: int, owners: tuple[str, ...] = (ADMIN,)) -> None:
        """Add chats of about this size, with words, code, emoji and what a model answers."""
        words = ["".join(self.random.choices("abcdefghijklmno", k=7)) for _ in range(2000)]
        for number in range(count):
            content = chat_content(self.random, words, size_bytes, emoji=number % 10 == 0)
            owner = owners[number % len(owners)]
            self.add(
                "chat", id=f"chat-{number:06d}", user_id=owner, title=f"Chat {number}", chat=content
            )


def without_constraints(schema: str) -> str:
    """Return the schema as damaged databases have it: with NULLs and duplicates everywhere."""
    loose = re.sub(r",\n    (CONSTRAINT|PRIMARY KEY|UNIQUE|FOREIGN KEY)[^\n]*?(?=,?\n)", "", schema)
    return (
        loose.replace(" NOT NULL", "").replace(" PRIMARY KEY", "").replace("UNIQUE INDEX", "INDEX")
    )


def chat_content(
    source: random.Random, words: list[str], size_bytes: int, *, emoji: bool = False
) -> str:
    """Return the JSON of a chat of about this size, as the old backend writes it."""
    messages: list[Mapping[str, object]] = []
    total = 0
    while total < size_bytes:
        text = " ".join(source.choices(words, k=120)) + (
            '\n```py\nprint("😀")\n```' if emoji else ""
        )
        messages.append(
            {"id": f"m{len(messages)}", "role": "user", "content": text, "timestamp": NOW}
        )
        total += len(text) + 80
    return json.dumps({"title": "c", "models": ["llama3"], "messages": messages})
