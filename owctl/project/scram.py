"""What PostgreSQL stores in place of a password (RFC 5802, RFC 7677): made and compared here.

A verifier that is made on this side keeps the password itself out of the server and its log.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata

ITERATIONS = 4096
_SALT_BYTES = 16
_VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d{1,9}):([^$]+)\$([^:]+):(.+)")


def make_verifier(password: str) -> str:
    """Return a new SCRAM-SHA-256 verifier of a password, as ``ALTER ROLE … PASSWORD`` takes it."""
    salt = secrets.token_bytes(_SALT_BYTES)
    stored, server = _keys(password, salt, ITERATIONS)
    salt_text, stored_text, server_text = (
        base64.b64encode(part).decode("ascii") for part in (salt, stored, server)
    )
    return f"SCRAM-SHA-256${ITERATIONS}:{salt_text}${stored_text}:{server_text}"


def matches(verifier: str, user: str, password: str) -> bool | None:
    """Return whether a stored verifier is that of ``password``; None for a form not known here."""
    if verifier.startswith("md5") and len(verifier) == 35:
        digest = hashlib.md5((password + user).encode(), usedforsecurity=False).hexdigest()
        return hmac.compare_digest(verifier[3:], digest)
    found = _VERIFIER.fullmatch(verifier)
    if found is None:
        return None
    try:
        salt = base64.b64decode(found[2], validate=True)
        expected = base64.b64decode(found[3], validate=True)
    except binascii.Error:
        return None
    stored, _ = _keys(password, salt, int(found[1]))
    return hmac.compare_digest(stored, expected)


def _keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """Return StoredKey and ServerKey."""
    salted = hashlib.pbkdf2_hmac("sha256", _prepared(password), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256")


def _prepared(password: str) -> bytes:
    """Return the password by SASLprep; like PostgreSQL, as it is where SASLprep forbids it."""
    if password.isascii():
        return password.encode()
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in password
        if not stringprep.in_table_b1(character)
    )
    text = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    forbidden = (
        stringprep.in_table_a1,
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
    )
    if any(test(character) for character in text for test in forbidden) or not _direction_ok(text):
        return password.encode()
    return text.encode()


def _direction_ok(text: str) -> bool:
    if not any(stringprep.in_table_d1(character) for character in text):
        return True
    if any(stringprep.in_table_d2(character) for character in text):
        return False
    return stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
