"""Senders are judged over real SMTP, with real SPF, DKIM and DMARC on loopback."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from relay.core.authentication import Authentication, Result, Signature
from relay.core.clock import SystemClock
from tests.fakes.authentication import MAIL, PEER, Checker
from tests.fakes.dns import dns
from tests.fakes.intake import PEOPLE
from tests.fakes.signing import USUAL_FIELDS, Signer

__all__ = ["dns"]

MAIL = MAIL.replace(
    b"Mon, 30 Nov 2026 11:00:00 +0000",
    f"{SystemClock().now():%a, %d %b %Y %H:%M:%S +0000}".encode(),
)
TO_ADA = "log-ada@in.example"
TO_BEN = "log-ben@in.example"
FORGER = "203.0.113.9"
LIST_HEAD = b"List-Id: <sales.lists.example>\r\n"


@pytest.fixture
async def checker(dns):
    """Check mails against the test's DNS."""
    one = Checker(dns, timeout_s=1, mail_timeout_s=2)
    yield one
    await one.close()


@pytest.fixture
def corp(dns):
    """The domain of the author: SPF, DMARC, and a key."""
    dns.txt("corp.example", f"v=spf1 ip4:{PEER} -all")
    dns.dmarc("corp.example", "v=DMARC1; p=reject")
    dns.txt("evil.example", f"v=spf1 ip4:{FORGER} -all")
    return Signer("corp.example").publish(dns)


@pytest.fixture
def relay(serve_strangers, checker):
    """Start a relay that asks for proof; give a function that hands a mail over."""

    async def start(sender=None, *, ask=None, **settings):
        connect = await serve_strangers(
            sender=sender or {}, ask=ask or checker.authenticator, **settings
        )

        async def send(mail=MAIL, *rcpts, peer=PEER, mail_from="ada@corp.example"):
            talk = await connect(peer)
            await talk.begin(*rcpts or (TO_ADA,), mail_from=mail_from)
            await talk.send(mail + b".\r\n")
            reply = (await talk.reply())[-1]
            await talk.close()
            return reply

        send.connect = connect
        return send

    return start


def verdict_of(sink):
    """Return the verdict kept with the last message."""
    return sink.stored[-1][0].recipients[-1].verdict


async def test_spf_of_the_own_domain_is_proof(relay, corp, sink):
    """The verdict with every check is kept, as JSON, and stands in the trace."""
    send = await relay()
    assert (await send()).startswith("250 ")
    verdict = verdict_of(sink)
    assert (verdict["outcome"], verdict["policy"], verdict["kind"]) == (
        "accept",
        "aligned",
        "direct",
    )
    assert verdict["proof"].startswith("sent by a server of corp.example (SPF)")
    assert verdict["authentication"]["dmarc"]["result"] == "pass"
    json.dumps(verdict)
    steps = [(one.step, one.result) for one in sink.stored[-1][0].trace]
    assert ("policy aligned", "accept") in steps


async def test_a_signature_of_the_own_domain_is_proof(relay, corp, sink):
    """Whoever delivers it; the signature is remembered with the mail."""
    send = await relay()
    assert (await send(corp.sign(MAIL), peer=FORGER)).startswith("250 ")
    assert verdict_of(sink)["proof"] == (
        "signed by corp.example, aligned with the From address"
    )
    assert len(sink.signatures) == 1


