"""What goes wrong with a bucket, in words; four libraries each have errors of their own."""

from typing import Any

from owctl.backup.remote.store import ConnectionLost, MissingRemotely
from owctl.errors import OwctlError

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
    if isinstance(error, PermissionError) or status in (401, 403):
        return OwctlError(
            f"Access to the bucket {bucket} is denied ({code or error}).",
            hint="rights to list, get, put and delete objects, for the credentials in use",
        )
    if code in _FULL or status == 507:
        return OwctlError(
            f"No space is left in the bucket {bucket} ({code}).",
            hint="make room there; the same command then goes on where it stopped",
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
