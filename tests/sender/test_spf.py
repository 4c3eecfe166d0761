"""SPF in its place: which identity, which bounds, and what is said of it."""

from __future__ import annotations

import pytest

from relay.core.authentication import Identity, Result
from relay.sender import spf
from tests.fakes.authentication import PEER


@pytest.fixture
async def resolver(dns):
    one = dns.resolver(timeout_s=5.0)
    yield one
    await one.close()


async def check(resolver, mail_from="ada@corp.example", helo="mail.corp.example",
                peer=PEER, **settings):  # fmt: skip
    return await spf.check(resolver.for_mail(**settings), peer, helo, mail_from)


RESULTS = [
    ("v=spf1 ip4:192.0.2.1 -all", Result.PASS, "allows 192.0.2.1 (ip4:192.0.2.1)"),
    ("v=spf1 -all", Result.FAIL, "forbids 192.0.2.1 (-all)"),
    ("v=spf1 ~all", Result.SOFTFAIL, "doubts 192.0.2.1 (~all)"),
    ("v=spf1 ?all", Result.NEUTRAL, "says nothing about 192.0.2.1 (?all)"),
    ("v=spf1", Result.NEUTRAL, "says nothing about 192.0.2.1"),
    ("v=spf2 -all", Result.NONE, "has no SPF record"),
    ("v=spf1 nonsense -all", Result.PERMERROR, "is in error"),
    ("v=spf1 include:deep.example -all", Result.PASS, "include:deep.example"),
    ("v=spf1 exists:%{ir}.%{l}.x.example -all", Result.PASS, "exists:"),
    ("v=spf1 a:v1.example a:v2.example a:v3.example -all", Result.PERMERROR, "void"),
    ("v=spf1 " + "a:corp.example " * 11 + "-all", Result.PERMERROR, "limit"),
    ("v=spf1 include:loop.example -all", Result.PERMERROR, "limit"),
    ("v=spf1 include:broken.example -all", Result.TEMPERROR, "broken.example"),
]


@pytest.mark.parametrize(
    ("record", "result", "words"), RESULTS, ids=[case[0][:40] for case in RESULTS]
)
async def test_results_and_their_words(dns, resolver, record, result, words):
    """Each result, with the term that decided or the reason of the error."""
    dns.txt("corp.example", record)
    dns.txt("deep.example", "v=spf1 include:deeper.example -all")
    dns.txt("deeper.example", "v=spf1 ip4:192.0.2.0/24 -all")
    dns.txt("loop.example", "v=spf1 include:loop.example")
    dns.records(
        "1.2.0.192.ada.x.example. IN A 127.0.0.2\ncorp.example. IN A 192.0.2.99\n"
    )
    dns.fail("servfail", "broken.example")
    sender, _ = await check(resolver)
    assert (sender.identity, sender.domain) == (Identity.MAIL_FROM, "corp.example")
    assert (sender.result, words in sender.text) == (result, True), sender.text


async def test_identities_are_checked_apart(dns, resolver):
    """The HELO name's pass is no pass of the sender."""
    dns.txt("mail.corp.example", "v=spf1 ip4:192.0.2.1 -all")
    dns.txt("evil.example", "v=spf1 -all")
    sender, helo = await check(resolver, "x@evil.example")
    assert (sender.result, helo.result) == (Result.FAIL, Result.PASS)
    assert (helo.identity, helo.domain) == (Identity.HELO, "mail.corp.example")


async def test_null_sender_is_checked_by_helo(dns, resolver):
    """RFC 7208 section 2.4: postmaster at the HELO name, named so."""
    dns.txt("mail.corp.example", "v=spf1 exists:%{l}.x.example -all")
    dns.records("postmaster.x.example. IN A 127.0.0.2\n")
    sender, helo = await check(resolver, "")
    assert (sender.result, sender.domain) == (Result.PASS, "mail.corp.example")
    assert "null sender, checked as postmaster@mail.corp.example" in sender.text
    assert helo.result is Result.PASS


@pytest.mark.parametrize("peer", ["", "submission", "unix:/run/relay"])
async def test_no_address_no_check(dns, resolver, peer):
    """A door without an IP address asks nothing."""
    found = await check(resolver, peer=peer)
    assert {one.result for one in found} == {Result.NONE}
    assert not dns.counts


@pytest.mark.parametrize(
    "helo", ["[192.0.2.1]", "localhost", "", "-", "a..b", "x" * 64 + ".example", "ü\0"]
)
async def test_helo_that_is_no_domain(dns, resolver, helo):
    """RFC 7208 section 2.3: there is nothing to check."""
    _, found = await check(resolver, helo=helo)
    assert (found.result, found.domain) == (Result.NONE, "")


async def test_internationalised_sender(dns, resolver):
    """The domain is asked for as A-labels, and is not another one."""
    dns.txt("xn--strae-oqa.example", "v=spf1 ip4:192.0.2.1 -all")
    dns.txt("strasse.example", "v=spf1 -all")
    sender, _ = await check(resolver, "ada@straße.example")
    assert (sender.result, sender.domain) == (Result.PASS, "xn--strae-oqa.example")


async def test_ipv6(dns, resolver):
    """An IPv6 peer, and an IPv4 address written as one."""
    dns.txt("corp.example", "v=spf1 ip6:2001:db8::/32 ip4:192.0.2.1 -all")
    for peer in ("2001:db8::25", "::ffff:192.0.2.1"):
        sender, _ = await check(resolver, peer=peer)
        assert sender.result is Result.PASS


async def test_bound_of_the_mail_is_permanent(dns):
    """Ten times ten mail exchangers: the mail's bound ends it, and for good."""
    dns.txt("corp.example", "v=spf1 mx:a.example mx:b.example -all")
    for name in "ab":
        for number in range(10):
            dns.records(f"{name}.example. IN MX {number} {name}{number}.example.\n")
            dns.records(f"{name}{number}.example. IN A 10.0.0.1\n")
    resolver = dns.resolver(lookups=12)
    sender, _ = await check(resolver, helo="")
    await resolver.close()
    assert (sender.result, "more than 12" in sender.text) == (Result.PERMERROR, True)


async def test_deadline_of_the_mail_is_temporary(dns):
    """Silence becomes a temporary error when the mail's time is over."""
    dns.fail("silence")
    resolver = dns.resolver(timeout_s=60.0)
    sender, _ = await check(resolver, helo="", timeout_s=0.05)
    await resolver.close()
    assert sender.result is Result.TEMPERROR


async def test_text_is_short(dns, resolver):
    """A stranger's record does not fill the log."""
    dns.txt("corp.example", "v=spf1 x:" + "y" * 5000)
    sender, _ = await check(resolver)
    assert len(sender.text) <= 300
