"""Senders while they are judged: what is asked, in which order, how many at a time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from relay.config import SenderSettings
from relay.core.authentication import (
    Authentication,
    DMARCCheck,
    Identity,
    MailKind,
    Outcome,
    Result,
    Signature,
    SPFCheck,
)
from relay.core.model import RawMail
from relay.intake import judging
from relay.intake.judging import Handover, MailFacts, Senders, Turns, Writers
from relay.intake.rules import read_headers, writers
from relay.sender import read_author
from tests.fakes.intake import ADA, PEOPLE, START, MemorySink, SetClock

RAW = b"From: ada@corp.example\r\n\r\nHi\r\n"
HANDOVER = Handover("192.0.2.1", "me", "ada@corp.example")
AUTHOR = read_author([b"ada@corp.example"])
LISTED = [(AUTHOR, MailKind.DIRECT)]
GOOD = Signature(
    "corp.example", "s", Result.PASS, covers=True, aligned=True, digest="d" * 64
)


class Asked:
    """An authenticator that keeps what it was asked."""

    def __init__(self, *signatures, **facts):
        self.requests = []
        self.signatures = signatures
        self.facts = facts

    async def authenticate(self, request):
        self.requests.append(request)
        return Authentication(
            request.author, "checks", dkim=self.signatures, **self.facts
        )


@pytest.fixture
def examine(tmp_path):
    """Return a function that begins to judge a mail."""
    sink, clock = MemorySink(tmp_path), SetClock()

    def begin(ask=None, handover=HANDOVER, *, raw=RAW, mail=None, kept=(), **settings):
        senders = Senders(
            SenderSettings(**settings),
            clock,
            settings=lambda: dict(kept),
            facts=sink,
            authenticator=ask,
        )
        facts = mail or MailFacts(Writers(AUTHOR))
        return senders.examine(
            handover, RawMail(len(raw), "0" * 64, data=raw), raw, facts
        )

    begin.sink, begin.clock = sink, clock
    return begin


# ------------------------------------------------------------------ at once


async def test_what_needs_no_proof_is_judged_at_once(examine):
    """Where the list decides alone, for all or for a domain; else the mail is asked."""

    def by_list(**settings):
        return examine(**settings)._senders.by_list(LISTED)

    assert by_list(policy="listed").outcome is Outcome.ACCEPT
    assert by_list() is None
    assert by_list(policy="listed", monitor="aligned") is None
    assert by_list(kept={"sender.policy.corp.example": "listed"}).policy == "listed"


def test_a_rule_is_remembered_until_a_setting_changes(tmp_path):
    """It is the same for each mail of a domain; an edit holds at once."""
    kept = [{}]
    senders = Senders(
        SenderSettings(),
        SetClock(),
        settings=lambda: kept[0],
        facts=MemorySink(tmp_path),
    )
    first = senders.rule(*LISTED[0])
    assert senders.rule(*LISTED[0]) is first
    assert senders.rule(AUTHOR, MailKind.FORWARDED).otherwise is Outcome.HOLD
    kept[0] = {"sender.policy": "listed"}
    assert senders.rule(*LISTED[0]).policy == "listed"


@pytest.mark.parametrize(
    ("handover", "settings", "source"),
    [
        (
            Handover("http", door="http", door_detail="token crm"),
            {"trusted_doors": ["http"]},
            "http",
        ),
        (Handover("import", door="import", door_detail="a.eml"), {}, "import"),
        (Handover("http", door="http"), {}, None),
        (Handover("import", door="import"), {"trusted_doors": []}, None),
        (Handover("192.0.2.1", login="ada@corp.example", login_id=1), {}, "login"),
        (Handover("192.0.2.1", login="ben@corp.example", login_id=2), {}, None),
        (
            Handover("192.0.2.1", certificate="mx.corp.example"),
            {"trusted_certificates": ["mx.corp.example"]},
            "certificate",
        ),
        (
            Handover("192.0.2.1", certificate="Our Relay"),
            {"trusted_certificates": ["our relay"]},
            "certificate",
        ),
        (
            Handover("192.0.2.1", certificate="unnamed"),
            {"trusted_certificates": ["unnamed"]},
            None,
        ),
        (
            Handover("192.0.2.1", certificate="mx.evil.example"),
            {"trusted_certificates": ["mx.corp.example"]},
            None,
        ),
        (
            Handover("192.0.2.1"),
            {"trusted_certificates": ["mx.corp.example"]},
            None,
        ),
        (
            Handover("192.0.2.1"),
            {"trusted_networks": ["10.0.0.0/8", "192.0.2.0/24"]},
            "network",
        ),
        (
            Handover("::ffff:192.0.2.1"),
            {"trusted_networks": ["192.0.2.0/24"]},
            "network",
        ),
        (Handover("2001:db8::1"), {"trusted_networks": ["2001:db8::/64"]}, "network"),
        (Handover("198.51.100.1"), {"trusted_networks": ["192.0.2.0/24"]}, None),
        (Handover("none"), {"trusted_networks": ["0.0.0.0/0", "::/0"]}, None),
        (Handover("local"), {"trusted_networks": ["127.0.0.1"]}, "network"),
        (Handover("local"), {"trusted_networks": ["10.0.0.0/8"]}, None),
    ],
)
async def test_trusted_paths(examine, handover, settings, source):
    """Each is named; who is not configured, or is another user, is asked for proof."""
    ask = Asked()
    verdict = await examine(ask, handover, **settings).verdict(ADA, LISTED)
    if source is None:
        assert verdict.outcome is Outcome.REFUSE
        assert len(ask.requests) == 1
    else:
        assert verdict.authentication.source == source
        assert verdict.proof
        assert ask.requests == []


# ------------------------------------------------------------------ asked


async def test_an_author_is_asked_about_once(examine):
    """For however many recipients; the request has what SPF and DKIM need."""
    ask = Asked(GOOD)
    examination = examine(ask)
    for _ in range(3):
        assert (await examination.verdict(ADA, LISTED)).outcome is Outcome.ACCEPT
    (request,) = ask.requests
    assert (request.peer_ip, request.helo, request.mail_from, request.author) == (
        "192.0.2.1",
        "me",
        "ada@corp.example",
        "ada@corp.example",
    )
    assert "resent-from" not in request.used_fields
    assert "subject" in request.used_fields
    assert examination.signatures[0][0] == "d" * 64


async def test_a_door_without_an_address_has_no_spf(examine):
    """A Unix socket has no IP address: SPF is not asked."""
    ask = Asked()
    await examine(ask, Handover("local", door="lmtp")).verdict(ADA, LISTED)
    assert ask.requests[0].peer_ip == ""


@pytest.mark.parametrize(
    ("results", "peer", "asked"),
    [
        (b"mx.corp.example; spf=fail smtp.mailfrom=a(b@evil.example", "10.0.0.25", ""),
        (b"mx.corp.example; spf", "10.0.0.25", ""),
        # Mail of the company itself has none, or that of another server below.
        (b"", "10.0.0.25", "10.0.0.25"),
        (b"mx.else.example; spf=pass", "10.0.0.25", "10.0.0.25"),
        (b"mx.corp.example; spf", "192.0.2.1", "192.0.2.1"),
    ],
)
async def test_spf_of_a_server_takes_not_the_place_of_what_it_found(
    examine, results, peer, asked
):
    """A stranger who spoils its field would else be proven by the server itself."""
    ask = Asked()
    raw = b"Authentication-Results: " * bool(results) + results + b"\r\n" + RAW
    server = {"id": "mx.corp.example", "networks": ["10.0.0.25"]}
    one = examine(ask, Handover(peer), raw=raw.lstrip(), authserv=[server])
    await one.verdict(ADA, LISTED)
    assert [request.peer_ip for request in ask.requests] == [asked]


async def test_nothing_is_found_without_dns(examine):
    """A policy that wants proof then has none; the mail is not let in."""
    verdict = await examine().verdict(ADA, LISTED)
    assert (verdict.outcome, verdict.cause) == (Outcome.REFUSE, "S201")


async def test_of_two_authors_the_better_one_counts(examine):
    """The redirect is not proven; From is, by a signature over all that is used."""

    class ByAuthor(Asked):
        async def authenticate(self, request):
            self.signatures = (GOOD,) if request.author == AUTHOR.key else ()
            return await super().authenticate(request)

    resent = read_author([b"bob@ada.example"])
    ask = ByAuthor()
    verdict = await examine(ask).verdict(ADA, [(resent, MailKind.REDIRECT), *LISTED])
    assert (verdict.outcome, verdict.address) == (Outcome.ACCEPT, "ada@corp.example")
    assert "resent-from" in ask.requests[0].used_fields
    ask = Asked()
    verdict = await examine(ask).verdict(ADA, [(resent, MailKind.REDIRECT), *LISTED])
    assert (verdict.outcome, verdict.reason) == (
        Outcome.REFUSE,
        "redirect_not_proven",
    )
    with pytest.raises(ValueError, match="nobody"):
        await examine(ask).verdict(ADA, [])


async def test_an_old_mail_that_is_imported_is_not_held_for_its_age(examine):
    """Where the import is asked for proof: files are old by nature."""
    date = (START - timedelta(days=400)).strftime("%a, %d %b %Y %H:%M:%S +0000")
    mail = MailFacts(Writers(AUTHOR), date_text=date)
    for door, outcome in (("import", Outcome.ACCEPT), ("smtp", Outcome.HOLD)):
        examination = examine(
            Asked(GOOD), Handover("x", door=door), mail=mail, trusted_doors=[]
        )
        assert (await examination.verdict(ADA, LISTED)).outcome is outcome


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("Wed, 4 Mar 2026 12:00:00 +0000", 2026),
        ("Wed, 4 Mar 2026 12:00:00 -0000", 2026),
        ("", None),
        ("yesterday", None),
        ("Wed, 4 Mar 99999 12:00:00 +0000", None),
    ],
)
def test_the_date_of_a_mail(text, year):
    """An unreadable Date is none, and never an error."""
    date = MailFacts(Writers(AUTHOR), date_text=text).date
    assert (date.year if date else None) == year
    assert date is None or date.tzinfo is not None


# ------------------------------------------------------------------ DNS in trouble

SILENT = {"dmarc": DMARCCheck("corp.example", Result.TEMPERROR)}


@pytest.mark.parametrize(
    ("tries", "age_s", "outcome"),
    [
        (1, 0, Outcome.RETRY),
        (6, 4 * 3600 - 1, Outcome.RETRY),
        (7, 0, Outcome.HOLD),
        (2, 4 * 3600, Outcome.HOLD),
    ],
)
async def test_tries_and_hours_are_bounded(examine, monkeypatch, tries, age_s, outcome):
    """Whichever comes first; then the mail is kept."""

    async def count(_key):
        return tries, age_s

    monkeypatch.setattr(examine.sink, "count_try", count)
    verdict = await examine(Asked(**SILENT)).verdict(ADA, LISTED)
    assert verdict.outcome is outcome
    assert verdict.cause == ("S401" if outcome is Outcome.RETRY else "S402")


async def test_a_try_counts_once_for_a_mail(examine):
    """Its recipients share it; another mail has tries of its own."""
    examination = examine(Asked(**SILENT))
    await examination.verdict(ADA, LISTED)
    await examination.verdict(ADA, LISTED)
    assert list(examine.sink.tries.values()) == [1]
    other = MailFacts(Writers(AUTHOR), message_id="<2@corp.example>")
    await examine(Asked(**SILENT), mail=other).verdict(ADA, LISTED)
    assert sorted(examine.sink.tries.values()) == [1, 1]


async def test_spf_of_a_null_sender_is_no_dns_trouble(examine):
    """A bounce has no MAIL FROM to prove anything."""
    spf = SPFCheck(Identity.HELO, "me", Result.PASS)
    verdict = await examine(Asked(spf=(spf,))).verdict(ADA, LISTED)
    assert verdict.reason == "no_proof"


# ------------------------------------------------------------------ places


async def test_a_peer_has_a_quarter_of_the_places():
    """Others find theirs, however many mails of one peer wait for silent DNS."""
    turns = Turns(8)
    release = asyncio.Event()
    inside = []

    async def check(peer):
        async with turns.turn(peer):
            inside.append(peer)
            await release.wait()

    tasks = [asyncio.create_task(check("2001:db8::1")) for _ in range(5)]
    tasks += [asyncio.create_task(check("2001:db8::2")) for _ in range(5)]
    tasks += [asyncio.create_task(check(f"192.0.2.{n}")) for n in range(4)]
    for _ in range(20):
        await asyncio.sleep(0)
    # One /64 is one peer.
    assert sum(":" in peer for peer in inside) == 2
    assert sum("." in peer for peer in inside) == 4
    release.set()
    await asyncio.gather(*tasks)
    assert len(inside) == 14
    assert turns._peers == {}


async def test_places_are_given_in_the_order_of_asking():
    """All are taken: who waits longest is next."""
    turns = Turns(1)
    order = []

    async def check(number):
        async with turns.turn(f"192.0.2.{number}"):
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(check(number) for number in range(5)))
    assert order == list(range(5))


async def test_who_finds_no_place_in_time_is_put_off(examine, monkeypatch):
    """451, and the mail comes again; nothing was asked about it."""
    monkeypatch.setattr(judging, "_WAIT_S", 0.0)
    ask = Asked(GOOD)
    examination = examine(ask, max_checks=1)
    async with examination._senders._turns.turn("198.51.100.1"):
        verdict = await examination.verdict(ADA, LISTED)
    assert (verdict.outcome, verdict.cause) == (Outcome.RETRY, "S403")
    assert ask.requests == []
    assert examination._senders._turns._peers == {}


# ------------------------------------------------------------------ whose mail


@pytest.mark.parametrize(
    ("head", "mail_from", "kinds"),
    [
        (b"", "", ["direct"]),
        (b"List-Id: <x.example>\r\n", "", ["forwarded"]),
        (b"X-Forwarded-To: log@x.example\r\n", "", ["forwarded"]),
        (b"Delivered-To: ada@corp.example\r\n", "", ["forwarded"]),
        (b"X-MS-Exchange-Inbox-Rules-Loop: ada@corp.example\r\n", "", ["forwarded"]),
        (b"", "SRS0=abc=tt=corp.example=ada@fwd.example", ["forwarded"]),
        (b"", "ada+caf_=log=x.example@corp.example", ["forwarded"]),
        # Microsoft 365 seals what it sends first; a second seal is a forwarder's.
        (b"ARC-Seal: i=1; a=rsa-sha256; cv=none\r\n", "", ["direct"]),
        (b"ARC-Seal: i=2; a=rsa-sha256; cv=pass\r\n", "", ["forwarded"]),
        (b"ARC-Seal: a=rsa-sha256; i=12; cv=pass\r\n", "", ["forwarded"]),
        (b"Resent-From: jo@ada.example\r\n", "", ["redirect", "direct"]),
        (b"Resent-From: eve@evil.example\r\n", "", ["direct"]),
        (b"Resent-From: a@ada.example, b@ada.example\r\n", "", ["direct"]),
        (
            b"Resent-From: eve@evil.example\r\nResent-From: jo@ada.example\r\n",
            "",
            ["direct"],
        ),
    ],
)
def test_on_which_way_a_mail_came(head, mail_from, kinds):
    """Lists, forwarders and people who redirect leave their marks."""
    headers = read_headers(head + b"From: ada@corp.example\r\n\r\n")
    who = writers(headers, read_author(headers.from_values), mail_from)
    assert [kind.value for _, kind in who.listed(PEOPLE.accepted[1])] == kinds


async def test_a_policy_that_is_only_watched_puts_nothing_off(examine, monkeypatch):
    """Neither where no place for its checks becomes free in time."""
    monkeypatch.setattr(judging, "_WAIT_S", 0)
    one = examine(Asked(), max_checks=1, policy="listed", monitor="aligned")
    async with one._senders._turns.turn("192.0.2.1"):
        verdict = await one.verdict(PEOPLE.users[1], LISTED)
    assert (verdict.outcome, verdict.monitor) == (Outcome.ACCEPT, None)
