"""The proof: the new backend as its users see it, signed in to, chats read, files fetched."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from owctl.compose.services import choose_probe
from owctl.errors import OwctlError
from owctl.health.check import check_stack
from owctl.health.target import Address, find_address
from owctl.migrate.convert.values import tails
from owctl.network import Deadline, reason

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]
    from owctl.compose.model import Service, Stack
    from owctl.engine.connection import Engine
    from owctl.http_client import Response


# -- The new backend as its users see it: signing in, reading a chat, downloading a file.


_MOST_BYTES = 64 << 20
# A file may be large, and the way to it slow.
_SLOWEST_BYTES_PER_SECOND = 1 << 20
_NOT_OFFERED = (404, 405, 501)


class NotOffered(Exception):
    """The backend has no such address yet; that says nothing of the data."""


@dataclass(frozen=True, slots=True)
class BackendApi:
    """The backend at ``address``; ``timeout_seconds`` is for a whole call. Failures are OwctlError."""

    address: Address
    timeout_seconds: float = 15.0

    def sign_in(self, email: str, password: str) -> str:
        """Sign in and return the session's token."""
        answer = self._json(
            "POST", "/api/v1/auths/signin", body={"email": email, "password": password}
        )
        token = answer.get("token")
        if not isinstance(token, str) or not token:
            raise OwctlError("The backend signed nobody in: its answer has no token.")
        return token

    def chat(self, token: str, chat_id: str) -> dict[str, Any]:
        """Return a chat; raises NotOffered where chats cannot be read one by one."""
        return self._json("GET", f"/api/v1/chats/{quote(chat_id, safe='')}", token=token)

    def file_sha256(self, token: str, file_id: str, most_bytes: int) -> str:
        """Return the SHA-256 of a file's content, which has at most so many bytes; raises NotOffered.

        The call's time grows by a second with each MiB that has come: a large file is no hung server.
        """
        path = f"/api/v1/files/{quote(file_id, safe='')}/content"
        digest, size = hashlib.sha256(), 0
        deadline = Deadline(self.timeout_seconds)
        with self._request("GET", path, deadline, token=token) as response:
            for piece in response.iter_raw():
                digest.update(piece)
                size += len(piece)
                if size > most_bytes:
                    raise OwctlError(f"The backend hands out more for {path} than was copied.")
                deadline.extend(len(piece) / _SLOWEST_BYTES_PER_SECOND)
        return digest.hexdigest()

    def _json(
        self, method: str, path: str, *, token: str = "", body: dict[str, str] | None = None
    ) -> dict[str, Any]:
        from owctl.http_client import read_body

        deadline = Deadline(self.timeout_seconds)
        with self._request(method, path, deadline, token=token, body=body) as response:
            content = read_body(response, _MOST_BYTES)
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise OwctlError(f"The backend's answer to {method} {path} is no JSON object.")
        return document

    @contextmanager
    def _request(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        token: str = "",
        body: dict[str, str] | None = None,
    ) -> "Iterator[Response]":
        from owctl.http_client import HttpClient, NotHttpError

        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        content = json.dumps(body).encode() if body is not None else None
        url = f"http://{self.address.authority}"
        with closing(HttpClient(deadline, self.address.through)) as client:
            try:
                with client.answer(
                    method, url, target=path, headers=headers, content=content
                ) as response:
                    if not response.is_success:
                        raise _refused(method, path, response)
                    yield response
            except NotHttpError:
                why = "what it said is not HTTP"
            except (OSError, OverflowError) as error:
                why = reason(error, round(deadline.seconds, 2), connected=client.connected)
            else:
                return
        raise OwctlError(f"The backend did not answer {method} {path}: {why}.")


def _refused(method: str, path: str, response: "Response") -> Exception:
    from owctl.http_client import read_body

    content = read_body(response, 4096)
    try:
        document = json.loads(content)
        detail = document.get("detail") or document.get("error") or ""
    except (ValueError, AttributeError):
        detail = ""
    if response.status_code in _NOT_OFFERED and method == "GET":
        return NotOffered(f"HTTP {response.status_code} {detail}".strip())
    return OwctlError(
        f"The backend answered {method} {path} with HTTP {response.status_code}"
        + (f": {str(detail)[:120]}." if detail else ".")
    )


