"""The new backend as its users see it: signing in, reading a chat, downloading a file."""

import hashlib
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from owctl.errors import OwctlError
from owctl.health.target import Address

_MOST_BYTES = 64 << 20
_PIECE_BYTES = 1 << 18
_NOT_OFFERED = (404, 405, 501)


class NotOffered(Exception):
    """The backend has no such address yet; that says nothing of the data."""


@dataclass(frozen=True, slots=True)
class BackendApi:
    """The backend at ``address``; ``timeout_seconds`` is for each read. Failures are OwctlError."""

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

    def file_sha256(self, token: str, file_id: str) -> str:
        """Return the SHA-256 of a file's content; raises NotOffered."""
        path = f"/api/v1/files/{quote(file_id, safe='')}/content"
        digest = hashlib.sha256()
        with self._request("GET", path, token=token) as response:
            while data := response.read(_PIECE_BYTES):
                digest.update(data)
        return digest.hexdigest()

    def _json(
        self, method: str, path: str, *, token: str = "", body: dict[str, str] | None = None
    ) -> dict[str, Any]:
        with self._request(method, path, token=token, body=body) as response:
            content = response.read(_MOST_BYTES)
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise OwctlError(f"The backend's answer to {method} {path} is no JSON object.")
        return document

    @contextmanager
    def _request(
        self, method: str, path: str, *, token: str = "", body: dict[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(
            self.address.host, self.address.port, timeout=self.timeout_seconds
        )
        if self.address.through is not None:
            connection.sock = self.address.connect(self.timeout_seconds)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            if response.status >= 300:
                raise _refused(method, path, response)
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise OwctlError(f"The backend did not answer {method} {path}: {error}.") from error
        finally:
            connection.close()


def _refused(method: str, path: str, response: http.client.HTTPResponse) -> Exception:
    content = response.read(4096)
    try:
        document = json.loads(content)
        detail = document.get("detail") or document.get("error") or ""
    except (ValueError, AttributeError):
        detail = ""
    if response.status in _NOT_OFFERED and method == "GET":
        return NotOffered(f"HTTP {response.status} {detail}".strip())
    return OwctlError(
        f"The backend answered {method} {path} with HTTP {response.status}"
        + (f": {str(detail)[:120]}." if detail else ".")
    )
