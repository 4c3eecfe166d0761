"""DKIM: examples of the RFCs, keys and tags that do not count, signed coverage."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime, timedelta

import dkim
import pytest

from relay.core.authentication import Result
from relay.sender.dkim import MAX_NAMED, MAX_SIGNATURES, read_signatures
from tests.fakes.authentication import MAIL, Checker, head_of
from tests.fakes.signing import (
    APPLE,
    GMAIL,
    MICROSOFT,
    SES,
    USUAL_FIELDS,
    YAHOO,
    Signer,
    rsa_key,
)

CORP = Signer("corp.example")

# RFC 8463 appendix A.3: one mail, an Ed25519 and an RSA signature.
RFC8463 = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")
RFC8463_KEYS = {
    "brisbane": "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "test": (
        "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3"
        "idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+y"
        "z1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
    ),
}


async def test_example_of_rfc_8463(dns, checker):
    """Both signatures of the RFC's mail are good; its RSA key is weak today."""
    for selector, record in RFC8463_KEYS.items():
        dns.txt(f"{selector}._domainkey.football.example.com", record)
    found = await checker.check(RFC8463, author="joe@football.example.com")
    assert [(one.selector, one.result, one.weak) for one in found.dkim] == [
        ("brisbane", Result.PASS, False),
        ("test", Result.PASS, True),
    ]
    assert all(one.counts for one in found.dkim)
    assert found.dkim[0].signed_at == datetime(2018, 6, 10, 13, 38, 29, tzinfo=UTC)
    assert found.dkim[0].digest != found.dkim[1].digest


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
@pytest.mark.parametrize(
    "form", ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"]
)
async def test_every_form(dns, checker, kind, form):
    """Each canonical form of header and body, with each kind of key."""
    signer = Signer("corp.example", kind, kind).publish(dns)
    found = await checker.check(signer.sign(MAIL, canonicalize=form))
    assert found.dkim[0].counts


async def test_relaxed_survives_the_way(dns, checker):
    """Blanks and folding may change under `relaxed`, words may not."""
    signed = CORP.publish(dns).sign(MAIL)
    way = signed.replace(b"here is  the", b"here is\tthe").replace(
        b"Subject: The", b"SUBJECT:\r\n  The "
    )
    assert (await checker.check(way + b"\r\n\r\n")).dkim[0].counts
    for broken in (
        signed.replace(b"offer. ", b"0ffer. "),
        signed.replace(b"The offer\r", b"The order\r"),
        signed.replace(b"<ada@", b"<eve@"),
    ):
        (one,) = (await checker.check(broken)).dkim
        assert one.result is Result.FAIL
        assert "changed after signing" in one.text


async def test_key_of_another_mail_system(dns, checker):
    """A signature made with another key than the published one fails."""
    Signer("corp.example", number=1).publish(dns)
    found = await checker.check(CORP.sign(MAIL))
    assert found.dkim[0].result is Result.FAIL


# ------------------------------------------------------------------ keys