@pytest.mark.parametrize(
    ("change", "head", "cause"),
    [
        (lambda mail, corp: mail, "550 5.7.26 ", "S211"),
        (
            lambda mail, corp: Signer("evil.example").sign(mail),
            "550 5.7.26 ",
            "S211",
        ),
        (
            lambda mail, corp: corp.sign(mail, length=True) + b"Forged.\r\n",
            "550 5.7.21 ",
            "S204",
        ),
        (
            lambda mail, corp: b"Subject: Forged\r\n" + corp.sign(mail),
            "550 5.7.21 ",
            "S206",
        ),
        (
            lambda mail, corp: b"To: eve@evil.example\r\n" + corp.sign(mail),
            "550 5.7.21 ",
            "S206",
        ),
        (
            lambda mail, corp: corp.sign(mail).replace(b"Dear", b"Near"),
            "550 5.7.20 ",
            "S207",
        ),
        (
            lambda mail, corp: b"Authentication-Results: mx.in.example; dmarc=pass "
            b"header.from=corp.example\r\n" + mail,
            "550 5.7.26 ",
            "S211",
        ),
    ],
    ids=[
        "unsigned", "other-signer", "l=", "second-subject", "second-to",
        "changed-text", "forged-results",
    ],
)  # fmt: skip
async def test_forgeries_are_refused(relay, corp, sink, dns, change, head, cause):
    """SPF of the forger's domain passes in each; nothing is stored, the cause is."""
    Signer("evil.example").publish(dns)
    send = await relay()
    reply = await send(change(MAIL, corp), peer=FORGER, mail_from="x@evil.example")
    assert reply.startswith(head), reply
    assert sink.stored == []
    (refusal,) = sink.refused
    assert refusal.verdict["cause"] == cause
    assert refusal.reply == reply
    assert refusal.user_id == 1


async def test_what_a_signature_leaves_open_is_held(relay, corp, sink):
    """A Cc that was put on top of a mail whose signature does not name Cc."""
    send = await relay()
    signed = corp.sign(MAIL, fields="from to subject date message-id".split())
    mail = b"Cc: eve@evil.example\r\n" + signed
    reply = await send(mail, peer=FORGER, mail_from="x@evil.example")
    assert reply.startswith("250 ")
    assert sink.stored[0][0].recipients[0].held_for == "dkim_not_covered"


async def test_a_second_from_is_refused_before_any_look_up(relay, corp, sink, dns):
    """What no list can have costs nothing."""
    send = await relay()
    reply = await send(b"From: eve@evil.example\r\n" + corp.sign(MAIL))
    assert reply.startswith("550 5.7.1 This mail names several senders")
    assert sink.refused[0].verdict["cause"] == "S102"
    assert dns.counts == {}


async def test_strangers_cost_no_look_up(relay, corp, sink, dns):
    """The list is asked first; their name costs neither DNS nor a signature."""
    send = await relay()
    mail = MAIL.replace(b"ada@corp", b"eve@corp")
    assert (await send(mail)).startswith("550 5.7.1 Mail from eve@corp.example")
    assert sink.refused[0].verdict["cause"] == "S106"
    assert dns.counts == {}


async def test_the_list_alone_costs_no_look_up(relay, corp, sink, dns):
    """`listed` is as fast as before there were policies."""
    send = await relay({"policy": "listed"})
    assert (await send(peer=FORGER)).startswith("250 ")
    assert dns.counts == {}
    assert verdict_of(sink)["authentication"] is None


async def test_a_watched_policy_stops_nothing(relay, corp, sink):
    """Monitor-only: the mail is logged, and what would have been is kept."""
    send = await relay({"policy": "listed", "monitor": "aligned"})
    assert (await send(peer=FORGER, mail_from="x@evil.example")).startswith("250 ")
    assert verdict_of(sink)["monitor"] == {
        "policy": "aligned",
        "outcome": "refuse",
        "cause": "S211",
    }


async def test_settings_of_a_domain_hold_at_once(relay, corp, sink):
    """The store's setting for the author's domain stands before all others."""
    kept = {}

    def edit(key, value):
        kept["now"] = replace(PEOPLE, settings={f"sender.{key}.corp.example": value})

    edit("otherwise", "hold")
    send = await relay(directory=lambda: kept["now"])
    assert (await send(peer=FORGER)).startswith("250 ")
    assert sink.stored[0][0].recipients[0].held_for == "dmarc_failed"
    edit("otherwise", "flag")
    assert (await send(peer=FORGER)).startswith("250 ")
    assert sink.stored[1][0].recipients[0].held_for == ""
    assert verdict_of(sink)["outcome"] == "flag"
    edit("policy", "listed")
    assert (await send(peer=FORGER)).startswith("250 ")
    assert verdict_of(sink)["policy"] == "listed"


