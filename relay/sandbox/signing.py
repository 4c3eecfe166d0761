"""Signs mails of the demo as the mail server of their domain would: DKIM, Ed25519.

It knows what the demo needs and no more: CRLF line ends, one address in From, keys that
live as long as the process. Checking signatures is the work of `relay.sender`.

Source: RFC 6376 sections 3.4.2 (relaxed header), 3.4.3 (simple body), 5.4.2 (signing a
field once more than it stands); RFC 8463.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay.sandbox.dns import txt_record

SELECTOR: Final = "demo"
_FIELDS: Final = (
    *(b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"mime-version"),
    *(b"content-type", b"content-transfer-encoding", b"reply-to"),
)
_FIELD: Final = re.compile(rb"\r\n(?![ \t])")


class MailSigner:
    """Signs for one domain, with a key of its own."""

    def __init__(self, domain: str) -> None:
        """Make a key."""
        self.domain = domain
        self._key = Ed25519PrivateKey.generate()

    @property
    def zone(self) -> str:
        """Return the zone text with the public key."""
        public = base64.b64encode(self._key.public_key().public_bytes_raw()).decode()
        name = f"{SELECTOR}._domainkey.{self.domain}"
        return txt_record(name, f"v=DKIM1; k=ed25519; p={public}")

    def sign(self, mail: bytes) -> bytes:
        """Return the mail with its signature on top."""
        head, _, body = mail.partition(b"\r\n\r\n")
        left = [line.partition(b":")[::2] for line in _FIELD.split(head)]
        body_hash = hashlib.sha256(body.rstrip(b"\r\n") + b"\r\n").digest()
        signed = b""
        for name in _FIELDS:
            for one in reversed([one for one in left if one[0].lower() == name]):
                signed += _relaxed(*one) + b"\r\n"
        present = [one[0].lower() for one in left]
        # A field that is named once more than it stands cannot be added.
        names = [name for one in _FIELDS for name in [one] * (present.count(one) + 1)]
        value = (
            f" v=1; a=ed25519-sha256; c=relaxed/simple; d={self.domain};\r\n"
            f"\ts={SELECTOR}; t={int(time.time())}; h={b':'.join(names).decode()};\r\n"
            f"\tbh={base64.b64encode(body_hash).decode()};\r\n\tb="
        ).encode()
        data = signed + _relaxed(b"DKIM-Signature", value)
        signature = self._key.sign(hashlib.sha256(data).digest())
        return b"DKIM-Signature:" + value + base64.b64encode(signature) + b"\r\n" + mail


def _relaxed(name: bytes, value: bytes) -> bytes:
    return name.lower().strip() + b":" + b" ".join(value.split())
