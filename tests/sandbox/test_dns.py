"""The sandbox's DNS answers from its zones, and goes wrong as it is told."""

from __future__ import annotations

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from relay.sandbox.dns import FAULTS, DNSServer, txt_record

ZONES = """\
$ORIGIN corp.example.
@ 60 IN SOA ns hostmaster 1 2 3 4 30
@ IN MX 20 second
@ IN MX 10 first
a.b IN A 10.0.0.1
alias IN CNAME a.b
loop IN CNAME loop
*.wild IN TXT "any"
there.wild IN A 10.0.0.2
"""


@pytest.fixture
def server():
    with DNSServer(ZONES) as running:
        yield running


def ask(server, name, rdtype, over=dns.query.udp, **options):
    host, port = server.address
    query = dns.message.make_query(name, rdtype, **options)
    return over(query, host, port=port, timeout=5)


def texts(answer):
    return sorted(
        str(one).lower() for rrset in answer.answer for one in rrset
    )  # fmt: skip


def test_answers_what_the_zone_has(server):
    """Records of a name come together, and absence has two forms."""
    assert texts(ask(server, "CORP.example", "MX")) == [
        "10 first.corp.example.", "20 second.corp.example.",
    ]  # fmt: skip
    between = ask(server, "b.corp.example", "A")
    assert (between.rcode(), between.answer) == (dns.rcode.NOERROR, [])
    absent = ask(server, "c.corp.example", "A")
    assert absent.rcode() == dns.rcode.NXDOMAIN
    assert absent.authority[0][0].minimum == 30
    assert server.asked("corp.example", "MX") == 1


def test_aliases_and_wildcards(server):
    """A CNAME is followed; a wildcard stands for what does not exist beside it."""
    assert texts(ask(server, "alias.corp.example", "A")) == [
        "10.0.0.1", "a.b.corp.example.",
    ]  # fmt: skip
    assert texts(ask(server, "x.y.wild.corp.example", "TXT")) == ['"any"']
    assert ask(server, "there.wild.corp.example", "TXT").answer == []
    below = ask(server, "x.there.wild.corp.example", "TXT")
    assert below.rcode() == dns.rcode.NXDOMAIN
    assert texts(ask(server, "loop.corp.example", "A")) == ["loop.corp.example."]


def test_long_answer_is_cut_off(server):
    """What does not fit a datagram comes over TCP."""
    server.zones.add(txt_record("long.example", 'é\\"' * 300))
    short = ask(server, "long.example", "TXT")
    assert short.flags & dns.flags.TC
    assert not short.answer
    whole = ask(server, "long.example", "TXT", dns.query.tcp)
    assert b"".join(whole.answer[0][0].strings) == ('é\\"' * 300).encode()
    assert server.tcp_queries == 1
    server.zones.clear()
    assert ask(server, "long.example", "TXT").rcode() == dns.rcode.NXDOMAIN


def test_two_zones_are_one_text(server):
    """An empty text is a record too, and a zone with a mistake adds nothing."""
    server.zones.add(txt_record("empty.example", ""))
    assert texts(ask(server, "empty.example", "TXT")) == ['""']
    with pytest.raises(dns.exception.DNSException):
        server.zones.add("x.example. IN A 10.0.0.3\ny.example. IN A no-address\n")
    assert ask(server, "x.example", "A").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize(
    ("kind", "rcode"),
    [("servfail", dns.rcode.SERVFAIL), ("refused", dns.rcode.REFUSED)],
)
def test_errors(server, kind, rcode):
    """A fault is of one name or type, until all are healed."""
    server.fail(kind, "corp.example", "MX")
    assert ask(server, "corp.example", "MX").rcode() == rcode
    assert ask(server, "corp.example", "TXT").rcode() == dns.rcode.NOERROR
    server.heal()
    assert ask(server, "corp.example", "MX").rcode() == dns.rcode.NOERROR


def test_other_faults(server):
    """Each is what its name says."""
    server.fail("truncation", "a.b.corp.example")
    assert ask(server, "a.b.corp.example", "A").flags & dns.flags.TC
    assert texts(ask(server, "a.b.corp.example", "A", dns.query.tcp)) == ["10.0.0.1"]
    server.fail("udp_only", "a.b.corp.example")
    with pytest.raises(EOFError):
        ask(server, "a.b.corp.example", "A", dns.query.tcp)
    server.fail("delay", "*", "MX", 0.01)
    assert len(texts(ask(server, "corp.example", "MX"))) == 2
    for rdtype in ("TXT", "MX"):
        server.fail("oversized", "*", rdtype)
        big = ask(server, "corp.example", rdtype, dns.query.tcp)
        assert len(big.answer[0]) > 1000
    server.heal()
    for kind in ("wrong_id", "wrong_question"):
        server.fail(kind, "*", "A")
        with pytest.raises(dns.query.BadResponse):
            ask(server, "a.b.corp.example", "A")
    server.fail("garbage", "*", "A")
    with pytest.raises(dns.exception.DNSException):
        ask(server, "a.b.corp.example", "A")
    with pytest.raises(ValueError, match=", ".join(FAULTS)):
        server.fail("nonsense")


def test_silence_ends_with_the_server():
    """A question that is never answered does not hold up the end."""
    with DNSServer() as server:
        server.fail("silence")
        host, port = server.address
        query = dns.message.make_query("a.example", "A")
        with pytest.raises(dns.exception.Timeout):
            dns.query.udp(query, host, port=port, timeout=0.05)
    assert server.address[1] == 0


async def test_runs_in_the_loop_of_its_user():
    """It starts and stops beside others."""
    server = DNSServer("a.example. IN A 10.0.0.1\n")
    await server.start()
    assert server.address[1]
    await server.stop()
    await server.stop()
