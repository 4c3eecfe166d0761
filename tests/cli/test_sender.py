"""What the commands show of senders: verdicts, reports, causes, and a domain tried."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from relay.core.authentication import (
    Authentication,
    DMARCCheck,
    Foresight,
    Identity,
    Outcome,
    Result,
    Signature,
    SPFCheck,
    Verdict,
)
from relay.core.clock import SystemClock
from relay.core.ids import new_message_id
from relay.core.model import Envelope, RawMail, Recipient, Refusal
from relay.sender import CAUSES
from tests.fakes.dns import dns

if TYPE_CHECKING:
    from relay.store import Store

__all__ = ["dns"]

SIGNED = Authentication(
    "ada@acme.com",
    "checks",
    spf=(SPFCheck(Identity.MAIL_FROM, "evil.example", Result.PASS, "is listed"),),
    dkim=(
        Signature(
            "acme.com", "s1", Result.PASS, "signed by acme.com", covers=True,
            aligned=True, digest="d",
        ),
    ),
    dmarc=DMARCCheck("acme.com", Result.PASS, organizational_domain="acme.com"),
)  # fmt: skip
GOOD = Verdict(
    Outcome.ACCEPT, "aligned", "direct", address="ada@acme.com",
    proof="signed by acme.com, aligned with the From address", authentication=SIGNED,
)  # fmt: skip
HELD = replace(
    GOOD,
    outcome=Outcome.HOLD,
    kind="forwarded",
    proof="",
    cause="S215",
    reason="forward_not_proven",
    text="This mail was passed on by a list; send it yourself",
    authentication=replace(SIGNED, dkim=()),
    monitor=Foresight("any_pass_none_fail", Outcome.REFUSE, "S213"),
)


def keep(relay: Any, verdict: Verdict) -> str:
    """Store a message with a verdict, as the intake does; return its id."""

    async def job(store: Store) -> str:
        (user, *_) = await store.directory.users()
        id_ = new_message_id(SystemClock())
        held = verdict.reason if verdict.outcome is Outcome.HOLD else ""
        envelope = Envelope(
            mail_from="ada@acme.com",
            peer="192.0.2.1",
            helo="",
            tls=False,
            received_at=datetime.now(UTC),
            recipients=(Recipient(id_, "log@x", user.id, held, verdict.as_json()),),
            header_from="ada@acme.com",
        )
        raw = b"Subject: x\r\n\r\nHi\r\n"
        await store.messages.put(envelope, RawMail(len(raw), "0" * 64, raw))
        return id_

    return str(relay.in_store(job))


def test_show_says_the_verdict_in_words(relay: Any, ada: Any) -> None:
    """What proved it, or why it is held, and each check; JSON has it all."""
    text = relay("show", keep(relay, GOOD)).stdout
    assert "ada@acme.com: accept, by the policy aligned" in text
    assert "signed by acme.com, aligned with the From address" in text
    assert "SPF of the envelope sender: pass: is listed" in text
    id_ = keep(relay, HELD)
    text = relay("show", id_).stdout
    assert "This mail was passed on by a list" in text
    assert "any_pass_none_fail would: refuse S213" in text
    assert "not signed (DKIM)" in text
    (row,) = relay.json("show", id_)
    assert row["verdict"] == HELD.as_json()
    assert row["cause"] == "S215"


def test_held_mail_is_listed_and_released(relay: Any, ada: Any) -> None:
    """By an admin, with the reason that the log has."""
    id_ = keep(relay, HELD)
    keep(relay, GOOD)
    (row,) = relay.json("log", "--state", "held")
    assert (row["id"], row["reason"], row["cause"]) == (
        id_,
        "forward_not_proven",
        "S215",
    )
    relay("release", id_)
    assert relay.json("log", "--state", "held") == []


def test_the_report_shows_what_would_be_stopped(relay: Any, ada: Any) -> None:
    """By domain, before the policy is switched on."""
    assert "No mail was judged" in relay("sender", "report").stdout
    for verdict in (GOOD, HELD):
        keep(relay, verdict)

    async def refuse(store: Store) -> None:
        verdict = replace(HELD, outcome=Outcome.REFUSE, cause="S106", monitor=None)
        refusal = Refusal(
            new_message_id(SystemClock()), datetime.now(UTC), "192.0.2.1", "", "", "",
            "550", "x", verdict=verdict.as_json(),
        )  # fmt: skip
        await store.refusals.record([refusal])

    relay.in_store(refuse)
    (row,) = relay.json("sender", "report", "--since", "1h")
    assert (row["domain"], row["mails"], row["accept"]) == ("acme.com", 3, 1)
    assert row["monitor"]["stopped"] == 1
    text = relay("sender", "report").stdout
    assert "acme.com" in text
    assert "1 of 1" in text


def test_monitor_only_sets_another_key(relay: Any) -> None:
    """The policy in force stays; other keys have no such way."""
    said = relay("settings", "set", "sender.policy", "aligned", "--monitor-only").stdout
    assert "sender.monitor is aligned now." in said
    assert "relay sender report" in said
    relay("settings", "set", "sender.policy.acme.com", "aligned", "--monitor-only")
    kept = {
        row["key"]: row["value"]
        for row in relay.json("settings", "list")
        if row["source"] == "store"
    }
    assert kept == {"sender.monitor": "aligned", "sender.monitor.acme.com": "aligned"}
    line = relay.error(
        "settings", "set", "match.several", "all", "--monitor-only", status=2
    )
    assert "sender.policy alone" in line


def test_causes_are_listed(relay: Any) -> None:
    """All of them, with number, word and text."""
    rows = relay.json("sender", "causes")
    assert [row["cause"] for row in rows] == list(CAUSES)
    assert "S101" in relay("sender", "causes").stdout


# ------------------------------------------------------------------ a domain tried


@pytest.fixture
def asking(relay: Any, dns: Any) -> Any:
    """Let the relay ask the test's DNS."""
    host, port = dns.address
    with relay.config.open("a", encoding="utf-8") as file:
        file.write(f'[dns]\nservers = ["{host}:{port}"]\ntimeout_s = 1.0\n')
    return relay


