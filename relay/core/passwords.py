"""App passwords: made here, shown once, kept as scrypt hashes.

A password is random and long enough (100 bits) that guessing is hopeless; the slow hash
is for a database that was stolen. It is written in groups, and read whatever the case
and whatever stands between the groups, because people type it into phones.

Source: RFC 7914 (scrypt); OWASP Password Storage Cheat Sheet for the cost.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

_ALPHABET: Final = "abcdefghijkmnopqrstuvwxyz2345679"
"""Without l, 8, 0 and 1, which are taken for others."""
_GROUPS: Final = 5
_GROUP: Final = 4
_SCHEME: Final = "scrypt"
_LOG_N: Final = 14
_R: Final = 8
_P: Final = 1
_SALT_BYTES: Final = 16
_MAX_MEMORY: Final = 64 * 1024 * 1024
_FIELDS: Final = 6


def new_password() -> str:
    """Return a fresh password, such as `abcd-efgh-ijkm-nopq-rstu`."""
    return "-".join(
        "".join(secrets.choice(_ALPHABET) for _ in range(_GROUP))
        for _ in range(_GROUPS)
    )


def hash_password(password: str) -> str:
    """Return what is kept of a password; each call gives another text. Slow: 40 ms."""
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = _scrypt(normal(password), salt, _LOG_N, _R, _P)
    fields = (_SCHEME, str(_LOG_N), str(_R), str(_P), _text(salt), _text(digest))
    return "$".join(fields)


def verify_password(password: str, kept: str) -> bool:
    """Say whether this is the password of which `kept` is the hash. Slow: 40 ms.

    A `kept` that is no hash fits no password.
    """
    fields = kept.split("$")
    if len(fields) != _FIELDS or fields[0] != _SCHEME:
        return False
    try:
        log_n, r, p = (int(field) for field in fields[1:4])
        salt, expected = (base64.b64decode(field) for field in fields[4:])
        digest = _scrypt(normal(password), salt, log_n, r, p)
    except ValueError:
        return False
    return hmac.compare_digest(digest, expected)


def normal(password: str) -> bytes:
    """Return the letters of a password as they are hashed."""
    return "".join(char for char in password.lower() if char not in " -").encode()


def _scrypt(password: bytes, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(
        password, salt=salt, n=1 << log_n, r=r, p=p, maxmem=_MAX_MEMORY, dklen=32
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