# -- What shows that the migration worked: the new stack, used as people use it.


ProofStatus = Literal["ok", "failed", "skipped"]
_DEEP_SECONDS = 10.0
_PORT = 8080


@dataclass(frozen=True, slots=True)
class Proof:
    """One line of the checklist."""

    name: str
    status: ProofStatus
    detail: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What the proofs look for: row counts by table, passwords by account id, SHA-256 by file name.

    ``file_bytes`` is the size of all files together, ``files_without_content`` how many rows name a
    file that was not copied.
    ``rewritten`` are tables that got rows, and that the new backend changes by itself.
    """

    rows: Mapping[str, int]
    passwords: Mapping[str, str] = field(repr=False)
    file_hashes: Mapping[str, str] = field(default_factory=dict, repr=False)
    file_bytes: int = 0
    files_without_content: int = 0
    rewritten: tuple[str, ...] = ()


def prove(
    engine: "Engine", stack: "Stack", backend: "Service", connection: "Connection", wanted: Expected
) -> list[Proof]:
    """Use the running stack in every way that the data's arrival can be seen; never raises for it."""
    proofs = [_counts(connection, wanted)]
    api = _api(engine, stack, backend)
    if api is None:
        why = f"{backend.name} cannot be reached from this machine"
        proofs += [Proof(name, "skipped", why) for name in ("sign-in", "chat", "file")]
    else:
        proofs += _as_a_person(api, connection, wanted)
    return [file_proof(proof, wanted) for proof in proofs] + _health(engine, stack)


def file_proof(proof: Proof, wanted: Expected) -> Proof:
    """Return the proof of files as what it is worth where none could be downloaded."""
    if proof.name != "file" or proof.status != "skipped":
        return proof
    if wanted.file_hashes:
        count = len(wanted.file_hashes)
        return Proof("file", "skipped", f"{proof.detail}; in the volume {count} were read back")
    if wanted.files_without_content:
        named = f"the database names {wanted.files_without_content} uploaded files"
        return Proof("file", "failed", f"{named}, and none of them was copied")
    return proof


def _counts(connection: "Connection", wanted: Expected) -> Proof:
    from psycopg import sql

    for table, rows in wanted.rows.items():
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("public", table))
        found = connection.execute(query).fetchone()
        if found is None or found[0] < rows:
            return Proof("counts", "failed", f"{table} has {found and found[0]} of {rows} rows")
    total = sum(wanted.rows.values())
    detail = f"{total} rows in {len(wanted.rows)} tables are there"
    if wanted.rewritten:
        # They were compared in the transaction that loaded them.
        detail += f"; {', '.join(wanted.rewritten)} aside: the backend rewrites it"
    return Proof("counts", "ok", detail)


def _as_a_person(api: BackendApi, connection: "Connection", wanted: Expected) -> list[Proof]:
    names = ("sign-in", "chat", "file")
    account = _account(connection, wanted, "file")
    if account is None:
        why = "no account with a one-time password to try it with"
        return [Proof(name, "skipped", why) for name in names]
    user, email = account
    try:
        token = api.sign_in(email, wanted.passwords[user])
    except OwctlError as error:
        rest = [Proof(name, "skipped", "nobody is signed in") for name in names[1:]]
        return [Proof("sign-in", "failed", error.message), *rest]
    return [
        Proof("sign-in", "ok", f"{email} signed in with the one-time password"),
        _attempt("chat", lambda: _own_chat(api, connection, wanted)),
        _attempt("file", lambda: _file(api, connection, token, user, wanted)),
    ]


def _own_chat(api: BackendApi, connection: "Connection", wanted: Expected) -> Proof:
    """Read a chat as one whose it is; the administrator may have none."""
    account = _account(connection, wanted, "chat")
    assert account is not None
    user, email = account
    return _chat(api, connection, api.sign_in(email, wanted.passwords[user]), user)


