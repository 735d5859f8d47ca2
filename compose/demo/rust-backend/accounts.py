"""Accounts: signing up, signing in, and telling who sends a request."""

import time
import uuid
from typing import Any

import argon2
import asyncpg
import jwt
from aiohttp import web
from errors import Refused
from settings import Settings

SHORTEST_PASSWORD = 8
FIRST_ACCOUNT_LOCK = 20240611

_hasher = argon2.PasswordHasher()


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value.strip():
        raise Refused(400, f"{key} is missing")
    return value


async def sign_up(pool: asyncpg.Pool, settings: Settings, body: dict[str, Any]) -> dict[str, Any]:
    """Make an account and sign it in. The first one becomes the administrator's."""
    if not settings.signup_enabled:
        raise Refused(403, "Signing up is switched off")
    name, password = _text(body, "name").strip(), _text(body, "password")
    email = _text(body, "email").strip().lower()
    if "@" not in email:
        raise Refused(400, "This is no e-mail address")
    if len(password) < SHORTEST_PASSWORD:
        raise Refused(400, f"The password needs {SHORTEST_PASSWORD} characters or more")
    identifier, now = str(uuid.uuid4()), int(time.time())
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", FIRST_ACCOUNT_LOCK)
        if await connection.fetchval("SELECT 1 FROM auth WHERE email = $1", email):
            raise Refused(400, "This e-mail address has an account already")
        is_first = not await connection.fetchval('SELECT EXISTS (SELECT FROM "user")')
        role = "admin" if is_first else settings.default_role
        await connection.execute(
            'INSERT INTO "user" (id, name, email, role, profile_image_url, last_active_at,'
            " updated_at, created_at) VALUES ($1, $2, $3, $4, '/user.png', $5, $5, $5)",
            identifier, name, email, role, now,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO auth (id, email, password, active, created_at, updated_at)"
            " VALUES ($1, $2, $3, true, $4, $4)",
            identifier, email, _hasher.hash(password), now,
        )  # fmt: skip
        account = await connection.fetchrow('SELECT * FROM "user" WHERE id = $1', identifier)
    return _session(account, settings)


async def sign_in(pool: asyncpg.Pool, settings: Settings, body: dict[str, Any]) -> dict[str, Any]:
    """Check a password. Only argon2 hashes are known, as in the real backend."""
    email, password = _text(body, "email").strip().lower(), _text(body, "password")
    account = await pool.fetchrow(
        'SELECT "user".*, auth.password AS hash FROM auth JOIN "user" USING (id)'
        " WHERE auth.email = $1 AND auth.active",
        email,
    )
    if account is None:
        raise Refused(401, "Invalid email or password")
    if not account["hash"].startswith("$argon2"):
        raise Refused(401, "Invalid password hash")
    try:
        _hasher.verify(account["hash"], password)
    except argon2.exceptions.VerifyMismatchError:
        raise Refused(401, "Invalid email or password") from None
    except argon2.exceptions.InvalidHash:
        raise Refused(401, "Invalid password hash") from None
    return _session(account, settings)


async def of_token(pool: asyncpg.Pool, settings: Settings, token: str) -> asyncpg.Record:
    """Return the account that a token was made for."""
    try:
        claims = jwt.decode(token, settings.secret_key, algorithms=["HS256"])
    except jwt.PyJWTError:
        raise Refused(401, "Invalid token") from None
    account = await pool.fetchrow('SELECT * FROM "user" WHERE id = $1', claims.get("id"))
    if account is None:
        raise Refused(401, "Invalid token")
    return account


async def of_request(
    pool: asyncpg.Pool, settings: Settings, request: web.Request
) -> asyncpg.Record:
    """Return the account that sends a request, known by its header or cookie."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.cookies.get("token", "")
    if not token:
        raise Refused(401, "Not authenticated")
    return await of_token(pool, settings, token)


def _session(account: asyncpg.Record, settings: Settings) -> dict[str, Any]:
    now = int(time.time())
    claims: dict[str, Any] = {"id": account["id"], "iat": now}
    if settings.session_seconds is not None:
        claims["exp"] = now + settings.session_seconds
    return {
        "token": jwt.encode(claims, settings.secret_key, algorithm="HS256"),
        "token_type": "Bearer",
        "expires_at": claims.get("exp"),
        "id": account["id"],
        "email": account["email"],
        "name": account["name"],
        "role": account["role"],
        "profile_image_url": account["profile_image_url"],
        "permissions": {},
    }
