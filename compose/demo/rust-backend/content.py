"""What people put in: chats and files."""

import asyncio
import hashlib
import time
import uuid
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp import BodyPartReader, web
from errors import Refused

PIECE = 1 << 20


async def create_chat(pool: asyncpg.Pool, user_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Store a chat and return its row."""
    chat = body.get("chat")
    if not isinstance(chat, dict):
        raise Refused(400, "chat is missing")
    now = int(time.time())
    row = await pool.fetchrow(
        "INSERT INTO chat (id, user_id, title, chat, folder_id, archived, pinned, meta,"
        " created_at, updated_at)"
        " VALUES ($1, $2, $3, $4, $5, false, false, $6, $7, $7)"
        " ON CONFLICT (id) DO NOTHING RETURNING *",
        body.get("id") or str(uuid.uuid4()),
        user_id,
        body.get("title") or chat.get("title") or "New Chat",
        chat,
        body.get("folder_id"),
        body.get("meta") or {},
        now,
    )
    if row is None:
        raise Refused(400, "A chat with this id exists already")
    return dict(row)


async def read_chat(pool: asyncpg.Pool, user_id: str, identifier: str) -> dict[str, Any]:
    """Return a chat's row, if it is the user's."""
    row = await pool.fetchrow(
        "SELECT * FROM chat WHERE id = $1 AND user_id = $2", identifier, user_id
    )
    if row is None:
        raise Refused(404, "There is no such chat")
    return dict(row)


async def store_file(
    pool: asyncpg.Pool, folder: Path, user_id: str, request: web.Request
) -> dict[str, Any]:
    """Store an uploaded file under its id, and the row that describes it."""
    if not request.content_type.startswith("multipart/"):
        raise Refused(400, "This is no multipart form")
    async for part in await request.multipart():
        if isinstance(part, BodyPartReader) and part.name == "file":
            return await _store_part(pool, folder, user_id, part)
    raise Refused(400, "The form has no field named file")


async def _store_part(
    pool: asyncpg.Pool, folder: Path, user_id: str, part: BodyPartReader
) -> dict[str, Any]:
    identifier, now = str(uuid.uuid4()), int(time.time())
    path = folder / identifier
    partial = path.with_suffix(".part")
    digest, size = hashlib.md5(usedforsecurity=False), 0
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("wb") as target:
            while piece := await part.read_chunk(PIECE):
                await asyncio.to_thread(target.write, piece)
                digest.update(piece)
                size += len(piece)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    row = await pool.fetchrow(
        "INSERT INTO file (id, user_id, filename, path, meta, created_at, updated_at, hash)"
        " VALUES ($1, $2, $3, $4, $5, $6, $6, $7)"
        " RETURNING id, user_id, filename, path, meta, hash, created_at, updated_at",
        identifier,
        user_id,
        part.filename or identifier,
        str(path),
        {
            "source": "upload",
            "size": size,
            "content_type": part.headers.get("Content-Type", "application/octet-stream"),
        },
        now,
        digest.hexdigest(),
    )
    return dict(row)


async def path_of_file(pool: asyncpg.Pool, user: asyncpg.Record, identifier: str) -> Path:
    """Return where a file's bytes are, if `user` may see them."""
    row = await pool.fetchrow("SELECT user_id, path FROM file WHERE id = $1", identifier)
    if row is None or (row["user_id"] != user["id"] and user["role"] != "admin"):
        raise Refused(404, "There is no such file")
    path = Path(row["path"])
    if not path.is_file():
        raise Refused(404, "The file's content is gone")
    return path
