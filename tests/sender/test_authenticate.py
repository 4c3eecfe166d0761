"""A mail is checked as a whole: SPF and DKIM, and DMARC from both."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from relay.core.authentication import Identity, Result
from relay.core.model import RawMail
from relay.sender import dkim, dmarc, spf
from tests.fakes.authentication import MAIL, request_for
from tests.fakes.signing import GMAIL, Signer
from tests.fakes.waiting import until


@pytest.fixture
def corp(dns):
    """The domain of the author: SPF, DMARC, and a key."""
    dns.txt("corp.example", "v=spf1 ip4:192.0.2.1 -all")
    dns.dmarc("corp.example", "v=DMARC1; p=reject")
    return Signer("corp.example").publish(dns)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
async def test_signed_mail_passes(checker, corp, dns, kind):
    """A signature of the author's domain proves the author, whoever delivers."""
    signer = Signer("corp.example", f"by-{kind}", kind).publish(dns)
    found = await checker.check(signer.sign(MAIL), peer="203.0.113.9")
    (signature,) = found.dkim
    assert (signature.result, signature.counts, signature.aligned) == (
        Result.PASS, True, True,
    )  # fmt: skip
    assert found.spf[0].result is Result.FAIL
    assert found.dmarc.result is Result.PASS
    assert (found.dmarc.dkim_aligned, found.dmarc.spf_aligned) == (True, False)


async def test_spf_alone_passes(checker, corp):
    """A peer that the author's domain names proves it without a signature."""
    found = await checker.check()
    assert found.dkim == ()
    assert (found.spf[0].identity, found.spf[0].result) == (
        Identity.MAIL_FROM, Result.PASS,
    )  # fmt: skip
    assert found.dmarc.result is Result.PASS
    assert found.dmarc.spf_aligned


async def test_nothing_proves_a_forged_author(checker, corp, dns):
    """SPF and a signature of the forger's own domain do not help."""
    dns.txt("evil.example", "v=spf1 ip4:203.0.113.9 -all")
    signed = Signer("evil.example").publish(dns).sign(MAIL)
    found = await checker.check(
        signed, mail_from="x@evil.example", peer="203.0.113.9", helo="evil.example"
    )
    assert [one.result for one in found.spf] == [Result.PASS, Result.PASS]
    assert found.dkim[0].counts
    assert not found.dkim[0].aligned
    assert (found.dmarc.result, found.dmarc.policy) == (Result.FAIL, "reject")


async def test_signature_of_an_open_mail_does_not_count(checker, corp):
    """A genuine signature that leaves Content-Type open is told, and not counted."""
    found = await checker.check(corp.sign(MAIL, fields=GMAIL), peer="203.0.113.9")
    assert found.dkim[0].result is Result.PASS
    assert found.dkim[0].missing == ("content-type",)
    assert not found.dmarc.dkim_aligned
    assert found.dmarc.result is Result.POLICY
    assert "content-type" in found.dmarc.text


async def test_silent_dns_is_temporary(dns, checker, corp):
    """Nobody knows: neither a pass, nor a fail, nor nothing."""
    dns.fail("servfail")
    found = await checker.check(corp.sign(MAIL))
    assert {one.result for one in found.spf} == {Result.TEMPERROR}
    assert found.dkim[0].result is Result.TEMPERROR
    assert found.dmarc.result is Result.TEMPERROR


@pytest.mark.parametrize(
    ("place", "name"),
    [(spf, "check"), (dkim, "read_signatures"), (dmarc, "check")],
    ids=["spf", "dkim", "dmarc"],
)
async def test_a_fault_of_ours_is_temporary(checker, corp, monkeypatch, place, name):
    """A bug is logged, and the mail comes again: it is neither taken nor refused."""

    def fail(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(place, name, fail)
    with capture_logs() as lines:
        found = await checker.check(corp.sign(MAIL))
    assert [line["event"] for line in lines] == ["sender_check_failed"]
    results = {one.result for one in (*found.spf, *found.dkim)} | {found.dmarc.result}
    assert Result.TEMPERROR in results
    assert lines[0]["check"] in {"spf", "dkim", "dmarc"}


async def test_file_that_is_gone_is_temporary(checker, corp, tmp_path):
    """A large mail whose file cannot be read is neither good nor bad."""
    data = corp.sign(MAIL)
    request = replace(
        request_for(data), raw=RawMail(len(data), "", path=tmp_path / "gone")
    )
    with capture_logs():
        found = await checker.authenticator.authenticate(request)
    assert found.dkim[0].result is Result.TEMPERROR


async def test_large_mail_in_a_file(checker, corp, tmp_path):
    """The body is read from the file of the spool."""
    data = corp.sign(MAIL + b"more\r\n" * 50_000)
    path = tmp_path / "mail"
    path.write_bytes(data)
    request = replace(request_for(data), raw=RawMail(len(data), "", path=path))
    found = await checker.authenticator.authenticate(request)
    assert found.dkim[0].counts


async def test_cancelled_check_ends(dns, checker):
    """A session that ends takes its check with it, and nothing is left."""
    dns.fail("silence")
    waiting = asyncio.ensure_future(checker.check())
    await until(lambda: dns.counts)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_mails_side_by_side(dns, checker, corp):
    """Many at a time come to the results of one after another."""
    signed = [corp.sign(MAIL + b"%d\r\n" % number) for number in range(20)]
    found = await asyncio.gather(*(checker.check(data) for data in signed))
    assert all(one.dkim[0].counts for one in found)
    assert len({one.dkim[0].digest for one in found}) == 20
    assert dns.dmarc_queries() == 2
