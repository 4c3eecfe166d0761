"""The resolver: bounded, cached, and never taking a failure for an absence."""

from __future__ import annotations

import asyncio

import pytest
from dns import flags
from dns.message import make_query, make_response
from hypothesis import given
from hypothesis import strategies as st

from relay.config import DNSSettings
from relay.sender import resolver as module
from relay.sender.resolver import (
    MAX_ANSWER_BYTES,
    Answer,
    DNSFailure,
    LookupsExhausted,
    Resolver,
    Status,
    is_name,
    resolver_of,
)
from tests.fakes.dns import DNS
from tests.fakes.waiting import until


class Clock:
    """Boot time that tests move on."""

    def __init__(self):
        self.time_s = 1000.0

    def now(self):
        raise NotImplementedError

    def boottime_s(self):
        return self.time_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def resolver(dns, clock):
    one = dns.resolver(clock=clock, timeout_s=5.0)
    yield one
    await one.close()


async def test_types_of_records(dns, resolver):
    """Texts are bytes, their strings joined; names have no last dot."""
    dns.records(
        "$ORIGIN corp.example.\n"
        '@ IN TXT "one" "two"\n@ IN A 192.0.2.1\n@ IN AAAA 2001:db8::1\n'
        "@ IN MX 20 second\n@ IN MX 10 first\n"
        "$ORIGIN 2.0.192.in-addr.arpa.\n1 IN PTR corp.example.\n"
    )
    mail = resolver.for_mail()
    assert (await mail.txt("CORP.example.")).values == (b"onetwo",)
    assert (await mail.a("corp.example")).values == ("192.0.2.1",)
    assert (await mail.aaaa("corp.example")).values == ("2001:db8::1",)
    assert (await mail.mx("corp.example")).values == (
        "first.corp.example", "second.corp.example",
    )  # fmt: skip
    assert (await mail.ptr("192.0.2.1")).values == ("corp.example",)
    assert mail.used == 5


async def test_two_kinds_of_absence(dns, resolver):
    """A name without such a record exists; another does not (RFC 8020)."""
    dns.records("a.example. IN A 192.0.2.1\n")
    assert (await resolver.ask("a.example", "TXT")).status is Status.NO_DATA
    assert (await resolver.ask("b.example", "TXT")).status is Status.NO_NAME


@pytest.mark.parametrize(
    "name",
    ["", ".", "a..example", "x" * 64 + ".example", "ä.example", "a." * 127 + "example"],
)
async def test_names_that_cannot_be_asked_for(dns, resolver, name):
    """They do not exist, and no question is spent on them."""
    assert (await resolver.ask(name, "A")).status is Status.NO_NAME
    assert not dns.counts
    assert not is_name(name.rstrip("."))


async def test_name_with_a_backslash(dns, resolver):
    """A stranger's macro cannot write an escape of zone files."""
    assert (await resolver.ask("a\\.b.example", "A")).status is Status.NO_NAME
    assert dns.asked("a\\\\.b.example") == 1


# ------------------------------------------------------------------ the cache


async def test_answers_are_remembered_for_their_time(dns, resolver, clock):
    """Until the time to live is over, nothing is asked again."""
    dns.records("a.example. 60 IN A 192.0.2.1\n")
    for _ in range(3):
        await resolver.ask("a.example", "A")
    assert dns.asked("a.example") == 1
    clock.time_s += 59.0
    await resolver.ask("A.example.", "A")
    assert dns.asked("a.example") == 1
    clock.time_s += 1.0
    await resolver.ask("a.example", "A")
    assert dns.asked("a.example") == 2


@pytest.mark.parametrize(("name", "kind"), [("no.corp.example", "A"),
                                            ("corp.example", "TXT")])  # fmt: skip
async def test_absence_is_remembered(dns, resolver, clock, name, kind):
    """For the time that the zone names (RFC 2308 section 5)."""
    dns.records("$ORIGIN corp.example.\n@ 900 IN SOA ns host 1 2 3 4 30\n")
    dns.records("corp.example. IN A 192.0.2.1\n")
    await resolver.ask(name, kind)
    clock.time_s += 29.0
    await resolver.ask(name, kind)
    assert dns.asked(name, kind) == 1
    clock.time_s += 1.0
    await resolver.ask(name, kind)
    assert dns.asked(name, kind) == 2


