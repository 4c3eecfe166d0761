"""DKIM: who signed a mail, and whether the signature speaks of all that we use.

The way of a mail: `read_signatures` takes the DKIM-Signature fields apart, which needs
no DNS; `keys` asks for the keys; `judge` compares hashes and signatures, and says which
header fields each signature leaves open. dkimpy has the canonical header and the
cryptography; the body is hashed by `relay.sender.canonical`.

Reading and judging cost processor time and belong in a thread.

Two readers of one header must never disagree on it: what is verified is compared with
the reading of `relay.mail`, from which the mail is logged, and where they differ no
signature counts. The bounds on a field and on its white space are needed: an expression
in dkimpy takes seconds for 16 KB of folding.

Source: RFC 6376, RFC 8301 (no SHA-1, no short keys), RFC 8463 (Ed25519), RFC 8616.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import dkim  # type: ignore[import-untyped]  # it has no types
import dkim.crypto  # type: ignore[import-untyped]
import dkim.util  # type: ignore[import-untyped]

from relay.core.addresses import domain_key
from relay.core.authentication import Result, Signature
from relay.mail import header_fields
from relay.sender.canonical import RELAXED, SIMPLE
from relay.sender.resolver import DNSFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.sender.resolver import MailLookups

MAX_SIGNATURES: Final = 8
"""How many signatures of a mail are verified; the others are named as not looked at."""
MAX_NAMED: Final = 32
"""How many of those are named; a mail may have thousands."""

USED_FIELDS: Final = frozenset(
    {
        "from", "to", "cc", "subject", "date", "content-type", "content-disposition",
        "content-transfer-encoding", "resent-from", "resent-to", "resent-cc",
    }
)  # fmt: skip
"""Fields that decide whose mail it is, where it is logged, and what the log says. Each
that is there must be signed, once. See docs/decisions/0011-signed-coverage.md."""
SINGLE_FIELDS: Final = frozenset(
    {"message-id", "in-reply-to", "references", "reply-to", "sender", "mime-version"}
)
"""Fields that may be unsigned, since a stranger gains nothing by changing them, but
that no honest mail has twice."""

_FIELD: Final = re.compile(rb"([!-9;-~]+):")
_MAX_FIELD_BYTES: Final = 8192
_MAX_BLANKS: Final = 64
_BLANK_RUN: Final = re.compile(rb"[ \t\r\n\f\v]{%d}" % (_MAX_BLANKS + 1))
_MAX_SIGNED_NAMES: Final = 200
_MAX_KEY_RECORD: Final = 4096
_MIN_RSA_BITS: Final = 1024
_WEAK_RSA_BITS: Final = 2048
_MAX_RSA_BITS: Final = 8192
_MAX_EXPONENT_BITS: Final = 33
"""A bigger key would keep the processor busy for seconds (a power with both numbers of
a stranger); no signer has one."""
_ED25519_BITS: Final = 256
_CLOCK_S: Final = 3600
"""How far the clocks of two mail systems may be apart."""
_ALGORITHMS: Final = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}
_DIGITS: Final = re.compile(rb"[0-9]{1,12}")
_NAME: Final = re.compile(r"[a-z0-9_.-]{1,253}")
_MAX_SECONDS: Final = 253_402_300_799
"""The last second of the year 9999."""

SILENT: Final = logging.getLogger("relay.sender.dkimpy")
"""dkimpy reports strangers' mistakes as errors; they are results here."""
SILENT.disabled = True

HeaderLines = list[tuple[bytes, bytes]]
"""Names and values as they stand in the mail, the values with their line ends."""


class Problem(Exception):  # noqa: N818 - an answer
    """What a signature or key came to."""

    def __init__(self, result: Result, text: str) -> None:
        super().__init__(text)
        self.result = result


def _malformed(text: str) -> Problem:
    return Problem(Result.PERMERROR, text)


def _not_counted(text: str) -> Problem:
    return Problem(Result.POLICY, text)


# ------------------------------------------------------------------ reading


@dataclass(frozen=True, slots=True)
class ReadSignature:
    """A DKIM-Signature field taken apart.

    `found` is what is known of it so far; its result is `neutral` while nothing speaks
    against it. `index` is its place among the DKIM-Signature fields of the mail.
    """

    index: int
    found: Signature
    body_form: str = SIMPLE
    body_hash: bytes = b""
    signature: bytes = b""

    @property
    def is_open(self) -> bool:
        """Say whether it is worth a look at the key."""
        return self.found.result is Result.NEUTRAL

    @property
    def key_name(self) -> str:
        """Return where the key stands in the DNS (RFC 6376 section 3.6.2.1)."""
        return f"{self.found.selector}._domainkey.{self.found.domain}"

    def with_result(self, result: Result, text: str) -> ReadSignature:
        """Return it with its result."""
        return replace(self, found=replace(self.found, result=result, text=text))


