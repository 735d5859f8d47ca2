"""The Socket.IO bridge: keeps browsers connected and passes the backend's events on to them."""

import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import socketio
from aiohttp import ClientError, ClientSession, ClientTimeout, web
from redis import asyncio as redis

BACKEND_URL = os.environ.get("RUST_BACKEND_URL", "http://rust-backend:8080")
PORT = int(os.environ.get("SOCKETIO_PORT", "8081"))
ORIGINS = [origin.strip() for origin in os.environ.get("CORS_ORIGINS", "").split(",")]
REDIS_URL = os.environ.get("REDIS_URL", "redis://redis:6379")
USE_REDIS = os.environ.get("USE_REDIS", "true").lower() == "true"

log = logging.getLogger("bridge")
server = socketio.AsyncServer(
    async_mode="aiohttp",
    client_manager=socketio.AsyncRedisManager(REDIS_URL) if USE_REDIS else None,
    cors_allowed_origins=lambda origin: True,  # refuse_foreign_pages has checked it by then
)
users: dict[str, dict[str, Any]] = {}  # of the connections (by session id) that showed a token
connections: set[str] = set()


def room_of(user_id: str) -> str:
    """Return the room that all connections of a user are in, on every bridge."""
    return f"user:{user_id}"


async def user_of_token(token: str) -> dict[str, Any] | None:
    """Ask the backend whose token this is."""
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=5)) as session,
            session.post(f"{BACKEND_URL}/api/socketio/auth", json={"token": token}) as response,
        ):
            return await response.json() if response.status == 200 else None
    except ClientError as error:
        log.error("The backend can't be asked about a token: %s", error)
        return None


async def join(session_id: str, token: str) -> dict[str, Any] | None:
    """Put a connection into its user's room; None if the token is not valid."""
    user = await user_of_token(token)
    if user is not None:
        users[session_id] = user
        server.enter_room(session_id, room_of(user["id"]))
    return user


@server.event
async def connect(session_id: str, environ: dict[str, Any], auth: object) -> None:
    """Accept a connection without a token, or with a valid one."""
    token = auth.get("token") if isinstance(auth, dict) else None
    if token and await join(session_id, token) is None:
        raise socketio.exceptions.ConnectionRefusedError("Invalid token")
    connections.add(session_id)
    log.info("%s connected as %s", session_id, users.get(session_id, {}).get("email", "nobody"))


@server.event
async def disconnect(session_id: str) -> None:
    """Forget a connection."""
    connections.discard(session_id)
    users.pop(session_id, None)
    log.info("%s disconnected", session_id)


@server.on("user-join")
async def user_join(session_id: str, data: object) -> dict[str, Any] | None:
    """Sign a connection in after it was made."""
    auth = data.get("auth") if isinstance(data, dict) else None
    token = auth.get("token") if isinstance(auth, dict) else None
    user = await join(session_id, token) if token else None
    return None if user is None else {"id": user["id"], "name": user["name"]}


@web.middleware
async def refuse_foreign_pages(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Serve pages of the host that was asked and of CORS_ORIGINS, and clients that are no pages."""
    origin = request.headers.get("Origin")
    if origin and urlsplit(origin).netloc != request.host and not {origin, "*"} & set(ORIGINS):
        return web.json_response({"detail": f"{origin} is not in CORS_ORIGINS"}, status=400)
    return await handler(request)


async def health(request: web.Request) -> web.Response:
    """Say that the bridge serves, and whom."""
    return web.json_response(
        {
            "status": "ok",
            "connected_users": len({user["id"] for user in users.values()}),
            "active_sessions": len(connections),
        }
    )


async def emit(request: web.Request) -> web.Response:
    """Send an event to all connections of a user."""
    body = await request.json()
    sent = sum(user["id"] == body["user_id"] for user in users.values())
    if not sent:
        return web.json_response({"detail": "This user is not connected"}, status=404)
    await server.emit(body["event"], body.get("data"), room=room_of(body["user_id"]))
    return web.json_response({"status": "ok", "sent": sent})


async def check_redis(app: web.Application) -> None:
    """End the process with a message if Redis refuses the password; it may still be starting."""
    client = redis.from_url(REDIS_URL, socket_connect_timeout=5)
    try:
        await client.ping()
    except redis.AuthenticationError as error:
        raise SystemExit(f"Redis at {urlsplit(REDIS_URL).hostname} refuses: {error}") from None
    except redis.RedisError as error:
        log.warning("Redis can't be reached yet: %s", error)
    finally:
        await client.close()


def main() -> None:
    """Serve until a signal comes."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO
    )
    # Health checks come every few seconds; only what people ask for is logged.
    logging.getLogger("aiohttp.access").addFilter(lambda line: " /health " not in line.getMessage())
    app = web.Application(middlewares=[refuse_foreign_pages])
    app.add_routes([web.get("/health", health), web.post("/emit", emit)])
    server.attach(app)
    if USE_REDIS:
        app.on_startup.append(check_redis)
    web.run_app(
        app,
        port=PORT,
        shutdown_timeout=2,
        access_log_format='%a "%r" %s %b bytes %Tf s',
        print=lambda *_: log.info("Listening on port %d.", PORT),
    )


if __name__ == "__main__":
    main()