async def test_each_recipient_is_judged_by_their_list(relay, corp, sink):
    """One mail for two: proven for her whose list has the author, refused for him."""
    send = await relay()
    assert (await send(MAIL, TO_ADA, TO_BEN)).startswith("250 ")
    assert [one.rcpt for one in sink.stored[0][0].recipients] == [TO_ADA]
    assert sink.reasons == ["sender_not_accepted"]


async def test_checks_run_once_for_a_mail(relay, corp, sink, dns):
    """However many recipients it has."""
    send = await relay()
    tagged = ("log-ada@in.example", "log-ada@log.example", "postmaster@in.example")
    assert (await send(MAIL, *tagged)).startswith("250 ")
    assert len(sink.stored[0][0].recipients) == 3
    assert dns.asked("corp.example", "TXT") == 1


async def test_forwarded_mail_is_held(relay, corp, sink):
    """A list broke what proved it: it waits for its author, and is not lost."""
    send = await relay()
    mail = LIST_HEAD + corp.sign(MAIL).replace(b"The offer", b"[sales] The offer")
    reply = await send(mail, peer=FORGER, mail_from="sales-bounces@evil.example")
    assert reply.startswith("250 ")
    assert sink.stored[0][0].recipients[0].held_for == "dkim_failed"
    verdict = verdict_of(sink)
    assert (verdict["kind"], verdict["outcome"]) == ("forwarded", "hold")


async def test_a_forwarded_mail_with_its_signature_is_taken(relay, corp, sink):
    """A forwarder that changes nothing leaves the proof as it is."""
    send = await relay()
    mail = b"X-Forwarded-To: log-ada@in.example\r\n" + corp.sign(MAIL)
    assert (await send(mail, peer=FORGER)).startswith("250 ")
    assert verdict_of(sink)["outcome"] == "accept"


# ------------------------------------------------------------------ redirects

REDIRECTED = (
    b"Resent-From: Ada <ada@corp.example>\r\n"
    b"Resent-To: log-ada@in.example\r\n"
    b"From: Mara <mara@acme.example>\r\n"
    b"To: ada@corp.example\r\n"
    b"Subject: Question\r\n"
    b"Date: Wed, 25 Nov 2026 16:58:00 +0100\r\n"
    b"\r\nHow much is it?\r\n"
)


async def test_a_redirect_is_judged_by_who_redirected(relay, corp, sink):
    """A customer's mail, passed on by the user: Resent-From is listed and proven."""
    send = await relay()
    assert (await send(REDIRECTED)).startswith("250 ")
    verdict = verdict_of(sink)
    assert (verdict["kind"], verdict["address"]) == ("redirect", "ada@corp.example")
    assert "Resent-From" in verdict["proof"]
    signed = corp.sign(REDIRECTED)
    assert (await send(signed, peer=FORGER)).startswith("250 ")


@pytest.mark.parametrize(
    "mail",
    [
        REDIRECTED,
        b"Resent-From: ada@corp.example\r\nResent-To: log-ada@in.example\r\n" + MAIL,
    ],
)
async def test_a_redirect_without_proof_is_refused(relay, corp, sink, mail):
    """Anybody can write Resent-From; the text never asks to accept the customer."""
    send = await relay()
    reply = await send(mail, peer=FORGER, mail_from="x@evil.example")
    assert reply.startswith("550 5.7.2")
    assert "mara@" not in reply
    assert sink.stored == []


