"""Forged mail through a mail server that writes down what it found.

The server is trusted with its word, `Authentication-Results`; what its word leaves open
stays open: a signature that passes speaks of the fields that it covers, and of no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.forgery.attacks import FROM_ADA, cut, genuine, mail, minimal, signed
from tests.forgery.ways import Delivery, Relay
from tests.forgery.world import CORP, EVIL, EVIL_PEER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.forgery.ways import Answer

UPSTREAM = "192.0.2.200"
AUTHSERV = f"""
[[sender.authserv]]
id = "mx.corp.example"
networks = ["{UPSTREAM}/32"]
"""
PASSED = "dkim=pass header.d=corp.example; dmarc=pass header.from=corp.example"


@pytest.fixture(scope="module")
def relay(tmp_path_factory) -> Iterator[Relay]:
    """Run a relay behind a server of the company."""
    folder = tmp_path_factory.mktemp("upstream") / "relay"
    with Relay(folder, tables=AUTHSERV) as one:
        yield one


def stamped(
    relay: Relay, raw: bytes, *found: str, peer: str = UPSTREAM, by: str = ""
) -> Answer:
    """Hand a mail over as the server does, with what it found on top."""
    by = by or "mx.corp.example"
    top = "".join(f"Authentication-Results: {by}; {one}\r\n" for one in found)
    return relay.smtp(Delivery(top.encode() + raw, "mallory@evil.example", peer))


def test_honest_mail(relay):
    """Her mail is taken on the server's word."""
    answer = stamped(relay, signed(), PASSED)
    assert (answer.code, answer.state) == (250, "queued")
    assert "says mx.corp.example" in answer.row["verdict"]["proof"]


def other_to() -> bytes:
    """Return a mail that her server signed without To, which the stranger changed."""
    little = CORP.sign(genuine(), fields=("from", "subject", "date", "content-type"))
    return little.replace(b"ben@customer.example", b"carl@customer.example")


@pytest.mark.parametrize(
    ("raw", "found", "cause"),
    [
        # One signature passes and leaves To open; another one covers it and fails.
        (
            lambda: EVIL.by_hand(other_to(), d=b"corp.example"),
            f"dkim=fail header.d=corp.example; {PASSED}",
            "S205",
        ),
        (
            lambda: EVIL.by_hand(cut(), d=b"corp.example"),
            f"dkim=fail header.d=corp.example; {PASSED}",
            "S205",
        ),
        (other_to, PASSED, "S205"),
        (lambda: b"Subject: New account\r\n" + signed(), PASSED, "S206"),
    ],
    ids=["signature beside it", "l= beside it", "To left open", "second Subject"],
)
def test_what_a_signature_leaves_open(relay, raw, found, cause):
    """A good signature on little, and a bad one on everything, prove nothing."""
    answer = stamped(relay, raw(), found)
    assert answer.state in {"held", "refused"}, answer.row["verdict"]["proof"]
    assert answer.cause == cause


@pytest.mark.parametrize(
    ("found", "options"),
    [
        ([PASSED], {"peer": EVIL_PEER}),
        ([PASSED], {"by": "mx.evil.example"}),
        (["dmarc=fail header.from=corp.example", PASSED], {}),
        (["dmarc=pass header.from=evil.example"], {}),
        (["dkim=pass header.d=evil.example; dmarc=fail"], {}),
        (['dkim=pass reason="header.d=corp.example" header.d=evil.example'], {}),
        (["dkim=pass header.d=evil.example (header.d=corp.example)"], {}),
        (["spf=pass smtp.mailfrom=mallory@evil.example; dmarc=pass"], {}),
        (['spf=pass smtp.mailfrom="ada@corp.example"@evil.example'], {}),
        (["spf=pass smtp.helo=corp.example"], {}),
        (["none"], {}),
    ],
)
def test_another_word(relay, found, options):
    """Another server, another peer, another domain, or a field further down."""
    answer = stamped(relay, mail(FROM_ADA), *found, **options)
    assert answer.state == "refused"
    assert answer.cause.startswith("S2")


def test_its_word_stands_below_a_hop(relay):
    """What stands below a Received field came with the mail."""
    raw = (
        b"Received: from evil by mx.corp.example; now\r\n"
        b"Authentication-Results: mx.corp.example; " + PASSED.encode() + b"\r\n"
    )
    answer = stamped(relay, raw + mail(FROM_ADA), "dmarc=fail")
    assert answer.state == "refused"


def test_minimal_is_held(relay):
    """A signature that leaves a field open is kept for her, on whoever's word."""
    answer = stamped(relay, minimal(), PASSED)
    assert (answer.state, answer.cause) == ("held", "S205")
