"""The demo's signatures are good ones, and cover the mail."""

from __future__ import annotations

import pytest

from relay.core.authentication import Result
from relay.sandbox.dns import txt_record
from relay.sandbox.signing import MailSigner
from tests.fakes.authentication import MAIL, Checker
from tests.fakes.dns import dns

__all__ = ["dns"]


@pytest.fixture
async def found(dns):
    """Check a mail that corp.example signed, as it is or changed on the way."""
    checker = Checker(dns)
    signer = MailSigner("corp.example")
    dns.records(signer.zone)

    async def check(mail=MAIL, change=lambda raw: raw):
        (one,) = (await checker.check(change(signer.sign(mail)))).dkim
        return one

    yield check
    await checker.close()


@pytest.mark.parametrize(
    "mail",
    [
        MAIL,
        MAIL.replace(b"Subject: ", b"Subject:\r\n  "),
        MAIL.partition(b"\r\n\r\n")[0] + b"\r\n\r\n",
        MAIL + b"\r\n\r\n",
        MAIL.replace(b"To: ", b"Cc: carl@customer.example\r\nTo: "),
    ],
    ids=["plain", "folded", "no text", "blank lines at the end", "Cc"],
)
async def test_it_counts(found, mail):
    """It passes, and covers all that the relay uses."""
    one = await found(mail)
    assert (one.result, one.counts, one.algorithm) == (
        Result.PASS,
        True,
        "ed25519-sha256",
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.replace(b"Dear Ben", b"Dear Eve"),
        lambda raw: raw.replace(b"Subject: The", b"Subject: No"),
        lambda raw: b"Cc: eve@evil.example\r\n" + raw,
    ],
    ids=["text", "subject", "field added"],
)
async def test_a_change_breaks_it(found, change):
    """What was changed, or added, after signing is seen."""
    assert (await found(change=change)).result is Result.FAIL


def test_the_key_stands_where_verifiers_look():
    """The record is that of RFC 8463, at the selector."""
    zone = MailSigner("corp.example").zone
    assert zone.startswith(txt_record("demo._domainkey.corp.example", "v=")[:27])
    assert "v=DKIM1; k=ed25519; p=" in zone
