"""Secrets of code apps at rest: sealed by a key that the database does not have.

The key is `web.factor_key`. Without one a secret is kept as it is; one of before is
sealed at the next sign-in with it. What is sealed names its user, so that a row cannot
be given to another.

Source: the Fernet specification (AES-128-CBC, HMAC-SHA256).
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

_MARK: Final = "sealed1:"
"""Begins what is sealed; no secret of an app, which is base32, has a colon."""
_PURPOSE: Final = b"relay factor key 1\0"


class Unreadable(Exception):  # noqa: N818 - an answer
    """It was sealed by another key, or for another user."""


class Sealer:
    """Seals and opens secrets, where there is a key."""

    def __init__(self, key: str | None) -> None:
        """Take the key; None: nothing is sealed."""
        self._fernet: Fernet | None = None
        if key is not None:
            digest = hashlib.sha256(_PURPOSE + key.encode()).digest()
            self._fernet = Fernet(base64.urlsafe_b64encode(digest))

    def seal(self, user_id: int, secret: str) -> str:
        """Return what is kept of a user's secret."""
        if self._fernet is None:
            return secret
        sealed = self._fernet.encrypt(f"{user_id}:{secret}".encode())
        return f"{_MARK}{sealed.decode()}"

    def open(self, user_id: int, kept: str) -> str:
        """Return the secret of what is kept.

        Raises:
            Unreadable: It was sealed by another key, or for another user.
        """
        if not kept.startswith(_MARK):
            return kept
        if self._fernet is None:
            raise Unreadable
        try:
            found = self._fernet.decrypt(kept.removeprefix(_MARK)).decode()
        except InvalidToken:
            raise Unreadable from None
        owner, _, secret = found.partition(":")
        if owner != str(user_id):
            raise Unreadable
        return secret

    def is_to_seal(self, kept: str) -> bool:
        """Say whether it is kept as it is although there is a key."""
        return self._fernet is not None and not kept.startswith(_MARK)