def findings(relay: Any, address: str) -> dict[str, dict[str, Any]]:
    """Return what a check of a sender says."""
    return {row["check"]: row for row in relay.json("check", "--sender", address)}


def test_a_domain_is_tried(asking: Any, ada: Any, dns: Any) -> None:
    """Records from DNS, signatures from the log, and what each policy would take."""
    dns.txt("acme.com", "v=spf1 -all")
    dns.dmarc("acme.com", "v=DMARC1; p=reject; adkim=s")
    for verdict in (GOOD, HELD):
        keep(asking, verdict)
    found = findings(asking, "ada@acme.com")
    assert "listed" in found["sender"]["detail"]
    assert found["list"]["result"] == "warn"
    assert found["SPF"]["detail"] == "acme.com: v=spf1 -all"
    assert (
        "p=reject at acme.com, the very domain is asked for by DKIM"
        in (found["DMARC"]["detail"])
    )
    assert "1 signatures in 2 mails, by acme.com (s1)" in found["DKIM"]["detail"]
    aligned = found["policy aligned"]
    assert "would take 1 of 2 mails" in aligned["detail"]
    assert aligned["hint"].startswith("S2")
    assert found["policy any_pass_none_fail"]["result"] == "ok"


def test_a_domain_without_records(asking: Any, ada: Any, dns: Any) -> None:
    """Everything that is missing has a hint; nothing was seen yet."""
    dns.records("other.example. 300 IN A 192.0.2.1")
    found = findings(asking, ada["email"])
    assert found["list"]["detail"] == "accepted for ada@corp.example"
    assert {found[name]["result"] for name in ("SPF", "DKIM", "policy aligned")} == {
        "warn"
    }
    assert all(row["hint"] for row in found.values() if row["result"] != "ok")


def test_two_spf_records_are_none(asking: Any, ada: Any, dns: Any) -> None:
    """Receivers take neither (RFC 7208 section 4.5)."""
    dns.txt("corp.example", "v=spf1 -all")
    dns.txt("corp.example", "v=spf1 mx -all")
    assert "2 records" in findings(asking, ada["email"])["SPF"]["detail"]


def test_signatures_that_leave_something_open(asking: Any, ada: Any, dns: Any) -> None:
    """The hint names the fields that are to be signed."""
    (one,) = SIGNED.dkim
    open_ = replace(one, covers=False, missing=("subject",))
    keep(asking, replace(GOOD, authentication=replace(SIGNED, dkim=(open_,))))
    found = findings(asking, "ada@acme.com")["DKIM"]
    assert (found["result"], "subject" in found["hint"]) == ("warn", True)
    keep(asking, replace(HELD, address="x@none.example"))
    found = findings(asking, "x@none.example")["DKIM"]
    assert "none of 1 mails" in found["detail"]


def test_silent_dns_is_said(asking: Any, ada: Any, dns: Any) -> None:
    """It is no missing record."""
    dns.fail("servfail")
    found = findings(asking, ada["email"])
    for name in ("SPF", "DMARC"):
        assert "DNS does not answer" in found[name]["detail"]


def test_what_is_no_address(relay: Any) -> None:
    """Wrong usage, with the form of an address."""
    assert "write one like" in relay.error("check", "--sender", "acme.com", status=2)


def test_check_judges_a_mail_by_the_way_on_which_it_came(
    asking: Any, ada: Any, dns: Any
) -> None:
    """SPF of a forwarder proves nobody."""
    dns.txt("acme.com", "v=spf1 -all")
    spf = SPFCheck(Identity.MAIL_FROM, "acme.com", Result.PASS, aligned=True)
    found = replace(SIGNED, dkim=(), spf=(spf,))
    keep(asking, replace(GOOD, authentication=found))
    keep(asking, replace(HELD, authentication=found))
    aligned = findings(asking, "ada@acme.com")["policy aligned"]
    assert aligned["detail"] == "would take 1 of 2 mails"