def read_signatures(
    head: bytes,
    author_domain: str,
    now: datetime,
    used_fields: frozenset[str] = USED_FIELDS,
) -> tuple[HeaderLines, list[ReadSignature]]:
    """Return the header, line by line, and its signatures in the mail's order.

    At most `MAX_SIGNATURES` are left open, those of the author's domain first.

    Args:
        head: The header block, without the empty line.
        author_domain: As an A-label.
        now: For signatures that are expired, or of the future.
        used_fields: Lower-case names of fields that must be signed where they are.
    """
    fields = header_fields(head)
    count = sum(name == "dkim-signature" for name, _ in fields)
    try:
        lines = read_lines(head)
    except Problem as problem:
        unread = Signature("", "", problem.result, str(problem))
        return [], [ReadSignature(n, unread) for n in range(min(count, MAX_NAMED))]
    values = [value for name, value in lines if name.lower() == b"dkim-signature"]
    missing = _missing(fields, used_fields)
    order = sorted(
        range(len(values)), key=lambda n: not _may_be_of(values[n], author_domain)
    )
    read: dict[int, ReadSignature] = {}
    opened = 0
    for index in order[: MAX_SIGNATURES + MAX_NAMED]:
        one = _read_signature(index, values[index], now, missing)
        if one.is_open and opened >= MAX_SIGNATURES:
            text = f"not looked at: the mail has more than {MAX_SIGNATURES} signatures"
            one = one.with_result(Result.POLICY, text)
        opened += one.is_open
        read[index] = one
    return lines, [read[index] for index in sorted(read)]


def read_lines(head: bytes) -> HeaderLines:
    """Read a header as DKIM takes it, if `relay.mail` reads the same.

    The work grows with the size of the header alone; dkimpy's own reader needs a second
    for 256 KB of folding.

    Raises:
        Problem: They differ, or a line is no field.
    """
    found: list[tuple[bytes, list[bytes]]] = []
    for number, line in enumerate(head.replace(b"\r\n", b"\n").split(b"\n")):
        if line[:1] in {b" ", b"\t"} and found:
            found[-1][1].append(line)
        elif (start := _FIELD.match(line)) is not None:
            found.append((start[1], [line[start.end() :]]))
        elif line and not (number == 0 and line.startswith(b"From ")):
            raise _malformed("the header has a line that is no field")
    lines = [(name, b"\r\n".join([*parts, b""])) for name, parts in found]
    read = [
        (name.decode("ascii").lower(), value.replace(b"\r\n", b"").strip(b" \t\r"))
        for name, value in lines
    ]
    if header_fields(head) != read:
        raise _malformed("the header can be read in two ways")
    return lines


def is_bounded(value: bytes) -> bool:
    """Say whether dkimpy can be given a signature: see the top of this module."""
    return len(value) <= _MAX_FIELD_BYTES and not _BLANK_RUN.search(value)


def _may_be_of(value: bytes, domain: str) -> bool:
    """Say whether a signature may be of a domain or one above or below; a guess."""
    found = re.search(rb"(?:^|;)\s{0,64}d\s{0,64}=\s{0,64}([^\s;]{1,255})", value)
    if found is None:
        return False
    named = found[1].decode("utf-8", "replace").lower()
    return f".{named}".endswith(f".{domain}") or f".{domain}".endswith(f".{named}")


def _read_signature(
    index: int, value: bytes, now: datetime, missing: _Missing
) -> ReadSignature:
    one = ReadSignature(index, Signature("", "", Result.NEUTRAL))
    try:
        if not is_bounded(value):
            raise _malformed("the signature is too long, or has too much white space")
        try:
            tags = dkim.util.parse_tag_value(value)
        except dkim.util.InvalidTagValueList as error:
            raise _malformed("the signature is no list of tags") from error
        one = _named(one, tags, missing)
        _check_tags(one, tags, now)
    except Problem as problem:
        one = one.with_result(problem.result, str(problem))
    return one


def _text(tags: Mapping[bytes, bytes], tag: bytes) -> str:
    return tags.get(tag, b"").decode("utf-8", "replace")