KEYS = [
    ("no key", None, Result.PERMERROR, "there is no key"),
    ("revoked", "v=DKIM1; p=", Result.PERMERROR, "revoked"),
    ("other text", "hello", Result.PERMERROR, "there is no key"),
    ("other version", "v=DKIM2; p=AAAA", Result.PERMERROR, "not of DKIM"),
    ("no tags", "v=DKIM1; p=AAAA; p=BBBB", Result.PERMERROR, "no list of tags"),
    ("no base64", "v=DKIM1; p=!!!!", Result.PERMERROR, "cannot be read"),
    ("no key inside", "v=DKIM1; p=AAAA", Result.PERMERROR, "cannot be read"),
    ("too long", "v=DKIM1; p=" + "A" * 5000, Result.PERMERROR, "too long"),
    ("other kind", "v=DKIM1; k=ed25519; p=AAAA", Result.PERMERROR, "not for rsa"),
    ("unknown kind", "v=DKIM1; k=dsa; p=AAAA", Result.PERMERROR, "not for rsa"),
    ("for SHA-1", CORP.record("h=sha1; "), Result.PERMERROR, "SHA-256"),
    ("for both hashes", CORP.record("h=sha1:sha256; "), Result.PASS, "signed by"),
    ("for e-mail", CORP.record("s=email; "), Result.PASS, "signed by"),
    ("for other uses too", CORP.record("s=other : email; "), Result.PASS, "signed by"),
    ("for reports", CORP.record("s=tlsrpt; "), Result.PERMERROR, "not for e-mail"),
    ("a test", CORP.record("t=y; "), Result.POLICY, "test"),
    ("a test, strict", CORP.record("t=s:y; "), Result.POLICY, "test"),
    ("strict", CORP.record("t=s; "), Result.PASS, "signed by"),
    ("unknown tags", CORP.record("n=note; x=y; "), Result.PASS, "signed by"),
    ("no version", CORP.record().replace("v=DKIM1; ", ""), Result.PASS, "signed by"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "result", "words"),
    [case[1:] for case in KEYS],
    ids=[case[0] for case in KEYS],
)
async def test_key_records(dns, checker, record, result, words):
    """What a key record may say (RFC 6376 section 3.6.1)."""
    if record is not None:
        dns.txt("test._domainkey.corp.example", record)
    (one,) = (await checker.check(CORP.sign(MAIL))).dkim
    assert (one.result, words in one.text) == (result, True), one.text


async def test_ed25519_key_of_another_length(dns, checker):
    """RFC 8463 section 4: 32 bytes, no more and no less."""
    dns.txt("test._domainkey.corp.example", "v=DKIM1; k=ed25519; p=AAAA")
    signer = Signer("corp.example", kind="ed25519")
    (one,) = (await checker.check(signer.sign(MAIL))).dkim
    assert (one.result, "cannot be read" in one.text) == (Result.PERMERROR, True)


