"""Whatever a stranger sends: checks end and never raise; forms are those of dkimpy."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import fields

import dkim
import dkim.canonicalization
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.core.authentication import Authentication, from_json, plain
from relay.sender.canonical import PIECE_BYTES, BodyHash, body_hashes
from relay.sender.dkim import Problem, is_bounded, read_lines
from relay.sender.dmarc import Walk, read_record, targets
from tests.fakes.authentication import MAIL, Checker, raw_mail
from tests.fakes.dns import DNS
from tests.fakes.signing import Signer

FORMS = {
    "simple": dkim.canonicalization.Simple,
    "relaxed": dkim.canonicalization.Relaxed,
}
BODIES = st.lists(
    st.sampled_from(
        [b"a", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"xy", b"\0", b"\xff"]
    ),
    max_size=30,
).map(b"".join)


def by_dkimpy(body, form):
    """Return the hash that dkimpy makes of a body, as it takes it out of a mail."""
    _, parsed = dkim.rfc822_parse(b"A: b\r\n\r\n" + body)
    return hashlib.sha256(FORMS[form].canonicalize_body(parsed)).digest()


@pytest.mark.parametrize("form", FORMS)
@given(body=BODIES, cuts=st.lists(st.integers(1, 5), max_size=12))
def test_body_hash_is_dkimpys(form, body, cuts):
    """Wherever the body is cut, the hash is that of the whole body."""
    made = BodyHash(form)
    rest = body
    for cut in cuts:
        made.feed(rest[:cut])
        rest = rest[cut:]
    made.feed(rest)
    assert made.digest() == by_dkimpy(body, form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b" " * 9_000,
        b"\r\n" * 200_000,
        b" \r\n" * 100_000 + b"end",
        b"x" * (3 * PIECE_BYTES + 1),
        (b"a b\t c \r\n" * 40_000)[:-1],
        b"\r" * 100_000 + b"\n",
    ],
    ids=["empty", "line", "blanks", "lines", "blank lines", "long", "cut", "returns"],
)
def test_large_bodies(form, body):
    """The same for bodies of many pieces, from memory."""
    mail = b"A: b\r\n\r\n" + body
    assert body_hashes(raw_mail(mail), 6, [form]) == {form: by_dkimpy(body, form)}


# RFC 6376 sections 3.4.3 and 3.4.4: the hashes of an empty body; 3.4.5: an example.
@pytest.mark.parametrize(
    ("form", "body", "digest"),
    [
        ("simple", b"", "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="),
        ("relaxed", b"", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    ],
)
def test_empty_bodies_of_the_rfc(form, body, digest):
    """The base64 that the RFC prints."""
    import base64

    made = BodyHash(form)
    made.feed(body)
    assert base64.b64encode(made.digest()).decode() == digest


@pytest.mark.parametrize(
    ("form", "canonical"),
    [("simple", b" C \r\nD \t E\r\n"), ("relaxed", b" C\r\nD E\r\n")],
)
def test_example_of_the_rfc(form, canonical):
    """RFC 6376 section 3.4.5."""
    made = BodyHash(form)
    made.feed(b" C \r\nD \t E\r\n\r\n\r\n")
    assert made.digest() == hashlib.sha256(canonical).digest()


# ------------------------------------------------------------------ never raises


@pytest.fixture(scope="module")
def server():
    with DNS() as running:
        running.txt("corp.example", "v=spf1 include:%{l}.%{d} mx a exists:%{i}._x -all")
        running.dmarc("corp.example")
        Signer("corp.example").publish(running)
        yield running


PIECES = st.sampled_from(
    [
        b"From: ada@corp.example\r\n",
        b"From: =?utf-8?q?a=00?= <a\0@corp.example>\r\n",
        b"From:\r\n ada\r\n\t@corp.example\r\n",
        b"From : x@y\r\n",
        b"Subject: \xff\xfe\r\n",
        b"\xe2\x80\xa8: x\r\n",
        b" folded\r\n",
        b"no field\r\n",
        b"\r\n",
        b"\n",
        b"\0",
        (
            b"DKIM-Signature: v=1; a=rsa-sha256; d=corp.example; s=test; h=from; "
            b"bh=AA==; b=AA==\r\n"
        ),
        (
            b"DKIM-Signature: v=1; a=ed25519-sha256; d=corp.example; s=test; h=from; "
            b"c=relaxed/simple; bh=AA==; b=AA==\r\n"
        ),
        b"DKIM-Signature: ;;;=\r\n",
        b"DKIM-Signature:\r\n",
        b"DKIM-Signature: v=1; d=\xff; s=\xff; h=" + b"a:" * 3000 + b"\r\n",
        b"DKIM-Signature: v=1; b=" + b"\r\n " * 400 + b"\r\n",
        b"ARC-Seal: i=1; cv=none; a=rsa-sha256; d=corp.example; s=test; b=AA==\r\n",
        (
            b"ARC-Message-Signature: i=1; a=rsa-sha256; d=corp.example; s=test; "
            b"h=from; bh=AA==; b=AA==\r\n"
        ),
        b"ARC-Authentication-Results: i=1; x; dkim=pass\r\n",
        b"ARC-Seal: i=999999999999999999; cv=pass\r\n",
        Signer("corp.example").field(MAIL),
    ]
)
TEXTS = st.text(alphabet='a.@[]\0é\\%{}"\r\n-1', max_size=20)


@given(
    head=st.lists(PIECES, max_size=8).map(b"".join),
    body=st.binary(max_size=20),
    peer=st.sampled_from(["", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "x"]),
    helo=TEXTS,
    mail_from=TEXTS,
    author=st.one_of(st.just("ada@corp.example"), TEXTS),
)
@example(b" folded first\r\n", b"", "192.0.2.1", "", "", "")
@example(b"DKIM-Signature:", b"", "192.0.2.1", "", "@", "a@" + "b" * 300)
def test_checks_never_raise(server, head, body, peer, helo, mail_from, author):
    """Any bytes give an Authentication, which can be stored and read again."""

    async def run():
        checker = Checker(server, sealers=["corp.example"], timeout_s=2.0)
        try:
            return await checker.check(
                head + b"\r\n" + body,
                author=author,
                mail_from=mail_from,
                peer=peer,
                helo=helo,
            )
        finally:
            await checker.close()

    found = asyncio.run(run())
    assert len(fields(found)) == len(fields(Authentication))
    assert from_json(plain(found)) == found
    assert not any(
        "log has the reason" in one.text for one in (*found.spf, *found.dkim)
    )


@given(st.lists(PIECES, max_size=8).map(b"".join))
def test_header_is_read_as_dkimpy_reads_it(head):
    """What is verified is what dkimpy would verify, or nothing is."""
    head = head.partition(b"\r\n\r\n")[0].partition(b"\n\n")[0]
    try:
        ours = [list(one) for one in read_lines(head)]
    except Problem:
        return
    assert ours == dkim.rfc822_parse(head.removeprefix(b"\r\n") or b"\r\n")[0]


@given(st.text(alphabet="a.-é", max_size=40))
def test_walks_are_short(domain):
    """No name asks for more than eight."""
    assert len(targets(domain)) <= 8
    assert Walk(domain).organizational_domain == domain


@given(st.lists(st.binary(max_size=60) | st.just(b"v=DMARC1; p=none"), max_size=4))
def test_any_texts_are_read(texts):
    """A DMARC record is read from whatever stands in the DNS."""
    read_record("corp.example", texts)


def test_bounds_keep_dkimpy_quick():
    """What is handed to dkimpy has no long run of blanks, which takes it seconds."""
    assert not is_bounded(b"v=1; b" + b"\r\n " * 30)
    assert not is_bounded(b"x" * 10_000)
    assert is_bounded(b"v=1; b=" + b"\r\n        QUJD" * 20)


def test_blanks_cost_no_more_than_words():
    """dkimpy needs 15 s for 300 KB of blanks, and a minute for twice as many."""
    made = BodyHash("relaxed")
    for _ in range(80):
        made.feed(b" " * PIECE_BYTES)
    made.feed(b"x\r\n")
    assert made.digest() == by_dkimpy(b" x\r\n", "relaxed")