async def test_the_topmost_redirect_counts(relay, corp, sink):
    """Who passed it on last is a stranger: an older redirect by the user is none."""
    send = await relay()
    mail = b"Resent-From: eve@evil.example\r\nResent-Date: x\r\n" + corp.sign(
        REDIRECTED
    )
    reply = await send(mail, peer=FORGER, mail_from="eve@evil.example")
    assert reply.startswith("550 5.7.1 ")
    assert sink.stored == []


async def test_a_signed_mail_under_a_redirect_of_a_stranger(relay, corp, sink):
    """The user's own mail, signed whole, stays theirs whoever sends it on."""
    send = await relay()
    fields = [name for name in USUAL_FIELDS if not name.startswith("resent")]
    mail = b"Resent-From: eve@evil.example\r\n" + corp.sign(MAIL, fields=fields)
    reply = await send(mail, peer=FORGER, mail_from="eve@evil.example")
    assert reply.startswith("250 ")
    assert verdict_of(sink)["kind"] == "direct"


# ------------------------------------------------------------------ trusted paths


async def test_a_trusted_network_needs_no_proof(relay, corp, sink, dns):
    """It is named in the verdict; a network beside it is not trusted."""
    send = await relay({"trusted_networks": ["203.0.113.0/29"]})
    assert (await send(peer="203.0.113.1")).startswith("250 ")
    assert verdict_of(sink)["proof"] == (
        "handed over by the trusted network 203.0.113.0/29"
    )
    assert verdict_of(sink)["authentication"]["source"] == "network"
    assert dns.counts == {}
    assert (await send(peer=FORGER)).startswith("550 ")


async def test_peers_that_are_only_spared_limits_are_not_trusted(relay, corp, sink):
    """`smtp.trusted_peers` says nothing of senders."""
    send = await relay(trusted_peers=["203.0.113.0/24"])
    assert (await send(peer=FORGER)).startswith("550 ")


async def test_a_login_proves_the_user(serve, checker, corp, sink, dns, certificate):
    """Submission: the user logged in, and may send from their own addresses."""
    chain, key = certificate
    connect = await serve(
        listen=(),
        listeners=[{"address": "127.0.0.1:0", "protocol": "submission"}],
        tls_certificate=chain,
        tls_key=key,
        sender={},
        ask=checker.authenticator,
    )
    import ssl

    talk = await connect()
    await talk.reply()
    await talk.ask("EHLO me")
    assert (await talk.ask("STARTTLS")).startswith("220 ")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    await talk.writer.start_tls(context)
    await talk.ask("EHLO me")
    login = "AUTH PLAIN AGFkYUBjb3JwLmV4YW1wbGUAYWFhYWJiYmI="
    assert (await talk.ask(login)).startswith("235 ")
    await talk.ask("MAIL FROM:<ada@corp.example>")
    await talk.ask(f"RCPT TO:<{TO_ADA}>")
    await talk.ask("DATA")
    await talk.send(MAIL + b".\r\n")
    assert (await talk.reply())[-1].startswith("250 ")
    assert verdict_of(sink)["proof"] == "handed over by ada@corp.example, who logged in"
    assert dns.counts == {}


RESULTS = (
    b"Authentication-Results: mx.corp.example;\r\n"
    b" dmarc=pass header.from=corp.example; dkim=pass header.d=corp.example;"
    b" spf=pass smtp.mailfrom=corp.example\r\n"
)
AUTHSERV = {"authserv": [{"id": "mx.corp.example", "networks": ["198.51.100.0/29"]}]}


async def test_a_configured_server_is_believed(relay, corp, sink, dns):
    """Its word stands on top, from its own network; the verdict names it."""
    send = await relay(AUTHSERV)
    reply = await send(RESULTS + MAIL, peer="198.51.100.1", mail_from="x@evil.example")
    assert reply.startswith("250 ")
    verdict = verdict_of(sink)
    assert verdict["proof"].endswith(", says mx.corp.example")
    assert verdict["authentication"]["source"] == "results"
    assert dns.counts == {}