async def test_library_that_fails_has_verified_nothing(dns, checker, monkeypatch):
    """Whatever a stranger's bytes do to dkimpy is a result."""

    def fail(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(dkim.DomainSigner, "verify_sig_process", fail)
    (one,) = (await checker.check(CORP.publish(dns).sign(MAIL))).dkim
    assert (one.result, "ZeroDivisionError" in one.text) == (Result.PERMERROR, True)


async def test_key_beside_other_texts(dns, checker):
    """Texts without `p=` at the key's name are passed over."""
    dns.txt("test._domainkey.corp.example", "a note")
    CORP.publish(dns)
    assert (await checker.check(CORP.sign(MAIL))).dkim[0].counts


@pytest.mark.parametrize(
    ("bits", "result", "weak"),
    [
        (1024, Result.PASS, True),
        (1536, Result.PASS, True),
        (2048, Result.PASS, False),
        (4096, Result.PASS, False),
    ],
)
async def test_sizes_of_keys(dns, checker, bits, result, weak):
    """RFC 8301: short keys are weak, and named so."""
    signer = Signer("corp.example", bits=bits).publish(dns)
    (one,) = (await checker.check(signer.sign(MAIL))).dkim
    assert (one.result, one.weak, one.key_bits) == (result, weak, bits)
    assert (f"weak key of {bits} bits" in one.text) is weak


def der(number):
    """Return a positive ASN.1 integer."""
    data = number.to_bytes(number.bit_length() // 8 + 1)
    return b"\x02" + length(len(data)) + data


def length(size):
    if size < 128:
        return bytes([size])
    data = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([0x80 | len(data)]) + data


def rsa_record(modulus, exponent):
    body = der(modulus) + der(exponent)
    key = b"\x30" + length(len(body)) + body
    return f"v=DKIM1; p={base64.b64encode(key).decode()}"


@pytest.mark.parametrize(
    ("modulus", "exponent", "words"),
    [
        ((1 << 511) + 1, 65_537, "fewer than 1024"),
        ((1 << 1022) + 1, 65_537, "fewer than 1024"),
        ((1 << 9000) + 1, 65_537, "too big"),
        ((1 << 2047) + 1, (1 << 2000) + 1, "too big"),
    ],
)
async def test_keys_out_of_bounds(dns, checker, modulus, exponent, words):
    """A short key proves nothing, and a huge one would cost seconds."""
    dns.txt("test._domainkey.corp.example", rsa_record(modulus, exponent))
    (one,) = (await checker.check(CORP.sign(MAIL))).dkim
    assert (one.result, words in one.text) == (Result.POLICY, True), one.text


async def test_strict_key_and_identity(dns, checker):
    """`t=s`: i= may not be below d=; without it, it may (RFC 6376 section 3.6.1)."""
    below = CORP.sign(MAIL, identity="ada@mail.corp.example")
    CORP.publish(dns, "t=s; ")
    (one,) = (await checker.check(below)).dkim
    assert (one.result, "t=s" in one.text) == (Result.PERMERROR, True)
    dns.zones.clear()
    CORP.publish(dns)
    other = Checker(dns)
    assert (await other.check(below)).dkim[0].identity == "ada@mail.corp.example"
    await other.close()


# ------------------------------------------------------------------ tags


def changed(old, new):
    """Return the signed mail with the signature field edited."""
    field = CORP.field(MAIL)
    assert old in field, (old, field)
    return field.replace(old, new, 1) + MAIL


def times(signed, expires=None):
    tags = b"t=" + str(int(signed.timestamp())).encode()
    if expires is not None:
        tags += b"; x=" + str(int(expires.timestamp())).encode()
    return tags


TAGS = [
    ("other version", b"v=1;", b"v=2;", Result.PERMERROR, "version"),
    ("no version", b"v=1; ", b"", Result.PERMERROR, "no v="),
    ("no key name", b"s=test; ", b"", Result.PERMERROR, "no s="),
    ("SHA-1", b"rsa-sha256", b"rsa-sha1", Result.POLICY, "SHA-1"),
    ("unknown algorithm", b"rsa-sha256", b"rsa-sha512", Result.PERMERROR, "not known"),
    ("unknown form", b"relaxed/relaxed", b"relaxed/nice", Result.PERMERROR, "c="),
    ("a length", b"q=dns", b"l=0; q=dns", Result.POLICY, "l="),
    ("other identity", b"i=@corp.example", b"i=@evil.example", Result.PERMERROR, "i="),
    ("half identity", b"i=@corp.example", b"i=@xcorp.example", Result.PERMERROR, "i="),
    ("no domain", b"d=corp.example", b"d=corp example", Result.PERMERROR, "d="),
    ("no time", b"t=", b"t=x", Result.PERMERROR, "t= is no time"),
    ("late time", b"t=", b"t=99999999999", Result.PERMERROR, "t= is no time"),
    ("twice a tag", b"q=dns", b"s=test; q=dns", Result.PERMERROR, "no list of tags"),
    ("no tags", b"v=1;", b";;;", Result.PERMERROR, "no list of tags"),
    ("other query", b"q=dns/txt", b"q=ldap", Result.PERMERROR, "q="),
    ("250 names", b"from :", b"from :" + b"a:" * 250, Result.PERMERROR, "h= names"),
    ("broken hash", b"bh=", b"bh=!", Result.PERMERROR, "bh="),
    ("From not signed", b"from :", b"frog :", Result.PERMERROR, "From is not signed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "result", "words"),
    [case[1:] for case in TAGS],
    ids=[case[0] for case in TAGS],
)
async def test_tags_that_do_not_count(dns, checker, old, new, result, words):
    """A signature that may not count is told with its reason (section 6.1.1)."""
    CORP.publish(dns)
    (one,) = (await checker.check(changed(old, new))).dkim
    assert (one.result, words in one.text) == (result, True), one.text


async def test_appended_text_behind_a_length(dns, checker):
    """`l=`: the signature would verify with a stranger's text behind it."""
    CORP.publish(dns)
    signed = CORP.sign(MAIL, length=True) + b"Pay to this account instead.\r\n"
    assert dkim.verify(
        signed, dnsfunc=lambda *_, **__: CORP.record().encode()
    )  # The library takes it.
    (one,) = (await checker.check(signed)).dkim
    assert (one.result, one.counts) == (Result.POLICY, False)


class Later:
    """A clock that is set."""

    def __init__(self, now):
        self._now = now

    def now(self):
        return self._now

    def boottime_s(self):
        return time.monotonic()


@pytest.mark.parametrize(
    ("offset", "result"),
    [
        (timedelta(hours=-2), Result.POLICY),
        (timedelta(minutes=-50), Result.PASS),
        (timedelta(), Result.PASS),
        (timedelta(days=7), Result.PASS),
    ],
)
async def test_signed_in_the_future(dns, offset, result):
    """`t=` may be an hour ahead of our clock, and no more."""
    checker = Checker(dns, clock=Later(datetime.now(UTC) + offset))
    (one,) = (await checker.check(CORP.publish(dns).sign(MAIL))).dkim
    await checker.close()
    assert one.result is result


@pytest.mark.parametrize(
    ("age", "result", "words"),
    [
        (timedelta(days=6), Result.FAIL, "changed"),
        (timedelta(days=7, minutes=50), Result.FAIL, "changed"),
        (timedelta(days=7, hours=2), Result.POLICY, "expired on"),
    ],
)
async def test_expired(dns, age, result, words):
    """`x=`: past its time, with an hour for clocks, a signature does not count.

    The field is edited, so that an unexpired one fails in the end.
    """
    now = datetime.now(UTC)
    CORP.publish(dns)
    field = CORP.field(MAIL)
    old = field[field.index(b"t=") : field.index(b";", field.index(b"t="))]
    data = field.replace(old, times(now, now + timedelta(days=7))) + MAIL
    checker = Checker(dns, clock=Later(now + age))
    (one,) = (await checker.check(data)).dkim
    await checker.close()
    assert (one.result, words in one.text) == (result, True), one.text
    assert one.expires_at is not None


async def test_expires_before_it_was_signed(dns, checker):
    """Section 3.5: x= must be after t=."""
    now = datetime.now(UTC)
    field = CORP.field(MAIL)
    old = field[field.index(b"t=") : field.index(b";", field.index(b"t="))]
    data = field.replace(old, times(now, now - timedelta(minutes=5))) + MAIL
    (one,) = (await checker.check(data)).dkim
    assert (one.result, "x= is before" in one.text) == (Result.PERMERROR, True)


# ------------------------------------------------------------------ coverage


def without(mail, *names):
    """Return a mail without these fields."""
    head, _, body = mail.partition(b"\r\n\r\n")
    lines = [
        line
        for line in head.split(b"\r\n")
        if line.partition(b":")[0].decode().lower() not in names
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def coverage(dns, checker, signed):
    CORP.publish(dns)
    (one,) = (await checker.check(signed)).dkim
    assert one.result is Result.PASS, one.text
    return one.missing


@pytest.mark.parametrize(
    "line",
    [
        b"To: Eve <eve@evil.example>",
        b"Cc: eve@evil.example",
        b"Subject: The order",
        b"Date: Tue, 1 Dec 2026 11:00:00 +0000",
        b"Message-ID: <2@corp.example>",
        b"Content-Type: text/html",
        b"Content-Transfer-Encoding: base64",
        b"MIME-Version: 1.0",
        b"In-Reply-To: <3@corp.example>",
        b"Reply-To: eve@evil.example",
    ],
)
async def test_a_second_field_on_top(dns, checker, line):
    """A genuine signature still verifies under it; it does not count any more."""
    mail = MAIL.replace(
        b"Subject:",
        b"Cc: c@customer.example\r\nContent-Transfer-Encoding: 7bit\r\n"
        b"In-Reply-To: <0@x.example>\r\nReply-To: ada@corp.example\r\nSubject:",
    )
    names = sorted({one.strip() for one in USUAL_FIELDS if one != "from"})
    # Signed once each: nothing stops another one from being put on top.
    fields = ["from", *(name for name in names if name != "resent-from")]
    signed = CORP.sign(mail, fields=fields)
    assert not await coverage(dns, checker, signed)
    name = line.partition(b":")[0].decode().lower()
    assert await coverage(dns, checker, line + b"\r\n" + signed) == (f"{name} twice",)


@pytest.mark.parametrize(
    "line",
    [
        b"Cc: eve@evil.example",
        b"Content-Transfer-Encoding: base64",
        b"Resent-From: ada@corp.example",
        b"Resent-To: eve@evil.example",
    ],
)
async def test_a_field_that_was_not_there(dns, checker, line):
    """A field that is added where none was signed is as good as changed."""
    fields = [name for name in USUAL_FIELDS if name.encode() in MAIL.lower()]
    signed = CORP.sign(MAIL, fields=fields)
    assert not await coverage(dns, checker, signed)
    name = line.partition(b":")[0].decode().lower()
    assert await coverage(dns, checker, line + b"\r\n" + signed) == (name,)
    oversigned = CORP.sign(MAIL, fields=[*fields, name])
    (one,) = (await checker.check(line + b"\r\n" + oversigned)).dkim
    assert one.result is Result.FAIL


@pytest.mark.parametrize(
    ("provider", "fields", "missing"),
    [
        ("gmail", GMAIL, ("content-type",)),
        ("microsoft", MICROSOFT, ("to",)),
        ("yahoo", YAHOO, ("content-type",)),
        ("apple", APPLE, ()),
        ("ses", SES, ()),
        ("careful", USUAL_FIELDS, ()),
    ],
)
async def test_what_providers_sign(dns, checker, provider, fields, missing):
    """What each leaves open is named; Message-ID and MIME-Version may be."""
    assert await coverage(dns, checker, CORP.sign(MAIL, fields=fields)) == missing


async def test_plain_mail_without_mime(dns, checker):
    """What is not there need not be signed: Gmail's text without Content-Type."""
    mail = without(MAIL, "content-type", "mime-version")
    assert not await coverage(dns, checker, CORP.sign(mail, fields=GMAIL))
    bare = without(MAIL, "content-type", "mime-version", "message-id", "to")
    assert not await coverage(dns, checker, CORP.sign(bare, fields=MICROSOFT))


async def test_caller_says_what_is_used(dns):
    """Fields that the caller does not use may be open."""
    CORP.publish(dns)
    head = head_of(CORP.sign(MAIL, fields=MICROSOFT))
    used = frozenset({"from", "subject"})
    _, (one,) = read_signatures(head, "corp.example", datetime.now(UTC), used)
    assert one.found.covers


async def test_a_second_from_breaks_the_signature(dns, checker):
    """Two authors: neither good nor covered."""
    signed = CORP.publish(dns).sign(MAIL)
    (one,) = (await checker.check(b"From: boss@corp.example\r\n" + signed)).dkim
    assert (one.result, one.covers) == (Result.FAIL, False)
    assert "from twice" in one.missing


# ------------------------------------------------------------------ two readers


@pytest.mark.parametrize(
    "insert",
    [
        (b"Subject: The offer", b"Subject: The\r\nFrom x\r\n offer"),
        (b"To: Ben", b"To : Eve <eve@evil.example>\r\nTo: Ben"),
        (b"To: Ben", b"From : eve@evil.example\r\nTo: Ben"),
        (b"To: Ben", b"no field\r\nTo: Ben"),
        (b"To: Ben", b"\xff\xfe: x\r\nTo: Ben"),
        (b"To: Ben", b": x\r\nTo: Ben"),
    ],
)
async def test_header_that_is_read_in_two_ways(dns, checker, insert):
    """Where dkimpy and our reader differ, no signature counts."""
    signed = CORP.publish(dns).sign(MAIL)
    (one,) = (await checker.check(signed.replace(*insert, 1))).dkim
    assert one.result in {Result.PERMERROR, Result.FAIL}
    assert not one.counts


async def test_mbox_line_on_top(dns, checker):
    """The line that mbox files begin mails with is passed over by both."""
    signed = b"From ada@corp.example Mon Nov 30 11:00:00 2026\r\n" + (
        CORP.publish(dns).sign(MAIL)
    )
    assert (await checker.check(signed)).dkim[0].counts


async def test_bare_line_ends(dns, checker):
    """A mail with LF alone is read like one with CR LF."""
    signed = CORP.publish(dns).sign(MAIL).replace(b"\r\n", b"\n")
    assert (await checker.check(signed)).dkim[0].counts


async def test_header_alone(dns, checker):
    """A mail may end with its header."""
    mail = MAIL.partition(b"\r\n\r\n")[0] + b"\r\n"
    assert (await checker.check(CORP.publish(dns).sign(mail))).dkim[0].counts


# ------------------------------------------------------------------ many, replayed


async def test_only_eight_are_verified(dns, checker):
    """The author's own come first; the others are named as not looked at."""
    other = Signer("list.example").publish(dns)
    signed = CORP.publish(dns).sign(MAIL)
    many = other.field(MAIL) * 20 + signed
    found = (await checker.check(many)).dkim
    assert len(found) == 21
    assert found[-1].counts
    assert sum(one.result is Result.PASS for one in found) == MAX_SIGNATURES
    left = [one for one in found if one.result is Result.POLICY]
    assert all("not looked at" in one.text for one in left)


async def test_a_thousand_signatures(dns, checker):
    """They cost a bounded number of questions and of lines."""
    junk = b"".join(
        b"DKIM-Signature: v=1; a=rsa-sha256; d=d%d.example; s=s; h=from; bh=AAAA; "
        b"b=AAAA\r\n" % number
        for number in range(1000)
    )
    CORP.publish(dns)
    found = await checker.check(junk + CORP.sign(MAIL))
    assert len(found.dkim) == MAX_SIGNATURES + MAX_NAMED
    assert found.dkim[-1].counts
    assert found.lookups < 25


async def test_digest_shows_a_replay(dns, checker):
    """The same signature has the same digest, however it is spelt or placed."""
    CORP.publish(dns)
    field = CORP.field(MAIL)
    start = field.index(b" b=") + 3
    spelt = field[:start] + field[start:].replace(b"A", b"A\r\n\t")
    first, second = [
        (await checker.check(data)).dkim[0]
        for data in (field + MAIL, b"Received: by relay.example\r\n" + spelt + MAIL)
    ]
    assert first.counts
    assert first.digest == second.digest
    again = (await checker.check(CORP.sign(MAIL + b"x\r\n"))).dkim[0]
    assert again.digest != first.digest


async def test_second_spelling_of_a_signature(dns, checker):
    """A signature plus the modulus is the same to dkimpy; here it is none."""
    signer = Signer("corp.example", bits=1024).publish(dns)
    modulus = rsa_key(1024).public_key().public_numbers().n
    for number in range(40):
        mail = MAIL + b"%d\r\n" % number
        field = signer.field(mail)
        start = field.index(b" b=") + 3
        value = int.from_bytes(base64.b64decode(b"".join(field[start:].split())))
        if value + modulus < 1 << 1024:
            break
    spelt = base64.b64encode((value + modulus).to_bytes(128))
    data = field[:start] + spelt + b"\r\n" + mail
    assert dkim.verify(data, dnsfunc=lambda *_, **__: signer.record().encode())
    (one,) = (await checker.check(data)).dkim
    assert (one.result, "fit" in one.text) == (Result.FAIL, True)


async def test_too_large_a_mail(dns):
    """Beyond the bound no body is hashed, and the text says so."""
    checker = Checker(dns, max_bytes=100, sealers=["a.example"])
    found = await checker.check(CORP.publish(dns).sign(MAIL))
    await checker.close()
    assert found.dkim[0].result is Result.POLICY
    assert "more than 100 bytes" in found.dkim[0].text
    assert found.arc is None
