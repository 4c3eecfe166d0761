"""ARC: the public validation suite, and what a chain is worth (RFC 8617).

Data and licence of the suite (ValiMail, arc_test_suite) stand in `data/`.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from relay.core.authentication import Result
from relay.core.model import RawMail
from relay.sender import arc
from relay.sender.canonical import body_hashes
from relay.sender.results import parse_methods
from tests.fakes.authentication import MAIL, Checker, head_of, raw_mail
from tests.fakes.dns import DNS
from tests.fakes.signing import Signer

SCENARIOS = json.loads(
    (Path(__file__).parent / "data" / "arc-validation-tests.json").read_text("utf-8")
)
CASES = [
    pytest.param(scenario, case, id=name)
    for scenario in SCENARIOS
    for name, case in scenario["tests"].items()
]
EXPECTED = {
    "Pass": Result.PASS,
    "Fail": Result.FAIL,
    "None": Result.NONE,
    # A chain that an earlier sealer ended: dkimpy gives no result, we a fail.
    "": Result.FAIL,
}


@pytest.fixture(scope="module")
def suite_dns():
    with DNS() as server:
        yield server


async def judged(server, data):
    head = head_of(data)
    chain = arc.read_chain(head)
    resolver = server.resolver()
    keys = await arc.chain_keys(resolver.for_mail(), chain)
    await resolver.close()
    bodies = body_hashes(raw_mail(data), len(head), chain.forms)
    return arc.judge_chain(chain, keys, bodies, [], "d1.example.org")


@pytest.mark.parametrize(("scenario", "case"), CASES)
def test_suite(suite_dns, scenario, case):
    """All 171 validation cases come to the suite's result."""
    suite_dns.zones.clear()
    for name, text in scenario["txt_records"].items():
        suite_dns.txt(name, text)
    data = case["message"].replace("\n", "\r\n").encode()
    found = asyncio.run(judged(suite_dns, data))
    assert found.result is EXPECTED[case["cv"]], case["description"]


RESULTS = (
    b"Authentication-Results: forwarder.example; dmarc=pass header.from=corp.example;"
    b" dkim=pass header.d=corp.example\r\n"
)


@pytest.fixture
def forwarder(dns):
    return Signer("forwarder.example").publish(dns)


@pytest.fixture
def sealed(forwarder):
    """A mail that a forwarder sealed, with what it had found."""
    return forwarder.seal(RESULTS + MAIL, "forwarder.example")


async def check(dns, data, *sealers):
    checker = Checker(dns, sealers=sealers)
    try:
        return (await checker.check(data)).arc
    finally:
        await checker.close()


async def test_not_looked_at_without_sealers(dns, sealed):
    """ARC is off until somebody is trusted: no key is asked for."""
    assert await check(dns, sealed) is None
    assert not dns.asked("test._domainkey.forwarder.example")


async def test_word_of_a_trusted_sealer(dns, sealed):
    """A whole chain of a configured sealer tells what it saw pass."""
    found = await check(dns, sealed, "Forwarder.example")
    assert (found.result, found.sealer, found.trusted, found.instances) == (
        Result.PASS, "forwarder.example", True, 1,
    )  # fmt: skip
    assert found.claims == ("corp.example",)


async def test_word_of_a_stranger(dns, sealed):
    """A whole chain of anybody else claims nothing."""
    found = await check(dns, sealed, "other.example")
    assert (found.result, found.trusted, found.claims) == (Result.PASS, False, ())


async def test_claim_of_another_domain(dns, forwarder):
    """What the sealer saw of other domains says nothing of the author."""
    results = RESULTS.replace(b"corp.example", b"evil.example")
    sealed = forwarder.seal(results + MAIL, "forwarder.example")
    found = await check(dns, sealed, "forwarder.example")
    assert (found.trusted, found.claims) == (True, ())


async def test_results_that_cannot_be_read(dns, forwarder, monkeypatch):
    """A sealer whose results are broken claims nothing; its chain is whole."""
    sealed = forwarder.seal(RESULTS + MAIL, "forwarder.example")
    monkeypatch.setattr(arc, "parse_methods", lambda _value: parse_methods(b"(open"))
    found = await check(dns, sealed, "forwarder.example")
    assert (found.result, found.claims) == (Result.PASS, ())


async def test_stranger_below_a_trusted_sealer(dns):
    """A claim counts only while every seal upon it is of a trusted sealer."""
    evil = Signer("evil.example").publish(dns)
    forwarder = Signer("forwarder.example").publish(dns)
    forged = RESULTS.replace(b"forwarder.example", b"evil.example", 1)
    first = evil.seal(forged + MAIL, "evil.example")
    passed = b"Authentication-Results: forwarder.example; arc=pass\r\n"
    second = forwarder.seal(passed + first, "forwarder.example")
    found = await check(dns, second, "forwarder.example")
    assert (found.result, found.instances, found.trusted, found.claims) == (
        Result.PASS, 2, True, (),
    )  # fmt: skip
    both = await check(dns, second, "forwarder.example", "evil.example")
    assert both.claims == ("corp.example",)


async def test_changed_after_sealing(dns, sealed):
    """The last seal speaks of the body and the header as they are."""
    for data in (sealed + b"more\r\n", sealed.replace(b"The offer", b"An order")):
        found = await check(dns, data, "forwarder.example")
        assert (found.result, found.trusted, found.claims) == (
            Result.FAIL, False, (),
        )  # fmt: skip


async def test_dns_failure_is_temporary(dns, sealed):
    """Without its key a chain is neither whole nor broken."""
    dns.fail("servfail", "test._domainkey.forwarder.example")
    found = await check(dns, sealed, "forwarder.example")
    assert found.result is Result.TEMPERROR


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (b"ARC-Seal: i=1; a=rsa-sha256; l=3; d=a.example; s=b\r\n", "l="),
        (b"ARC-Seal: i=1; x=" + b"y" * 9000 + b"\r\n", "too long"),
        (b"ARC-Seal: i=1; b=" + b"\r\n " * 200 + b"y\r\n", "too long"),
        (b"ARC-Seal: i=1; i=2\r\n", "no list of tags"),
        (b"ARC-Seal: i=1; d=a.example\r\n" * 31, "instances"),
        (b"ARC-Seal: i=1; d=a.example\r\nno field\r\n", "no field"),
        (
            (
                b"ARC-Seal: i=1;cv=none;a=rsa-sha256;d=a.example;s=s;b=AAAA\r\n"
                b"ARC-Message-Signature:i=1;a=rsa-sha256;d=a.example;s=s;h=from;bh=AAAA;"
                b"b=AAAA\r\nARC-Authentication-Results: i=1; a.example; none\r\n"
            ),
            "IndexError",
        ),
        (b"ARC-Seal: i=1; d=\xff; s=\xff; a=rsa-sha256\r\n", "set"),
    ],
)
async def test_hostile_fields(dns, lines, words):
    """Every bound is a fail that says why."""
    found = await check(dns, lines + MAIL, "a.example")
    assert found.result is Result.FAIL
    assert words in found.text


async def test_no_chain(dns):
    """A mail without ARC fields has no chain, which is no failure."""
    found = await check(dns, MAIL, "a.example")
    assert found.result is Result.NONE


def test_body_of_a_file(tmp_path):
    """A large mail is read from its file."""
    path = tmp_path / "mail"
    path.write_bytes(b"A: b\r\n\r\nbody\r\n")
    in_file = body_hashes(RawMail(14, "", path=path), 6, ["simple"])
    assert in_file == body_hashes(raw_mail(path.read_bytes()), 6, ["simple"])
