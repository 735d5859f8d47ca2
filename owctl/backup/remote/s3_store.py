"""Backups in an S3 bucket: one object a part, checked against the server's SHA-256 where it has one.

Endpoint, region and credentials are those of every AWS tool: AWS_* in the environment, ~/.aws.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Self

from owctl.backup.remote.address import Address
from owctl.backup.remote.s3_errors import in_words, is_behind_the_end
from owctl.backup.remote.store import PIECE_BYTES, ConnectionLost, Content, missing_package
from owctl.errors import OwctlError

_CONNECT_SECONDS = 10
_SILENCE_SECONDS = 60
# Slower than this for a whole part is taken for a connection that hangs.
_LEAST_BYTES_A_SECOND = 32 * 1024
_PROBE = ".owctl-checksum-probe"


class S3Store:
    """A Store below a prefix of a bucket."""

    def __init__(self, address: Address) -> None:
        self._bucket = address.host
        self._prefix = f"{address.path}/" if address.path else ""
        self._checks: bool | None = None
        self._s3 = _file_system()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def folders(self) -> list[str]:
        """Return the names of the folders at the top."""
        return sorted(
            entry["Prefix"].removeprefix(self._prefix).rstrip("/")
            for page in self._pages(self._prefix, "/")
            for entry in page.get("CommonPrefixes") or ()
        )

    def files(self, folder: str) -> dict[str, int]:
        """Return sizes by name, relative to ``folder``, for all objects below it."""
        top = f"{self._prefix}{folder}/"
        return {
            entry["Key"].removeprefix(top): entry["Size"]
            for page in self._pages(top)
            for entry in page.get("Contents") or ()
        }

    def send(self, name: str, content: Content) -> None:
        """Put an object; a server that computes SHA-256 refuses what was damaged on the way."""
        self._call(
            "put_object",
            seconds=_SILENCE_SECONDS + content.size_bytes / _LEAST_BYTES_A_SECOND,
            Key=self._prefix + name,
            Body=content,
            ContentLength=content.size_bytes,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=base64.b64encode(bytes.fromhex(content.sha256)).decode(),
        )

    def read(self, name: str, size_bytes: int) -> Iterator[bytes]:
        """Yield what is stored, ``size_bytes`` of it at the most."""
        path = f"{self._bucket}/{self._prefix}{name}"
        for start in range(0, size_bytes, PIECE_BYTES):
            end = min(start + PIECE_BYTES, size_bytes)
            try:
                data = self._s3.cat_file(path, start=start, end=end, timeout=_SILENCE_SECONDS * 3)
            except Exception as error:
                if is_behind_the_end(error):
                    return
                raise in_words(error, self._bucket) from error
            yield data
            if len(data) < end - start:
                return

    def server_sha256(self, name: str) -> str | None:
        """Return the server's SHA-256, None if it keeps none or only repeats what it was told."""
        if not self._server_checks(name.split("/")[0]):
            return None
        answer = self._call("head_object", Key=self._prefix + name, ChecksumMode="ENABLED")
        try:
            return base64.b64decode(answer.get("ChecksumSHA256") or "", validate=True).hex() or None
        except binascii.Error:
            return None

    def remove(self, name: str) -> None:
        """Remove an object; it need not be there."""
        self._call("delete_object", Key=self._prefix + name)

    def reconnect(self) -> None:
        """Begin with new connections."""
        self._s3 = _file_system()

    def _server_checks(self, folder: str) -> bool:
        """Return whether the server compares SHA-256 with what it got: it must refuse a wrong one."""
        if self._checks is None:
            key = f"{self._prefix}{folder}/{_PROBE}"
            wrong = base64.b64encode(bytes(32)).decode()
            try:
                self._call(
                    "put_object",
                    Key=key,
                    Body=b"owctl",
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=wrong,
                )
            except ConnectionLost:
                raise
            except OwctlError:
                self._checks = True
            else:
                self._checks = False
                self._call("delete_object", Key=key)
        return self._checks

    def _pages(self, prefix: str, delimiter: str = "") -> Iterator[dict[str, Any]]:
        token: dict[str, Any] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, Delimiter=delimiter, **token)
            yield page
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _call(self, method: str, *, seconds: float = _SILENCE_SECONDS, **arguments: Any) -> Any:  # noqa: ANN401
        try:
            return self._s3.call_s3(method, Bucket=self._bucket, timeout=seconds, **arguments)
        except Exception as error:
            raise in_words(error, self._bucket) from error


def _file_system() -> Any:  # noqa: ANN401  # s3fs has no types
    try:
        import s3fs
    except ImportError:
        raise missing_package("s3fs") from None
    return s3fs.S3FileSystem(
        anon=False,
        skip_instance_cache=True,
        use_listings_cache=False,
        config_kwargs={
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _SILENCE_SECONDS,
            "retries": {"mode": "standard", "total_max_attempts": 3},
        },
    )