@pytest.mark.parametrize(("ttl", "kept_s"), [(0, 1.0), (10_000_000, 86_400.0)])
async def test_times_are_bounded(dns, resolver, clock, ttl, kept_s):
    """No record is asked for by each mail of a burst, and none is kept for ever."""
    dns.records(f"a.example. {ttl} IN A 192.0.2.1\n")
    await resolver.ask("a.example", "A")
    clock.time_s += kept_s - 0.5
    await resolver.ask("a.example", "A")
    assert dns.asked("a.example") == 1
    clock.time_s += 0.5
    await resolver.ask("a.example", "A")
    assert dns.asked("a.example") == 2


async def test_failure_is_remembered_for_a_moment(dns, resolver, clock):
    """RFC 9520: a broken server is not asked by each mail; then it is again."""
    dns.fail("servfail", "a.example")
    for _ in range(3):
        with pytest.raises(DNSFailure, match=r"A of a\.example.*SERVFAIL"):
            await resolver.ask("a.example", "A")
    assert dns.asked("a.example") == 1
    dns.heal()
    clock.time_s += 5.0
    assert (await resolver.ask("a.example", "A")).status is Status.NO_NAME


async def test_cache_is_bounded(dns, clock):
    """The oldest goes first; a long answer takes the room of several."""
    for number in range(4):
        dns.records(f"a{number}.example. IN A 192.0.2.1\n")
    dns.txt("long.example", "x" * 1300)
    resolver = dns.resolver(clock=clock, cache_entries=3)
    for number in (0, 1, 2):
        await resolver.ask(f"a{number}.example", "A")
    await resolver.ask("a0.example", "A")  # Used last.
    await resolver.ask("a3.example", "A")
    assert dns.asked("a0.example") == 1
    await resolver.ask("a1.example", "A")
    assert dns.asked("a1.example") == 2
    await resolver.ask("long.example", "TXT")
    await resolver.ask("a1.example", "A")
    assert dns.asked("a1.example") == 3
    await resolver.close()


async def test_one_question_for_many_mails(dns, resolver):
    """Mails that come together ask together."""
    dns.records("a.example. IN A 192.0.2.1\n")
    dns.fail("delay", "a.example", "A", 0.02)
    answers = await asyncio.gather(
        *(resolver.for_mail().a("a.example") for _ in range(50))
    )
    assert {one.values for one in answers} == {("192.0.2.1",)}
    assert dns.asked("a.example") == 1


async def test_one_mail_gives_up_alone(dns, resolver):
    """A mail whose time is over leaves the question to the others."""
    dns.records("a.example. IN A 192.0.2.1\n")
    dns.fail("delay", "a.example", "A", 0.05)
    hasty, patient = resolver.for_mail(timeout_s=0.001), resolver.for_mail()
    results = await asyncio.gather(
        hasty.a("a.example"), patient.a("a.example"), return_exceptions=True
    )
    assert isinstance(results[0], DNSFailure)
    assert results[1].values == ("192.0.2.1",)
    assert dns.asked("a.example") == 1


# ------------------------------------------------------------------ bounds of a mail


async def test_bound_on_questions(dns, resolver):
    """The next question is no temporary failure: it would be the same again."""
    mail = dns.resolver(lookups=3).for_mail()
    for number in range(3):
        await mail.a(f"a{number}.example")
    for _ in range(2):
        with pytest.raises(LookupsExhausted, match="more than 3 DNS look-ups"):
            await mail.a("a9.example")
    assert (await mail.a("a1.example")).status is Status.NO_NAME
    assert mail.used == 3


async def test_a_mail_asks_once(dns, resolver):
    """What it asked before costs nothing, not even a failure."""
    dns.fail("servfail", "bad.example")
    mail = resolver.for_mail()
    for _ in range(3):
        await mail.a("a.example")
        with pytest.raises(DNSFailure):
            await mail.a("bad.example")
    assert mail.used == 2


async def test_deadline_of_a_mail(dns):
    """Silence ends with the mail's time, and other mails go on meanwhile."""
    dns.fail("silence", "slow.example")
    dns.records("a.example. IN A 192.0.2.1\n")
    resolver = dns.resolver(timeout_s=60.0, mail_timeout_s=0.2)
    slow = resolver.for_mail()
    waiting = asyncio.ensure_future(slow.a("slow.example"))
    for _ in range(20):
        await resolver.for_mail().a("a.example")
    assert not waiting.done()
    with pytest.raises(DNSFailure, match="no time is left"):
        await waiting
    assert slow.left_s() == 0.0
    await resolver.close()


