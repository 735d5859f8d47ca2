"""A stand-in for the Rust backend: its addresses and answers, without any language model."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import accounts
import asyncpg
import content
import database
import settings as configuration
from aiohttp import web
from errors import Refused

VERSION = "0.0.0-demo"

log = logging.getLogger("backend")
routes = web.RouteTableDef()


@web.middleware
async def answer_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer every failure as JSON: {"detail": …}."""
    try:
        return await handler(request)
    except Refused as refused:
        return web.json_response({"detail": refused.detail}, status=refused.status)
    except web.HTTPException as error:
        return web.json_response({"detail": error.reason}, status=error.status)
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        log.error("%s %s failed: %s", request.method, request.path, error)
        status = 507 if getattr(error, "errno", None) == 28 else 503
        return web.json_response({"detail": f"Storage failed: {error}"}, status=status)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        raise Refused(400, "The body is not JSON") from None
    if not isinstance(body, dict):
        raise Refused(400, "The body is not a JSON object")
    return body


@routes.get("/health")
async def health(request: web.Request) -> web.Response:
    """Say that the process answers."""
    return web.json_response({"status": True})


@routes.get("/health/db")
async def health_of_database(request: web.Request) -> web.Response:
    """Say that the database answers, too."""
    await request.app["pool"].fetchval("SELECT 1", timeout=5)
    return web.json_response({"status": True})


@routes.get("/api/version")
async def version(request: web.Request) -> web.Response:
    """Say which backend this is."""
    return web.json_response({"version": VERSION})


@routes.get("/api/config")
async def config(request: web.Request) -> web.Response:
    """Say what a sign-in page has to know."""
    features = {"auth": True, "enable_signup": request.app["settings"].signup_enabled}
    return web.json_response(
        {"status": True, "name": "owctl demonstration", "version": VERSION, "features": features}
    )


@routes.get("/api/docs")
async def docs(request: web.Request) -> web.Response:
    """List the addresses."""
    lines = sorted({f"{route.method} {route.path}: {route.handler.__doc__}" for route in routes})
    return web.Response(text="\n".join(lines) + "\n")


@routes.post("/api/v1/auths/signup")
async def sign_up(request: web.Request) -> web.Response:
    """Make an account."""
    app = request.app
    return _signed_in(await accounts.sign_up(app["pool"], app["settings"], await _body(request)))


@routes.post("/api/v1/auths/signin")
async def sign_in(request: web.Request) -> web.Response:
    """Sign in."""
    app = request.app
    return _signed_in(await accounts.sign_in(app["pool"], app["settings"], await _body(request)))


def _signed_in(session: dict[str, Any]) -> web.Response:
    response = web.json_response(session)
    response.set_cookie("token", session["token"], httponly=True, samesite="Lax")
    return response


@routes.post("/api/v1/chats/new")
async def create_chat(request: web.Request) -> web.Response:
    """Store a chat."""
    app = request.app
    user = await accounts.of_request(app["pool"], app["settings"], request)
    return web.json_response(
        await content.create_chat(app["pool"], user["id"], await _body(request))
    )


@routes.get("/api/v1/chats/{id}")
async def read_chat(request: web.Request) -> web.Response:
    """Send a chat back."""
    app = request.app
    user = await accounts.of_request(app["pool"], app["settings"], request)
    return web.json_response(
        await content.read_chat(app["pool"], user["id"], request.match_info["id"])
    )


@routes.post("/api/v1/files")
@routes.post("/api/v1/files/")
async def upload(request: web.Request) -> web.Response:
    """Store a file: a multipart form with the field `file`."""
    app = request.app
    user = await accounts.of_request(app["pool"], app["settings"], request)
    folder = app["settings"].upload_folder
    return web.json_response(await content.store_file(app["pool"], folder, user["id"], request))


@routes.get("/api/v1/files/{id}/content")
async def download(request: web.Request) -> web.StreamResponse:
    """Send a file back."""
    app = request.app
    user = await accounts.of_request(app["pool"], app["settings"], request)
    path = await content.path_of_file(app["pool"], user, request.match_info["id"])
    return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})


@routes.post("/api/socketio/auth")
async def authenticate_for_bridge(request: web.Request) -> web.Response:
    """Tell the bridge whose token it was given."""
    token = (await _body(request)).get("token")
    if not token:
        raise Refused(400, "token is missing")
    user = await accounts.of_token(request.app["pool"], request.app["settings"], str(token))
    return web.json_response({key: user[key] for key in ("id", "email", "name", "role")})


async def _hold_database(app: web.Application) -> AsyncIterator[None]:
    settings: configuration.Settings = app["settings"]
    settings.upload_folder.mkdir(parents=True, exist_ok=True)
    app["pool"] = await database.open_pool(
        settings.database_url, settings.schema, settings.pool_size
    )
    yield
    app["pool"].terminate()


def main() -> None:
    """Serve until a signal comes."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO
    )
    # Health checks come every few seconds; only what people ask for is logged.
    logging.getLogger("aiohttp.access").addFilter(lambda line: " /health " not in line.getMessage())
    settings = configuration.from_environment()
    app = web.Application(middlewares=[answer_errors])
    app["settings"] = settings
    app.add_routes(routes)
    app.cleanup_ctx.append(_hold_database)
    web.run_app(
        app,
        host=settings.host,
        port=settings.port,
        shutdown_timeout=2,
        access_log_format='%a "%r" %s %b bytes %Tf s',
        print=lambda *_: log.info("Listening on %s:%d.", settings.host, settings.port),
    )


if __name__ == "__main__":
    main()