def _attempt(name: str, look: Callable[[], Proof]) -> Proof:
    try:
        return look()
    except NotOffered as answer:
        return Proof(name, "skipped", f"this backend does not hand it out ({answer})")
    except OwctlError as error:
        return Proof(name, "failed", error.message)


def _account(
    connection: "Connection", wanted: Expected, owned: Literal["chat", "file"]
) -> tuple[str, str] | None:
    """Return id and address of the account to try, at best one that owns a row of the table.

    An administrator may read everybody's files, but nobody else's chats.
    """
    from psycopg import sql

    if not wanted.passwords:
        return None
    owns = sql.SQL("NOT EXISTS (SELECT FROM public.{} o WHERE o.user_id = u.id)")
    orders = [sql.SQL("u.role <> 'admin'"), owns.format(sql.Identifier(owned))]
    if owned == "chat":
        orders.reverse()
    query = sql.SQL(
        'SELECT u.id, a.email FROM public."user" u JOIN public.auth a USING (id)'
        " WHERE a.active AND u.id = ANY(%s) AND u.role <> 'pending' ORDER BY {}, u.id LIMIT 1"
    ).format(sql.SQL(", ").join(orders))
    row = connection.execute(query, [list(wanted.passwords)]).fetchone()
    return (str(row[0]), str(row[1])) if row else None


def _chat(api: BackendApi, connection: "Connection", token: str, user: str) -> Proof:
    row = connection.execute(
        "SELECT id, title FROM public.chat WHERE user_id = %s ORDER BY updated_at DESC LIMIT 1",
        [user],
    ).fetchone()
    if row is None:
        return Proof("chat", "skipped", "no account with a one-time password has a chat")
    found = api.chat(token, str(row[0]))
    if found.get("id") != row[0] or found.get("title") != row[1]:
        return Proof("chat", "failed", f"chat {row[0]}: the backend shows another one")
    return Proof("chat", "ok", f"chat {row[0]} was read")


def _file(
    api: BackendApi, connection: "Connection", token: str, user: str, wanted: Expected
) -> Proof:
    rows = connection.execute(
        "SELECT id, path FROM public.file"
        " WHERE user_id = %s OR EXISTS (SELECT FROM public.\"user\" WHERE id = %s AND role = 'admin')"
        " ORDER BY id",
        [user, user],
    ).fetchall()
    for identifier, path in rows:
        named = (wanted.file_hashes.get(name) for name in tails(str(path)))
        expected = next(filter(None, named), None)
        if expected is None:
            continue
        if api.file_sha256(token, str(identifier), wanted.file_bytes) != expected:
            return Proof("file", "failed", f"file {identifier} downloads with other content")
        return Proof("file", "ok", f"file {identifier} downloads byte for byte")
    return Proof("file", "skipped", "no file was copied that this account may read")


def _health(engine: "Engine", stack: "Stack") -> list[Proof]:
    report = check_stack(engine, stack, timeout_seconds=_DEEP_SECONDS, deep=True)
    ill = [f"{row.service}: {row.detail}" for row in report.services if row.status != "healthy"]
    health = Proof("health", "failed", "; ".join(ill)) if ill else None
    proofs = [health or Proof("health", "ok", f"{len(report.services)} services are healthy")]
    socket = [c for c in report.deep or () if c.check in ("polling", "websocket")]
    if not socket:
        return [*proofs, Proof("socket.io", "skipped", "the stack has no Socket.IO bridge")]
    bad = [f"{c.check}: {c.detail}" for c in socket if c.status == "unhealthy"]
    good = [c.check for c in socket if c.status == "healthy"]
    if bad:
        return [*proofs, Proof("socket.io", "failed", "; ".join(bad))]
    if not good:
        return [*proofs, Proof("socket.io", "skipped", socket[0].detail)]
    return [*proofs, Proof("socket.io", "ok", f"a client connected by {' and '.join(good)}")]


def _api(engine: "Engine", stack: "Stack", backend: "Service") -> BackendApi | None:
    from owctl.engine.containers import list_containers

    running = list_containers(engine, stack.project, services=[backend.name], all=False)
    port = choose_probe(backend).port or _PORT
    address = find_address(engine, running[0], port) if running else None
    return BackendApi(address) if address else None