async def test_deadline_of_a_question(dns):
    """A silent server is asked twice within the time of one question."""
    dns.fail("silence")
    resolver = dns.resolver(timeout_s=0.1)
    with pytest.raises(DNSFailure, match="no answer"):
        await resolver.ask("a.example", "A")
    assert dns.asked("a.example") == 2
    await resolver.close()


# ------------------------------------------------------------------ servers


async def test_next_server_answers(dns):
    """A server that fails, refuses or is not there leaves it to the next."""
    dns.records("a.example. IN A 192.0.2.1\n")
    for kind in ("servfail", "refused", "garbage", "silence", "wrong_id",
                 "wrong_question"):  # fmt: skip
        with DNS() as bad:
            bad.fail(kind)
            resolver = Resolver([bad.address, dns.address], Clock(), timeout_s=2.0)
            assert (await resolver.ask("a.example", "A")).values == ("192.0.2.1",), kind
            assert bad.counts
            await resolver.close()
    gone = bad.address[0], 9
    resolver = Resolver([gone, dns.address], Clock())
    assert (await resolver.ask("a.example", "A")).values == ("192.0.2.1",)
    await resolver.close()


async def test_server_that_is_down_is_asked_last(dns, clock):
    """Only the first question waits for it; after a while it is tried again."""
    with DNS() as dead:
        dead.fail("silence")
        resolver = Resolver([dead.address, dns.address], clock, timeout_s=2.0)
        for number in range(5):
            await resolver.ask(f"a{number}.example", "A")
        assert (dead.counts.total(), dns.counts.total()) == (1, 5)
        dead.heal()
        clock.time_s += 31.0
        await resolver.ask("b.example", "A")
        assert dead.asked("b.example") == 1
        await resolver.close()


async def test_no_server_is_there():
    """Connection refused, by all of them, is a failure."""
    resolver = Resolver([("127.0.0.1", 9)], Clock(), timeout_s=1.0)
    with pytest.raises(DNSFailure):
        await resolver.ask("a.example", "A")
    await resolver.close()


async def test_servers_of_the_machine(dns, monkeypatch):
    """Without configured servers those of the machine are asked; it may have none."""
    monkeypatch.setattr(module, "_resolv_conf", lambda: (dns.address,))
    resolver = Resolver([], Clock())
    assert (await resolver.ask("a.example", "A")).status is Status.NO_NAME
    assert dns.asked("a.example") == 1
    await resolver.close()
    monkeypatch.setattr(module, "_resolv_conf", lambda: ())
    nobody = Resolver([], Clock())
    with pytest.raises(DNSFailure, match="no name server is configured"):
        await nobody.ask("a.example", "A")


@pytest.mark.parametrize(
    ("text", "servers"),
    [("nameserver 192.0.2.53\n", (("192.0.2.53", 53),)), ("", ())],
)
def test_reads_the_file_of_the_machine(monkeypatch, tmp_path, text, servers):
    """`/etc/resolv.conf`, or none."""
    import dns.resolver

    path = tmp_path / "resolv.conf"
    path.write_text(text)
    real = dns.resolver.Resolver
    monkeypatch.setattr(dns.resolver, "Resolver", lambda: real(str(path)))
    assert module._resolv_conf() == servers


# ------------------------------------------------------------------ odd answers


async def test_cut_off_answer_comes_over_tcp(dns, resolver):
    """TC: the same question over TCP, whole."""
    dns.txt("long.example", "y" * 3000)
    assert (await resolver.ask("long.example", "TXT")).values == (b"y" * 3000,)
    assert dns.tcp_queries == 1
    dns.records("a.example. IN A 192.0.2.1\n")
    dns.fail("truncation", "a.example")
    assert (await resolver.ask("a.example", "A")).values == ("192.0.2.1",)
    assert dns.tcp_queries == 2


async def test_server_without_tcp(dns, resolver):
    """An answer that stays cut off is a failure, not an empty answer."""
    dns.fail("udp_only", "a.example")
    with pytest.raises(DNSFailure, match="ended early"):
        await resolver.ask("a.example", "A")