@pytest.mark.parametrize(
    ("mail", "peer"),
    [
        (RESULTS + MAIL, FORGER),
        (
            b"Authentication-Results: mx.corp.example; dmarc=fail "
            b"header.from=corp.example; spf=fail smtp.mailfrom=evil.example\r\n"
            + RESULTS
            + MAIL,
            "198.51.100.1",
        ),
        (b"Received: from x by y; z\r\n" + RESULTS + MAIL, FORGER),
        (RESULTS.replace(b"mx.corp", b"mx.evil") + MAIL, "198.51.100.1"),
        (
            RESULTS.replace(b"header.from=corp", b"header.from=evil")
            .replace(b"header.d=corp", b"header.d=evil")
            .replace(b"mailfrom=corp", b"mailfrom=evil")
            + MAIL,
            "198.51.100.1",
        ),
    ],
)
async def test_nobody_else_is_believed(relay, corp, sink, mail, peer):
    """Another peer, another name, another domain, or a field that says fail."""
    send = await relay(AUTHSERV)
    reply = await send(mail, peer=peer, mail_from="x@evil.example")
    assert reply.startswith("550 "), reply
    assert sink.stored == []


async def test_a_server_that_believes_a_changed_mail_does_not_help(relay, corp, sink):
    """The server says that DKIM passed; what it covers stands in the mail."""
    send = await relay(AUTHSERV)
    told = (
        b"Authentication-Results: mx.corp.example; dmarc=pass "
        b"header.from=corp.example; dkim=pass header.d=corp.example; "
        b"spf=pass smtp.mailfrom=evil.example\r\n"
    )
    for mail, head in (
        (told + corp.sign(MAIL), "250 "),
        (told + b"Subject: Forged\r\n" + corp.sign(MAIL), "550 5.7.21 "),
        (told + MAIL, "250 "),
    ):
        reply = await send(mail, peer="198.51.100.1", mail_from="x@evil.example")
        assert reply.startswith(head), reply
    held = [one.recipients[0].held_for for one, _, _ in sink.stored]
    assert held == ["", "dkim_not_covered"]


# ------------------------------------------------------------------ DNS in trouble


async def test_silent_dns_puts_off_then_holds(relay, corp, sink, dns):
    """451 while the sender tries again, and no mail is lost for it."""
    dns.fail("servfail")
    send = await relay({"temporary_tries": 2})
    for _ in range(2):
        assert (await send()).startswith("451 4.4.3 DNS did not answer")
    assert (await send()).startswith("250 ")
    assert sink.stored[0][0].recipients[0].held_for == "dns_unavailable"
    assert verdict_of(sink)["cause"] == "S402"
    assert sink.reasons == ["dns_temporary"] * 2
    assert len(sink.tries) == 1


async def test_dns_that_comes_back_lets_the_mail_in(relay, corp, sink, dns):
    """A temporary failure is no final one."""
    dns.fail("servfail")
    send = await relay()
    assert (await send()).startswith("451 ")
    dns.heal()
    other = Checker(dns)
    send = await relay(ask=other.authenticator)
    assert (await send()).startswith("250 ")
    await other.close()


class Gate:
    """An authenticator that answers when it is told to; others are real."""

    def __init__(self, checker):
        self.checker = checker
        self.begun = asyncio.Event()
        self.open = asyncio.Event()

    async def authenticate(self, request):
        if request.helo == "slow.example":
            self.begun.set()
            await self.open.wait()
        return await self.checker.authenticator.authenticate(request)


async def test_a_mail_waits_for_its_own_dns_alone(relay, corp, sink, checker):
    """While one session waits, others are served; then it gets its own answer."""
    gate = Gate(checker)
    send = await relay(ask=gate)
    slow = await send.connect(PEER)
    await slow.reply()
    await slow.ask("EHLO slow.example")
    await slow.ask("MAIL FROM:<ada@corp.example>")
    await slow.ask(f"RCPT TO:<{TO_ADA}>")
    await slow.ask("DATA")
    await slow.send(MAIL + b".\r\n")
    await gate.begun.wait()
    assert (await send()).startswith("250 ")
    assert (await send(peer=FORGER)).startswith("550 ")
    gate.open.set()
    assert (await slow.reply())[-1].startswith("250 ")