def _named(
    one: ReadSignature, tags: Mapping[bytes, bytes], missing: _Missing
) -> ReadSignature:
    """Fill in what can be told of any signature, whether it is good or not."""
    domain = domain_key(_text(tags, b"d"))
    signature = _decoded(tags, b"b")
    uncovered = missing.for_signature(signed_names(tags))
    found = Signature(
        domain=domain[:253],
        selector=domain_key(_text(tags, b"s"))[:253],
        result=Result.NEUTRAL,
        identity=(_text(tags, b"i") or f"@{domain}")[:320],
        algorithm=_text(tags, b"a").lower()[:40],
        covers=not uncovered,
        missing=uncovered,
        signed_at=_time(tags, b"t"),
        expires_at=_time(tags, b"x"),
        digest=hashlib.sha256(signature).hexdigest() if signature else "",
    )
    form = _text(tags, b"c").partition("/")[2].strip().lower() or SIMPLE
    return replace(
        one,
        found=found,
        body_form=form,
        body_hash=_decoded(tags, b"bh"),
        signature=signature,
    )


def _check_tags(one: ReadSignature, tags: Mapping[bytes, bytes], now: datetime) -> None:
    """Check the tags of a signature (RFC 6376 section 6.1.1).

    Raises:
        Problem: It is malformed, or of a kind that does not count.
    """
    for tag in (b"v", b"a", b"b", b"bh", b"d", b"h", b"s"):
        if tag not in tags:
            raise _malformed(f"the signature has no {tag.decode()}=")
    if tags[b"v"] != b"1":
        raise _malformed(f"version {_text(tags, b'v')[:20]!r} of DKIM is not known")
    found = one.found
    if not _NAME.fullmatch(found.domain) or not _NAME.fullmatch(found.selector):
        raise _malformed("d= or s= is no domain name")
    if one.body_form not in {SIMPLE, RELAXED} or not one.body_hash or not one.signature:
        raise _malformed("c=, bh= or b= cannot be read")
    names = signed_names(tags)
    if "from" not in names:
        raise _malformed("From is not signed (RFC 6376 section 5.4)")
    if len(names) > _MAX_SIGNED_NAMES:
        raise _malformed(f"h= names more than {_MAX_SIGNED_NAMES} fields")
    if not _is_below(found.identity, found.domain):
        raise _malformed("i= is not a name of d= (RFC 6376 section 3.5)")
    for tag in (b"t", b"x"):
        if tag in tags and _time(tags, tag) is None:
            raise _malformed(f"{tag.decode()}= is no time")
    _check_rules(found, tags, now)


def _check_rules(found: Signature, tags: Mapping[bytes, bytes], now: datetime) -> None:
    """Refuse what a well-formed signature may say and a receiver need not take.

    Raises:
        Problem: It does not count.
    """
    if found.algorithm == "rsa-sha1":
        raise _not_counted("signed with SHA-1, which does not count (RFC 8301)")
    if found.algorithm not in _ALGORITHMS:
        raise _malformed(f"algorithm {found.algorithm!r} is not known")
    if b"l" in tags:
        raise _not_counted(
            "l= signs the beginning of the body alone: anybody may have added text "
            "(RFC 6376 section 8.2)"
        )
    now_s = now.timestamp()
    if found.signed_at and found.signed_at.timestamp() > now_s + _CLOCK_S:
        raise _not_counted(f"signed in the future: {found.signed_at:%Y-%m-%d %H:%M}")
    if found.expires_at and found.expires_at.timestamp() < now_s - _CLOCK_S:
        raise _not_counted(f"expired on {found.expires_at:%Y-%m-%d %H:%M} UTC")
    if (
        found.expires_at is not None
        and found.signed_at is not None
        and found.expires_at < found.signed_at
    ):
        raise _malformed("x= is before t= (RFC 6376 section 3.5)")


def signed_names(tags: Mapping[bytes, bytes]) -> list[str]:
    """Return the names in h=, lower case, as often as they stand there."""
    names = tags.get(b"h", b"").split(b":")
    return [name.strip().decode("utf-8", "replace").lower() for name in names]


def _decoded(tags: Mapping[bytes, bytes], tag: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(tags.get(tag, b"").split()), validate=True)
    except binascii.Error:
        return b""


def _time(tags: Mapping[bytes, bytes], tag: bytes) -> datetime | None:
    value = tags.get(tag, b"")
    if not _DIGITS.fullmatch(value) or int(value) > _MAX_SECONDS:
        return None
    return datetime.fromtimestamp(int(value), UTC)