@pytest.mark.parametrize("kind", ["TXT", "A", "MX", "PTR"])
async def test_answer_of_64_kilobytes(dns, resolver, kind):
    """Nobody honest has that much; it is not read, and costs no time."""
    dns.fail("oversized", "big.example")
    with pytest.raises(DNSFailure, match=r"an answer of \d{5} bytes"):
        await resolver.ask("big.example", kind)
    assert MAX_ANSWER_BYTES < 40_000


async def test_long_honest_answer_is_read_beside_the_loop(dns, resolver):
    """Thirty texts of a big company are read whole."""
    for number in range(30):
        dns.txt("many.example", f"token-{number}-" + "z" * 200)
    answer = await resolver.ask("many.example", "TXT")
    assert len(answer.values) == 30


@pytest.mark.parametrize(
    "records",
    [
        "loop.example. IN CNAME loop.example.\n",
        "loop.example. IN CNAME b.example.\nb.example. IN CNAME loop.example.\n",
        "loop.example. IN CNAME c0.example.\n"
        + "".join(f"c{n}.example. IN CNAME c{n + 1}.example.\n" for n in range(40)),
    ],
)
async def test_loops_of_aliases(dns, resolver, records):
    """A loop, or an endless chain, is a failure or an absence, and ends."""
    dns.records(records)
    found = await asyncio.gather(
        resolver.ask("loop.example", "A"), return_exceptions=True
    )
    assert isinstance(found[0], DNSFailure) or found[0].status is not Status.FOUND


async def test_alias(dns, resolver):
    """The answer behind an alias is the answer of the name."""
    dns.records("a.example. IN CNAME b.example.\nb.example. IN A 192.0.2.9\n")
    assert (await resolver.ask("a.example", "A")).values == ("192.0.2.9",)


@pytest.mark.parametrize("kind", ["wrong_id", "wrong_question", "garbage"])
async def test_forged_datagrams_are_dropped(dns, kind):
    """A stranger's datagram is not an answer, nor the end of the waiting."""
    dns.records("a.example. IN A 192.0.2.66\n")
    dns.fail(kind)
    resolver = dns.resolver(timeout_s=0.2)
    with pytest.raises(DNSFailure, match="no answer"):
        await resolver.ask("a.example", "A")
    await resolver.close()


async def test_settings_make_a_resolver(dns):
    """Every key of `[dns]` is used."""
    host, port = dns.address
    settings = DNSSettings(
        servers=[f"{host}:{port}"],
        timeout_s=2.0,
        mail_timeout_s=4.0,
        lookups=10,
        cache_entries=100,
    )
    resolver = resolver_of(settings, Clock())
    mail = resolver.for_mail()
    for number in range(10):
        await mail.a(f"a{number}.example")
    with pytest.raises(LookupsExhausted, match="more than 10"):
        await mail.a("b.example")
    assert 0.0 < mail.left_s() <= 4.0
    await resolver.close()


async def test_other_question_over_tcp(dns, resolver, monkeypatch):
    """TCP is checked like UDP: an answer to another question is none."""
    dns.fail("truncation", "a.example")
    monkeypatch.setattr(module, "_answers", lambda _query, wire: bool(wire[2] & 0x02))
    with pytest.raises(DNSFailure, match="another question"):
        await resolver.ask("a.example", "A")


@given(st.binary(max_size=60))
def test_any_answer_is_read_or_refused(tail):
    """Whatever a name server sends, it is an answer or a failure."""
    query = make_query("a.example", "TXT", id=1)
    response = make_response(query)
    response.flags |= flags.AA
    for wire in (tail, response.to_wire() + tail, response.to_wire()[:12] + tail):
        module._answers(query, wire)
        try:
            found = module._read_answer(wire, "TXT")
        except module._Unusable:
            continue
        assert isinstance(found, Answer)


async def test_closing_ends_what_is_under_way(dns):
    """Nothing is left behind when the process ends."""
    dns.fail("silence")
    resolver = dns.resolver(timeout_s=60.0)
    mail = resolver.for_mail()
    waiting = asyncio.ensure_future(mail.a("a.example"))
    await until(lambda: dns.counts)
    await resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_an_absence_is_empty():
    """Values are there only where something was found."""
    assert Answer(Status.NO_NAME).values == ()
