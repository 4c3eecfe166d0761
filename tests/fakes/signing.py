"""Signs mails as their domains would, for tests: DKIM with RSA or Ed25519, and ARC.

Keys are made once for all tests of a process. `Signer.publish` puts the public key into
a test's DNS.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import dkim
import nacl.signing
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fakes.dns import DNS

USUAL_FIELDS = (
    "from to cc subject date message-id content-type content-transfer-encoding "
    "mime-version reply-to in-reply-to references resent-from resent-to"
).split()
"""What a careful signer signs, present or not."""

# The header fields that the big providers sign, as seen in their mails.
GMAIL = "to subject message-id date from mime-version from to cc subject date message-id reply-to".split()  # noqa: E501
MICROSOFT = (
    "from date subject message-id content-type mime-version x-ms-exchange-senderadcheck"
).split()
YAHOO = "date from reply-to to subject references from subject reply-to".split()
APPLE = "from content-type mime-version subject message-id date to".split()
SES = "from to subject mime-version content-type message-id date".split()


def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """Return a key of that size; another for each number."""
    return _rsa_key(bits, number)


@cache
def _rsa_key(bits: int, number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ed25519_key(number: int = 0) -> nacl.signing.SigningKey:
    """Return a key, the same for each number."""
    return nacl.signing.SigningKey(bytes([number + 1]) * 32)


@dataclass(frozen=True)
class Signer:
    """A domain that signs."""

    domain: str
    selector: str = "test"
    kind: str = "rsa"
    bits: int = 2048
    number: int = 0
    """Another number is another key."""

    def record(self, tags: str = "") -> str:
        """Return the key record, with more tags if need be."""
        return f"v=DKIM1; k={self.kind}; {tags}p={self.public}"

    @property
    def public(self) -> str:
        """Return the public key as p= has it."""
        if self.kind == "ed25519":
            data = bytes(ed25519_key(self.number).verify_key)
        else:
            data = (
                rsa_key(self.bits, self.number)
                .public_key()
                .public_bytes(
                    serialization.Encoding.DER,
                    serialization.PublicFormat.SubjectPublicKeyInfo,
                )
            )
        return base64.b64encode(data).decode()

    @property
    def private(self) -> bytes:
        """Return the private key as dkimpy wants it."""
        if self.kind == "ed25519":
            return base64.b64encode(bytes(ed25519_key(self.number)))
        return rsa_key(self.bits, self.number).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )

    def publish(self, dns: DNS, tags: str = "") -> Signer:
        """Put the key into the DNS; return the signer."""
        dns.txt(f"{self.selector}._domainkey.{self.domain}", self.record(tags))
        return self

    def sign(
        self,
        mail: bytes,
        *,
        fields: Sequence[str] | None = None,
        canonicalize: str = "relaxed/relaxed",
        identity: str | None = None,
        length: bool = False,
        algorithm: str = "",
    ) -> bytes:
        """Return the mail with a signature on top."""
        return (
            self.field(
                mail,
                fields=fields,
                canonicalize=canonicalize,
                identity=identity,
                length=length,
                algorithm=algorithm,
            )
            + mail
        )

    def field(
        self,
        mail: bytes,
        *,
        fields: Sequence[str] | None = None,
        canonicalize: str = "relaxed/relaxed",
        identity: str | None = None,
        length: bool = False,
        algorithm: str = "",
    ) -> bytes:
        """Return the DKIM-Signature field for a mail, with its line end."""
        algorithm = algorithm or f"{self.kind}-sha256"
        return dkim.sign(
            mail,
            self.selector.encode(),
            self.domain.encode(),
            self.private,
            identity=identity.encode() if identity else None,
            canonicalize=tuple(canonicalize.encode().split(b"/")),
            signature_algorithm=algorithm.encode(),
            include_headers=[name.encode() for name in fields or USUAL_FIELDS],
            length=length,
        )

    def seal(self, mail: bytes, authserv_id: str) -> bytes:
        """Return the mail with one more ARC set on top (RFC 8617).

        The mail has an Authentication-Results field of that authserv-id.
        """
        found = dkim.arc_sign(
            mail,
            self.selector.encode(),
            self.domain.encode(),
            self.private,
            authserv_id.encode(),
            include_headers=[b"from", b"to", b"subject", b"date", b"message-id"],
        )
        return b"".join(found) + mail

    def by_hand(
        self,
        mail: bytes,
        *,
        fields: Sequence[str] = USUAL_FIELDS,
        age_s: float = 0,
        lasts_s: float | None = None,
        sha1: bool = False,
        **tags: bytes | None,
    ) -> bytes:
        """Return the mail signed with RSA, relaxed/relaxed, by tags of any kind.

        Tags stand in for those that a signer writes (`d`, `s`, `i`, `h`, …), so that a
        stranger's signature can say what no signer would.

        Args:
            mail: With CRLF line ends.
            fields: What h= names, and what is signed.
            age_s: How long ago t= says that it was.
            lasts_s: From t= to x=; None: no x=.
            sha1: rsa-sha1, as in old times.
            tags: Further ones, or others; None leaves one out.
        """
        head, _, body = mail.partition(b"\r\n\r\n")
        made = int(time.time() - age_s)
        algorithm = hashes.SHA1() if sha1 else hashes.SHA256()
        digest = hashlib.new(algorithm.name, _relaxed_body(body)).digest()
        said = {
            "v": b"1",
            "a": b"rsa-sha1" if sha1 else b"rsa-sha256",
            "c": b"relaxed/relaxed",
            "d": self.domain.encode(),
            "s": self.selector.encode(),
            "t": b"%d" % made,
            **({} if lasts_s is None else {"x": b"%d" % (made + int(lasts_s))}),
            "h": ":".join(fields).encode(),
            "bh": base64.b64encode(digest),
            **tags,
            "b": b"",
        }
        field = b"DKIM-Signature: " + b"; ".join(
            name.encode() + b"=" + value
            for name, value in said.items()
            if value is not None
        )
        left = _fields(head)
        signed = b""
        for name in fields:
            at = [n for n, one in enumerate(left) if one[0] == name.encode()]
            if at:
                signed += _relaxed(left.pop(at[-1])) + b"\r\n"
        signed += _relaxed(_fields(field)[0])
        signature = rsa_key(self.bits, self.number).sign(
            signed, padding.PKCS1v15(), algorithm
        )
        return field + base64.b64encode(signature) + b"\r\n" + mail


def _fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return lower-case names and values, folded as they are, of a header block."""
    return [
        (name.rstrip().lower(), value)
        for name, _, value in (
            line.partition(b":") for line in re.split(rb"\r\n(?![ \t])", head)
        )
    ]


def _relaxed(one: tuple[bytes, bytes]) -> bytes:
    """Return a field as RFC 6376 section 3.4.2 has it."""
    name, value = one
    value = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip()
    return name + b":" + value


def _relaxed_body(body: bytes) -> bytes:
    """Return a body as RFC 6376 section 3.4.4 has it."""
    lines = [
        re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")
    ]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)