def _is_below(identity: str, domain: str) -> bool:
    below = domain_key(identity.rpartition("@")[2])
    return below == domain or below.endswith(f".{domain}")


# ------------------------------------------------------------------ coverage


@dataclass(frozen=True, slots=True)
class _Missing:
    """Which fields of a mail a signature must name, and which stand twice."""

    present: tuple[str, ...]
    twice: tuple[str, ...]

    def for_signature(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return what a signature over these names leaves open."""
        signed = set(names)
        open_ = [name for name in self.present if name not in signed]
        return (*open_, *(f"{name} twice" for name in self.twice))


def _missing(
    fields: Sequence[tuple[str, bytes]], used_fields: frozenset[str]
) -> _Missing:
    """Say what a signature has to cover, by the fields that a mail has.

    A field that stands twice is never covered: verifiers take the last, readers the
    first (RFC 6376 section 8.15).
    """
    counts = Counter(name for name, _ in fields)
    needed = used_fields | {"from"}
    single = needed | SINGLE_FIELDS
    return _Missing(
        tuple(sorted(name for name in needed if counts[name])),
        tuple(sorted(name for name in single if counts[name] > 1)),
    )


# ------------------------------------------------------------------ keys


@dataclass(frozen=True, slots=True)
class Key:
    """A public key from the DNS, and a record of it that dkimpy reads.

    `modulus` is 0 for Ed25519. `strict` says that i= may not be below d=.
    """

    record: bytes
    kind: str
    bits: int
    modulus: int
    strict: bool


KeyOrProblem = Key | tuple[Result, str]


async def key(lookups: MailLookups, name: str, algorithm: str) -> KeyOrProblem:
    """Ask for a key, and read it; or return what the signature comes to without it."""
    try:
        answer = await lookups.txt(name)
    except DNSFailure as failure:
        return Result.TEMPERROR, f"the DNS did not give the key ({failure})"
    for record in answer.values:
        # Beside the key there may be other texts (RFC 6376 section 3.6.2.2).
        if b"p=" in b"".join(record.split()):
            try:
                return read_key(record, _ALGORITHMS[algorithm])
            except Problem as problem:
                return problem.result, str(problem)
    return Result.PERMERROR, f"there is no key at {name}"


def read_key(record: bytes, kind: str) -> Key:
    """Read a key record (RFC 6376 sections 3.6.1 and 6.1.2).

    Raises:
        Problem: It cannot be used for this signature.
    """
    if len(record) > _MAX_KEY_RECORD:
        raise _malformed("the key record is too long")
    try:
        tags = dkim.util.parse_tag_value(record)
    except dkim.util.InvalidTagValueList as error:
        raise _malformed("the key record is no list of tags") from error
    if tags.get(b"v", b"DKIM1") != b"DKIM1":
        raise _malformed("the key record is not of DKIM")
    if not tags.get(b"p"):
        raise _malformed("the key is revoked")
    found_kind = _text(tags, b"k").lower() or "rsa"
    if found_kind != kind:
        raise _malformed(f"the key is for {found_kind[:20]!r}, not for {kind}")
    hashes = [one.strip() for one in _text(tags, b"h").lower().split(":")]
    if b"h" in tags and "sha256" not in hashes:
        raise _malformed("the key is not for SHA-256")
    services = [one.strip() for one in (_text(tags, b"s") or "*").split(":")]
    if not {"*", "email"} & set(services):
        raise _malformed("the key is not for e-mail (s=)")
    flags = [one.strip() for one in _text(tags, b"t").split(":")]
    modulus = _rsa_modulus(tags[b"p"]) if kind == "rsa" else 0
    if kind == "ed25519" and len(_decoded(tags, b"p")) != _ED25519_BITS // 8:
        raise _malformed("the key cannot be read")
    bits = modulus.bit_length() or _ED25519_BITS
    if "y" in flags:
        # RFC 6376 section 3.6.1: as if the mail were not signed.
        raise _not_counted("the key is marked as a test (t=y)")
    # dkimpy fails on some records that are right, such as those for several services.
    plain = b"k=" + kind.encode() + b"; p=" + tags[b"p"]
    return Key(plain, kind, bits, modulus, "s" in flags)


def _rsa_modulus(text: bytes) -> int:
    """Return the modulus of an RSA key, if it may be used.

    Raises:
        Problem: It cannot be read, or is too short or too big to count.
    """
    try:
        data = base64.b64decode(b"".join(text.split()), validate=True)
        found = dkim.crypto.parse_public_key(data)
        modulus, exponent = int(found["modulus"]), int(found["publicExponent"])
    except Exception as error:
        # dkimpy's ASN.1 reader fails on broken data in many ways.
        raise _malformed("the key cannot be read") from error
    bits = modulus.bit_length()
    if bits < _MIN_RSA_BITS:
        raise _not_counted(
            f"the RSA key has {bits} bits; fewer than {_MIN_RSA_BITS} do not count "
            "(RFC 8301)"
        )
    if bits > _MAX_RSA_BITS or exponent.bit_length() > _MAX_EXPONENT_BITS:
        raise _not_counted(f"the RSA key is too big ({bits} bits)")
    return modulus


# ------------------------------------------------------------------ judging


class _HeadOnly(dkim.DKIM):  # type: ignore[misc]  # dkimpy has no types
    """A signature of which dkimpy verifies the header; the body is hashed elsewhere."""

    def verify_sig(
        self,
        sig: dict[bytes, bytes],
        include_headers: list[bytes],
        sig_header: tuple[bytes, bytes],
        dnsfunc: object,
    ) -> bool:
        """Leave out bh=, which dkimpy would compare with a body it does not have."""
        head = {tag: value for tag, value in sig.items() if tag != b"bh"}
        return bool(super().verify_sig(head, include_headers, sig_header, dnsfunc))


def judge(
    one: ReadSignature,
    lines: HeaderLines,
    key_or_problem: KeyOrProblem,
    bodies: Mapping[str, bytes],
) -> Signature:
    """Verify a signature; costs some milliseconds, never raises.

    Args:
        one: From `read_signatures`, open.
        lines: The header, from there too.
        key_or_problem: From `key`.
        bodies: The hash of the body in each form that signatures ask for.
    """
    if not isinstance(key_or_problem, Key):
        return one.with_result(*key_or_problem).found
    key = key_or_problem
    weak = key.kind == "rsa" and key.bits < _WEAK_RSA_BITS
    one = replace(one, found=replace(one.found, key_bits=key.bits, weak=weak))
    try:
        _check(one, lines, key, bodies)
    except Problem as problem:
        return one.with_result(problem.result, str(problem)).found
    text = f"signed by {one.found.domain}"
    if weak:
        text += f" with a weak key of {key.bits} bits"
    return one.with_result(Result.PASS, text).found


def _check(
    one: ReadSignature, lines: HeaderLines, key: Key, bodies: Mapping[str, bytes]
) -> None:
    """Raise `Problem` unless the signature is good."""
    found = one.found
    if key.strict and domain_key(found.identity.rpartition("@")[2]) != found.domain:
        raise _malformed("i= is below d=, which the key forbids (t=s)")
    if bodies.get(one.body_form) != one.body_hash:
        raise Problem(Result.FAIL, "the body was changed after signing")
    if key.kind == "rsa" and not (
        len(one.signature) == (key.bits + 7) // 8
        and int.from_bytes(one.signature) < key.modulus
    ):
        # RFC 8017 sections 5.2.2 and 8.2.2. dkimpy takes both, and so more than one
        # spelling of a signature: the digest would not show a replay.
        raise Problem(Result.FAIL, "the signature does not fit its key")
    try:
        good = _verify(one, lines, key)
    except dkim.DKIMException as error:
        raise _malformed(f"the signature cannot be verified: {error}"[:200]) from error
    except Exception as error:
        # Whatever a stranger's bytes did to dkimpy, they did not verify.
        name = type(error).__name__
        raise _malformed(f"the signature cannot be verified ({name})") from error
    if not good:
        text = "the header was changed after signing, or the key is another's"
        raise Problem(Result.FAIL, text)


def _verify(one: ReadSignature, lines: HeaderLines, key: Key) -> bool:
    """Let dkimpy verify the header, of which it gets the signed fields alone."""
    values = [value for name, value in lines if name.lower() == b"dkim-signature"]
    tags = dkim.util.parse_tag_value(values[one.index])
    wanted = {*signed_names(tags), "dkim-signature"}
    verifier = _HeadOnly(logger=SILENT)
    verifier.headers = [
        [name, value] for name, value in lines if name.decode().lower() in wanted
    ]
    return bool(verifier.verify(one.index, dnsfunc=lambda *_, **__: key.record))
