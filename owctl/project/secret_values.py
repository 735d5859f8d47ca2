"""The secrets that a stack needs: their names, what is no secret at all, and new ones."""

import re
import secrets
import string

SECRET_NAMES = ("WEBUI_SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD")
# Which addresses carry which password.
URL_NAMES = {
    "POSTGRES_PASSWORD": ("DATABASE_URL",),
    "REDIS_PASSWORD": ("REDIS_URL", "WEBSOCKET_REDIS_URL"),
}
LENGTH = 40

_ALPHABET = string.ascii_letters + string.digits
# Lower case, letters and digits only. Values that examples and compose files are published with.
_KNOWN = frozenset(
    """
    admin administrator changeit changeme changethis default dummy example insecure key none null
    openwebui openwebuipassword owui pass passw0rd passwd password password1 password123 postgres
    postgresql postgrespassword qwerty redis redispassword replaceme root s3cr3t secret secretkey
    supersecret supersecretkey t0ps3cr3t test testing todo topsecret webui webuisecretkey
    1234 12345 123456 12345678 123456789 1234567890
    """.split()  # noqa: SIM905
)
_KNOWN_FORM = re.compile(
    r"(?:my|your|the|a|some|insert|enter|put|add|set|please|change|replace|generate|use)"
    r"\w*?(?:secret|key|password|passwd|pass|token|value|here|me|this|it)\w*|x+|\*+"
)


def is_placeholder(value: str) -> bool:
    """Return whether a value stands for a secret that is yet to be chosen, or is widely known.

    The empty text is one. So is "<…>", whatever is in it.
    """
    text = value.strip().lower()
    if not text or (text.startswith("<") and text.endswith(">")):
        return True
    plain = re.sub(r"[^a-z0-9*]", "", text)
    if not plain:
        return text.isascii()  # "..." and the like, not another alphabet
    if plain in _KNOWN:
        return True
    # A phrase has its words apart, or is short: a long random text may begin with "my".
    is_phrase = len(plain) <= 16 or len(re.findall(r"[a-z0-9]+", text)) > 1
    return is_phrase and _KNOWN_FORM.fullmatch(plain) is not None


def new_secret() -> str:
    """Return 40 random letters and digits: some 238 bits, fit for addresses and shells."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH))