# ------------------------------------------------------------------ used again


class Fixed:
    """An authenticator with one answer."""

    def __init__(self, *signatures):
        self.signatures = signatures

    async def authenticate(self, request):
        return Authentication(request.author, "checks", dkim=self.signatures)


async def test_a_signature_that_comes_with_another_mail_is_held(relay, sink):
    """A copy of the first mail is none; the replay stays with its cause."""
    signature = Signature(
        "corp.example", "s", Result.PASS, covers=True, aligned=True, digest="d" * 64
    )
    send = await relay(ask=Fixed(signature))
    assert (await send()).startswith("250 ")
    assert (await send(MAIL.replace(b"Dear Ben,", b"Dear   Ben,"))).startswith("250 ")
    assert (await send(MAIL.replace(b"Dear Ben,", b"Dear Eve,"))).startswith("250 ")
    held = [one.recipients[0].held_for for one, _, _ in sink.stored]
    assert held == ["", "", "signature_reused"]
    # The forged mail has not taken the place of the first.
    assert (await send()).startswith("250 ")
    assert sink.stored[-1][0].recipients[0].held_for == ""


async def test_an_old_signature_is_held(relay, sink):
    """Dated by t=, else by Date; the text names the day."""
    old = SystemClock().now().replace(year=2020, month=3, day=1)
    signature = Signature(
        "corp.example", "s", Result.PASS, covers=True, aligned=True, digest="d" * 64,
        signed_at=old,
    )  # fmt: skip
    send = await relay(ask=Fixed(signature))
    assert (await send()).startswith("250 ")
    assert sink.stored[0][0].recipients[0].held_for == "signature_old"
    assert "01 March 2020" in verdict_of(sink)["text"]


# ------------------------------------------------------------------ other doors


async def test_lmtp_judges_for_each_recipient(serve, checker, corp, sink):
    """A local mail server gets one reply for each; nobody is trusted for its door."""
    connect = await serve(
        listen=(),
        listeners=[{"address": "127.0.0.1:0", "protocol": "lmtp"}],
        sender={},
        ask=checker.authenticator,
    )
    talk = await connect()
    await talk.reply()
    await talk.ask("LHLO me")
    await talk.ask("MAIL FROM:<ada@corp.example>")
    for rcpt in (TO_ADA, TO_BEN, "postmaster@in.example"):
        await talk.ask(f"RCPT TO:<{rcpt}>")
    await talk.ask("DATA")
    await talk.send(MAIL + b".\r\n")
    replies = [(await talk.reply())[-1] for _ in range(3)]
    assert [one[:10] for one in replies] == ["550 5.7.26", "550 5.7.1 ", "250 2.0.0 "]


async def test_a_put_off_mail_that_others_got_is_held(relay, corp, sink, dns):
    """SMTP has one reply: the sender would not come again for this recipient."""
    dns.fail("servfail")
    send = await relay()
    reply = await send(MAIL, TO_ADA, "postmaster@in.example")
    assert reply.startswith("250 ")
    held = {one.rcpt: one.held_for for one in sink.stored[0][0].recipients}
    assert held == {TO_ADA: "dns_unavailable", "postmaster@in.example": ""}


async def test_a_put_off_mail_comes_again_where_nobody_has_it(relay, corp, sink, dns):
    """The stranger's refusal is no answer for the one whose DNS is silent."""
    dns.fail("servfail")
    send = await relay()
    assert (await send(MAIL, TO_BEN, TO_ADA)).startswith("451 4.4.3 ")
    assert sorted(sink.reasons) == ["dns_temporary", "sender_not_accepted"]
    assert sink.stored == []
