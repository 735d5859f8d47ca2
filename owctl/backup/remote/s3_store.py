"""Backups in an S3 bucket, and what its errors mean."""

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Self

from owctl.backup.remote.store import (
    PIECE_BYTES,
    Address,
    ConnectionLost,
    Content,
    MissingRemotely,
    missing_package,
    silence,
)
from owctl.errors import OwctlError

# -- What goes wrong with a bucket, in words; four libraries each have errors of their own.


_NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
    "TokenRetrievalError",
)
_FULL = ("QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "InsufficientCapacity")


def in_words(error: Exception, bucket: str) -> OwctlError:
    """Return what an error of s3fs or botocore means for the user of ``bucket``."""
    code, status = _answer(error)
    if type(error).__name__ in _NO_CREDENTIALS:
        return OwctlError(
            f"There are no credentials for the bucket {bucket}.",
            hint="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        )
    if code == "NoSuchBucket" or "bucket does not exist" in str(error):
        return OwctlError(
            f"There is no bucket {bucket}.",
            hint="check its name, AWS_ENDPOINT_URL and AWS_REGION",
        )
    if isinstance(error, FileNotFoundError) or status == 404:
        return MissingRemotely(
            f"It is not in the bucket {bucket}.", hint="owctl backup pull REMOTE"
        )
    if code in _FULL or status == 507:
        return OwctlError(
            f"No space is left in the bucket {bucket} ({code}).",
            hint="make room there; the same command then goes on where it stopped",
        )
    if isinstance(error, PermissionError) or status in (401, 403):
        return OwctlError(
            f"Access to the bucket {bucket} is denied ({code or error}).",
            hint="rights to list, get, put and delete objects, for the credentials in use",
        )
    if status and status < 500:
        return OwctlError(
            f"The server of the bucket {bucket} refused it ({code or status}): {error}.",
            hint="check AWS_ENDPOINT_URL and AWS_REGION; --debug shows more",
        )
    return ConnectionLost(
        f"The server of the bucket {bucket} does not answer: {str(error) or type(error).__name__}.",
        hint="check AWS_ENDPOINT_URL and the network; the same command goes on where it stopped",
    )


def is_behind_the_end(error: Exception) -> bool:
    """Return whether a range was asked for that begins where the object ends."""
    code, status = _answer(error)
    return code == "InvalidRange" or status == 416


def _answer(error: Exception) -> tuple[str, int]:
    """Return S3's error code and the HTTP status, empty and 0 where no server answered."""
    for each in (error, error.__cause__, error.__context__):
        response: dict[str, Any] | None = getattr(each, "response", None)
        if isinstance(response, dict):
            code = str(response.get("Error", {}).get("Code", ""))
            return code, int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return "", 0


# -- Backups in an S3 bucket: one object a part, checked against the server's SHA-256 where it has one.
# Endpoint, region and credentials are those of every AWS tool: AWS_* in the environment, ~/.aws.


_CONNECT_SECONDS = 10
_SILENCE_SECONDS = 60
# Slower than this for a whole part is taken for a connection that hangs.
_LEAST_BYTES_A_SECOND = 32 * 1024
_LOGGERS = ("aiobotocore", "asyncio", "botocore", "fsspec", "s3fs")
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

    def remove_folder(self, folder: str) -> None:
        """Remove all objects below a folder's name; there need be none."""
        for name in self.files(folder):
            self.remove(f"{folder}/{name}")

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

    def _call(self, method: str, *, seconds: float | None = None, **arguments: Any) -> Any:  # noqa: ANN401
        limit = seconds or _SILENCE_SECONDS
        try:
            return self._s3.call_s3(method, Bucket=self._bucket, timeout=limit, **arguments)
        except Exception as error:
            raise in_words(error, self._bucket) from error


def _file_system() -> Any:  # noqa: ANN401  # s3fs has no types
    try:
        import s3fs
    except ImportError:
        raise missing_package("s3fs") from None
    silence(*_LOGGERS)
    opened = s3fs.S3FileSystem(
        anon=False,
        skip_instance_cache=True,
        use_listings_cache=False,
        config_kwargs={
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _SILENCE_SECONDS,
            "retries": {"mode": "standard", "total_max_attempts": 2},
        },
    )
    # Who calls tries again, and says so.
    opened.retries = 1
    return opened
