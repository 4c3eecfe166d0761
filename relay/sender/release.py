"""Links by which the owner of an address releases a mail that is held.

A link goes by mail to an accepted address, and whoever opens it has that mailbox. It
holds the message, the address and its end, signed with a key of the relay: nobody can
make one, or change one. Opening a link shows a page and changes nothing, since mail
scanners open links; the button of the page releases the mail, with a second signed
value that only the page has. A link works once; the store remembers that
(`relay.store.sender`).

Source: RFC 2104 (HMAC), RFC 9110 section 9.2.1 (GET is safe).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.store import Store

PATH: Final = "/release/"
"""Where the pages are, below `web.public_url`."""
_LONGEST: Final = 1000
_LINK: Final = b"relay release link 1\0"
_BUTTON: Final = b"relay release button 1\0"
"""What is signed begins with its purpose: a link is no button."""


class LinkInvalid(Exception):  # noqa: N818 - an answer to a person, no failure of ours
    """Nobody here has made this link."""


class LinkExpired(Exception):  # noqa: N818 - the same
    """The link has come to its end."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link that was made here.

    `digest` stands for it in the store, which keeps no link; `button` is the value that
    the page sends back.
    """

    message_id: str
    address: str
    expires_at: datetime
    digest: str
    button: str


class ReleaseLinks:
    """Makes links, and reads them again."""

    def __init__(self, base_url: str, key: str, clock: Clock, *, days: float) -> None:
        """Take the address of the pages, the key, and how long a link works."""
        self._base = base_url.rstrip("/")
        self._key = key.encode()
        self._clock = clock
        self._life = timedelta(days=days)

    @classmethod
    async def open(
        cls, settings: Settings, store: Store, clock: Clock
    ) -> ReleaseLinks | None:
        """Return the links of a relay; None where people cannot reach its pages.

        The key is `sender.release_secret`, or one that all relays on the store share.

        Raises:
            StoreUnavailable: The key cannot be read.
        """
        base = settings.web.public_url
        if base is None or settings.web.listen is None:
            return None
        secret = settings.sender.release_secret
        key = (
            await store.sender.release_key()
            if secret is None
            else secret.get_secret_value()
        )
        place = f"{base}{settings.web.base_path}"
        return cls(place, key, clock, days=settings.sender.release_days)

    def url(self, message_id: str, address: str) -> str:
        """Return the link for a held message, to be mailed to an accepted address."""
        ends = int((self._clock.now() + self._life).timestamp())
        payload = json.dumps([message_id, address, ends], separators=(",", ":"))
        text = payload.encode()
        return f"{self._base}{PATH}{_b64(text)}.{_b64(self._sign(_LINK, text))}"

    def read(self, token: str) -> Link:
        """Return what a link says; `token` is its last part.

        Raises:
            LinkInvalid: Nobody here has made it.
            LinkExpired: It has come to its end.
        """
        if len(token) > _LONGEST or not token.isascii():
            raise LinkInvalid
        head, _, tail = token.partition(".")
        try:
            payload, signature = _unb64(head), _unb64(tail)
        except ValueError:
            raise LinkInvalid from None
        if not hmac.compare_digest(signature, self._sign(_LINK, payload)):
            raise LinkInvalid
        # Base64 has several spellings of one value: what counts is the value.
        message_id, address, ends = json.loads(payload)
        expires_at = datetime.fromtimestamp(ends, UTC)
        if expires_at <= self._clock.now():
            raise LinkExpired
        button = self._sign(_BUTTON, payload).hex()
        digest = hashlib.sha256(payload).hexdigest()
        return Link(message_id, address, expires_at, digest, button)

    def _sign(self, purpose: bytes, payload: bytes) -> bytes:
        return hmac.digest(self._key, purpose + payload, "sha256")


def is_button(link: Link, value: str) -> bool:
    """Say whether a value is the one that the page of the link has."""
    return hmac.compare_digest(link.button.encode(), value.encode())


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _unb64(text: str) -> bytes:
    return base64.b64decode(
        text + "=" * (-len(text) % 4), altchars=b"-_", validate=True
    )
