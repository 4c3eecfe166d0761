"""What a policy makes of what was found: each cell, and each reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.config import SenderSettings
from relay.core.authentication import (
    ARCCheck,
    Authentication,
    DMARCCheck,
    Identity,
    MailKind,
    Outcome,
    Policy,
    Result,
    Signature,
    SPFCheck,
)
from relay.sender import CAUSES, policy
from relay.sender.policy import History, Rule

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
WEEK = timedelta(days=7)
FRESH = History(NOW, WEEK)
ADA = "ada@acme.com"
ALIGNED = Rule(Policy.ALIGNED, Outcome.REFUSE)
ANY = Rule(Policy.ANY_PASS_NONE_FAIL, Outcome.REFUSE)

OWN = Signature(
    "acme.com", "s1", Result.PASS, covers=True, aligned=True, digest="d1", signed_at=NOW
)
OTHER = replace(OWN, domain="evil.example", aligned=False, digest="d2")
NO_DMARC = DMARCCheck("acme.com", Result.NONE, organizational_domain="acme.com")
REJECTS = replace(
    NO_DMARC, result=Result.FAIL, policy="reject", policy_domain="acme.com"
)


def spf(result, domain="acme.com", text=""):
    """Return SPF for MAIL FROM."""
    aligned = domain == "acme.com"
    return SPFCheck(Identity.MAIL_FROM, domain, result, text, aligned)


def found(*dkim, spf=None, dmarc=NO_DMARC, author=ADA, source="checks"):
    """Return what was found about a mail."""
    checks = (SPFCheck(Identity.HELO, "acme.com", Result.PASS),)
    if spf is not None:
        checks = (*checks, spf)
        passed = spf.result is Result.PASS and spf.domain.endswith("acme.com")
        if dmarc is not None:
            dmarc = replace(dmarc, spf_aligned=passed)
    return Authentication(author, source, spf=checks, dkim=dkim, dmarc=dmarc)


def judged(facts, rule=ALIGNED, history=FRESH, kind=MailKind.DIRECT, **more):
    """Return the verdict on a mail of Ada's."""
    return policy.judge(rule, facts, history, address=ADA, kind=kind, **more)


@pytest.mark.parametrize(
    ("facts", "proof"),
    [
        (found(OWN), "signed by acme.com, aligned with the From address"),
        (
            found(replace(OWN, domain="mail.acme.com")),
            "signed by mail.acme.com, aligned with the From address",
        ),
        (found(OTHER, OWN), "signed by acme.com, aligned with the From address"),
        (
            found(replace(OWN, result=Result.FAIL), OWN),
            "signed by acme.com, aligned with the From address",
        ),
        (
            found(spf=spf(Result.PASS)),
            "sent by a server of acme.com (SPF), aligned with the From address",
        ),
        (
            found(spf=spf(Result.PASS, "bounce.acme.com")),
            "sent by a server of bounce.acme.com (SPF), aligned with the From address",
        ),
        # Without an answer about DMARC the author's own domain is still the same.
        (
            found(spf=spf(Result.PASS), dmarc=None),
            "sent by a server of acme.com (SPF), aligned with the From address",
        ),
        (
            found(replace(OWN, result=Result.TEMPERROR), spf=spf(Result.PASS)),
            "sent by a server of acme.com (SPF), aligned with the From address",
        ),
    ],
)
def test_aligned_takes_proof_of_the_own_organisation(facts, proof):
    """One proof is enough, whatever else is there; it is named in words."""
    verdict = judged(facts)
    assert verdict.outcome is Outcome.ACCEPT
    assert (verdict.proof, verdict.cause, verdict.text) == (proof, "", "")
    assert verdict.authentication is facts


@pytest.mark.parametrize("dmarc", [NO_DMARC, REJECTS, None])
def test_the_helo_name_of_a_null_sender_proves_no_author(dmarc):
    """SPF counts by MAIL FROM alone (RFC 9989 section 4.4.2)."""
    by_helo = SPFCheck(Identity.MAIL_FROM, "acme.com", Result.PASS, "null sender")
    facts = Authentication(ADA, "checks", spf=(by_helo,), dmarc=dmarc)
    assert judged(facts).outcome is Outcome.REFUSE


def test_a_redirect_that_a_forwarder_passed_on_needs_a_signature():
    """Its server sends whatever reached the mailbox, also what a stranger wrote."""
    redirect = MailKind.REDIRECT
    facts = found(spf=spf(Result.PASS))
    assert judged(facts, kind=redirect).outcome is Outcome.ACCEPT
    verdict = judged(facts, kind=redirect, passed_on=True)
    assert (verdict.outcome, verdict.cause) == (Outcome.HOLD, "S212")
    verdict = judged(found(OWN), kind=redirect, passed_on=True)
    assert verdict.outcome is Outcome.ACCEPT
    assert judged(found(), kind=redirect).outcome is Outcome.REFUSE


SIGNED = Rule(Policy.SIGNED, Outcome.REFUSE)


@pytest.mark.parametrize("kind", [MailKind.DIRECT, MailKind.FORWARDED])
def test_signed_takes_a_signature(kind):
    """With or without SPF, on each way."""
    for facts in (found(OWN), found(OWN, spf=spf(Result.FAIL))):
        verdict = judged(facts, SIGNED, kind=kind)
        assert verdict.outcome is Outcome.ACCEPT
        assert verdict.proof == "signed by acme.com, aligned with the From address"


@pytest.mark.parametrize("dkim", [(), (OTHER,)])
def test_signed_takes_no_spf(dkim):
    """A host that strangers use too passes SPF for them (CERT/CC VU#517845)."""
    facts = found(*dkim, spf=spf(Result.PASS))
    assert judged(facts).outcome is Outcome.ACCEPT
    verdict = judged(facts, SIGNED)
    assert (verdict.outcome, verdict.cause) == (Outcome.REFUSE, "S219")
    assert "Mail of acme.com must be signed" in verdict.text


def test_signed_names_what_a_signature_lacks():
    """SPF beside it hides nothing of a signature that is there."""
    broken = replace(OWN, result=Result.FAIL)
    verdict = judged(found(broken, spf=spf(Result.PASS)), SIGNED)
    assert verdict.cause == "S207"
    assert judged(found(), SIGNED).cause == "S201"


@pytest.mark.parametrize(
    ("facts", "reason", "words"),
    [
        (found(), "no_proof", "Nothing proves that ada@acme.com"),
        (found(dmarc=None), "no_proof", "no DKIM signature"),
        (found(spf=spf(Result.NONE)), "no_proof", "SPF has no result"),
        (found(spf=spf(Result.NEUTRAL)), "no_proof", "SPF has no result"),
        (
            found(spf=spf(Result.PASS, "evil.example")),
            "spf_other_domain",
            "SPF passed for evil.example and not for acme.com",
        ),
        (
            found(spf=spf(Result.PASS, "notacme.com.example")),
            "spf_other_domain",
            "SPF passed for notacme.com.example",
        ),
        (found(OTHER), "dkim_other_domain", "signed by evil.example and not by acme"),
        (
            found(OTHER, spf=spf(Result.PASS, "evil.example")),
            "dkim_other_domain",
            "signed by evil.example",
        ),
        (
            found(replace(OWN, result=Result.POLICY, text="l= covers 20 of 50 bytes")),
            "dkim_partial_body",
            "only a part of the text (l=)",
        ),
        (
            found(replace(OWN, covers=False, missing=("subject", "to"))),
            "dkim_not_covered",
            "does not cover subject, to",
        ),
        (
            found(replace(OWN, covers=False)),
            "dkim_not_covered",
            "does not cover all that the relay uses",
        ),
        (
            found(replace(OWN, covers=False, missing=("date", "subject twice"))),
            "header_repeated",
            "has subject twice",
        ),
        (
            found(replace(OWN, result=Result.FAIL, text="body hash differs")),
            "dkim_failed",
            "does not fit this mail (body hash differs)",
        ),
        (
            found(replace(OWN, result=Result.PERMERROR, text="the key is revoked")),
            "dkim_key_broken",
            "of acme.com cannot be used (the key is revoked)",
        ),
        (
            found(replace(OWN, result=Result.PERMERROR, text="t= is no time")),
            "dkim_not_counted",
            "does not count (t= is no time)",
        ),
        (
            found(replace(OWN, result=Result.POLICY, text="the key is a test")),
            "dkim_not_counted",
            "does not count (the key is a test)",
        ),
        (
            found(Signature("", "", Result.PERMERROR, "the header is unclear")),
            "header_unclear",
            "No DKIM signature of this mail counts, since the header is unclear",
        ),
        (
            found(replace(OWN, result=Result.POLICY, text="the RSA key has 512 bits")),
            "dkim_weak_key",
            "does not count (the RSA key has 512 bits)",
        ),
        (
            found(replace(OWN, result=Result.POLICY, text="the key is a test (t=y)")),
            "dkim_not_counted",
            "does not count (the key is a test (t=y))",
        ),
        (
            found(replace(OWN, result=Result.POLICY, text="expired 2 days ago")),
            "dkim_expired",
            "has expired",
        ),
        (
            found(spf=spf(Result.FAIL, text="192.0.2.9 is not in v=spf1 -all")),
            "spf_failed",
            "(192.0.2.9 is not in v=spf1 -all)",
        ),
        (found(spf=spf(Result.SOFTFAIL)), "spf_failed", "(softfail)"),
        (found(spf=spf(Result.PERMERROR)), "record_broken", "SPF permerror"),
        (found(dmarc=REJECTS), "dmarc_failed", "(p=reject at acme.com)"),
        (
            found(spf=spf(Result.PASS, "evil.example"), dmarc=REJECTS),
            "dmarc_failed",
            "(p=reject at acme.com)",
        ),
        (
            found(dmarc=replace(REJECTS, policy="none")),
            "no_proof",
            "Nothing proves",
        ),
        # A name that only looks like a sub-domain is another domain.
        (
            found(replace(OTHER, domain="evilacme.com")),
            "dkim_other_domain",
            "signed by evilacme.com",
        ),
        # Aligned only if the record says so: strict alignment, and a sub-domain.
        (
            found(replace(OWN, domain="mail.acme.com", aligned=False)),
            "no_proof",
            "",
        ),
    ],
)
def test_aligned_refuses_with_the_reason(facts, reason, words):
    """The cause is the first that the sender can mend; the text says it in words."""
    verdict = judged(facts)
    row = CAUSES[verdict.cause]
    outcome = Outcome.HOLD if reason == "dkim_not_covered" else Outcome.REFUSE
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert row.reason == reason
    assert f"({row.number}, {row.source.partition(',')[0]})" in verdict.text
    assert words in verdict.text
    assert "{" not in verdict.text
    assert verdict.proof == ""


@pytest.mark.parametrize(
    "facts",
    [
        found(replace(OWN, result=Result.TEMPERROR)),
        found(replace(OWN, result=Result.TEMPERROR, aligned=False)),
        found(spf=spf(Result.TEMPERROR)),
        found(dmarc=replace(NO_DMARC, result=Result.TEMPERROR)),
        found(OTHER, dmarc=replace(NO_DMARC, result=Result.TEMPERROR)),
    ],
)
def test_dns_that_is_silent_is_asked_again(facts):
    """No answer is never a pass and no final no."""
    for rule in (ALIGNED, replace(ALIGNED, otherwise=Outcome.FLAG), ANY):
        verdict = judged(facts, rule)
        if rule is ANY and facts.dkim and OTHER in facts.dkim:
            continue
        assert (verdict.outcome, verdict.cause) == (Outcome.RETRY, "S401")


@pytest.mark.parametrize(
    "facts",
    [
        found(replace(OTHER, result=Result.TEMPERROR)),
        found(spf=spf(Result.TEMPERROR, "evil.example")),
    ],
)
def test_silent_dns_of_another_domain_changes_nothing(facts):
    """Who writes a signature whose DNS never answers is refused, not put off."""
    assert judged(facts).outcome is Outcome.REFUSE


@pytest.mark.parametrize(
    ("facts", "outcome", "words"),
    [
        (found(OWN), Outcome.ACCEPT, "signed by acme.com"),
        (found(OTHER), Outcome.ACCEPT, "signed by evil.example"),
        (
            found(spf=spf(Result.PASS, "evil.example")),
            Outcome.ACCEPT,
            "sent by a server of evil.example (SPF)",
        ),
        (
            found(OTHER, dmarc=REJECTS),
            Outcome.REFUSE,
            "(DMARC of acme.com fail)",
        ),
        (found(OWN, spf=spf(Result.FAIL)), Outcome.REFUSE, "(SPF of acme.com fail)"),
        (
            found(replace(OWN, result=Result.FAIL), spf=spf(Result.PASS)),
            Outcome.REFUSE,
            "(DKIM fail)",
        ),
        (found(OWN, spf=spf(Result.SOFTFAIL)), Outcome.ACCEPT, "signed by acme.com"),
        (found(replace(OWN, result=Result.FAIL), OWN), Outcome.ACCEPT, "signed by"),
        (found(), Outcome.REFUSE, "Nothing proves"),
        (found(replace(OWN, covers=False)), Outcome.HOLD, "does not cover"),
        (
            found(OWN, spf=spf(Result.TEMPERROR)),
            Outcome.RETRY,
            "DNS did not answer",
        ),
        (
            found(
                replace(OWN, domain="mail.acme.com", aligned=False),
                dmarc=replace(NO_DMARC, result=Result.PASS),
                source="results",
            ),
            Outcome.ACCEPT,
            "DMARC of acme.com passed",
        ),
    ],
)
def test_any_pass_none_fail(facts, outcome, words):
    """One check passes and none fails, of whatever domain."""
    verdict = judged(facts, ANY)
    assert verdict.outcome is outcome
    assert words in (verdict.proof or verdict.text)


@pytest.mark.parametrize("rule", [ALIGNED, ANY])
@pytest.mark.parametrize(
    ("facts", "history", "reason"),
    [
        (found(OWN), FRESH, ""),
        (found(OWN), History(NOW + WEEK, WEEK), ""),
        (found(OWN), History(NOW + WEEK + timedelta(seconds=1), WEEK), "signature_old"),
        (
            found(replace(OWN, signed_at=None)),
            History(NOW, WEEK, date=NOW - timedelta(days=8)),
            "signature_old",
        ),
        (found(replace(OWN, signed_at=None)), FRESH, ""),
        (found(OWN), History(NOW, WEEK, reused=frozenset({"d1"})), "signature_reused"),
        (found(OWN), History(NOW, WEEK, reused=frozenset({"d2"})), ""),
        (
            found(OWN, replace(OWN, digest="d3")),
            History(NOW, WEEK, reused=frozenset({"d1"})),
            "",
        ),
        # Sent by a server of the domain just now, it is not somebody's replay.
        (
            found(OWN, spf=spf(Result.PASS)),
            History(NOW, WEEK, reused=frozenset({"d1"})),
            "",
        ),
    ],
)
def test_signatures_that_are_used_again_are_held(rule, facts, history, reason):
    """Held, whatever happens otherwise, where no other proof is there."""
    for otherwise in (Outcome.REFUSE, Outcome.FLAG):
        verdict = judged(facts, replace(rule, otherwise=otherwise), history)
        assert verdict.reason == reason
        assert verdict.outcome is (Outcome.HOLD if reason else Outcome.ACCEPT)


def test_an_old_signature_says_of_when_it_is():
    """The day stands in the text, so that its author knows the mail."""
    verdict = judged(found(OWN), history=History(NOW + timedelta(days=30), WEEK))
    assert "of 04 March 2026" in verdict.text


@pytest.mark.parametrize("source", sorted(policy.TRUSTED))
def test_a_trusted_path_is_named(source):
    """Mail that came on one is taken, and the path stands in the verdict."""
    facts = Authentication(ADA, source, "10.0.0.0/8")
    for rule in (ALIGNED, ANY):
        verdict = judged(facts, rule)
        assert verdict.outcome is Outcome.ACCEPT
        assert "10.0.0.0/8" in verdict.proof


def test_results_of_another_server_name_it():
    """What a configured server found is judged like what was found here."""
    facts = replace(found(OWN, source="results"), source_detail="mx.acme.com")
    assert judged(facts).proof == (
        "signed by acme.com, aligned with the From address, says mx.acme.com"
    )
    assert judged(replace(facts, dkim=())).outcome is Outcome.REFUSE


def test_a_redirect_is_proven_by_resent_from():
    """The words name the field; without proof the sender reads what to do instead."""
    good = judged(found(OWN), kind=MailKind.REDIRECT)
    assert good.proof == "signed by acme.com, aligned with the Resent-From address"
    bad = judged(found(OTHER), kind=MailKind.REDIRECT)
    assert bad.reason == "redirect_not_proven"
    assert "(S212, RFC 5322 section 3.6.6)" in bad.text
    assert "forward the mail instead" in bad.text


def test_what_a_signature_leaves_open_is_flagged_where_that_is_the_rule():
    """It is held instead of refused; an admin who only flags wants no mail held."""
    rule = Rule(Policy.ALIGNED, Outcome.FLAG)
    assert judged(found(replace(OWN, covers=False)), rule).outcome is Outcome.FLAG


def test_spf_of_a_forwarder_proves_no_author():
    """Her own mail server passes on what a stranger sent to her mailbox."""
    facts = found(spf=spf(Result.PASS))
    assert judged(facts).outcome is Outcome.ACCEPT
    verdict = judged(facts, kind=MailKind.FORWARDED)
    assert verdict.reason == "forward_not_proven"
    both = found(OWN, spf=spf(Result.PASS))
    assert judged(both, kind=MailKind.FORWARDED).proof.startswith("signed by acme.com")


def test_forwarded_mail_has_its_own_cause():
    """What a list breaks is no fault of its author; a broken signature is named."""
    verdict = judged(found(OTHER), kind=MailKind.FORWARDED)
    assert verdict.reason == "forward_not_proven"
    broken = found(replace(OWN, result=Result.FAIL, text="body hash differs"))
    assert judged(broken, kind=MailKind.FORWARDED).reason == "dkim_failed"


@pytest.mark.parametrize("otherwise", [Outcome.REFUSE, Outcome.HOLD, Outcome.FLAG])
def test_what_happens_otherwise(otherwise):
    """The rule says what becomes of a mail without proof."""
    verdict = judged(found(), replace(ALIGNED, otherwise=otherwise))
    assert (verdict.outcome, verdict.cause) == (otherwise, "S201")


def test_listed_asks_for_nothing():
    """With nothing known, too; other policies do not guess."""
    rule = Rule(Policy.LISTED, Outcome.REFUSE)
    assert not rule.asks_for_proof
    assert judged(None, rule).outcome is Outcome.ACCEPT
    with pytest.raises(ValueError, match="asks for proof"):
        judged(None)


def test_a_watched_policy_stops_nothing():
    """It is judged beside, and says what it would have done."""
    rule = Rule(Policy.LISTED, Outcome.REFUSE, monitor=Policy.ALIGNED)
    assert rule.asks_for_proof
    verdict = judged(found(OTHER), rule)
    assert (verdict.outcome, verdict.cause) == (Outcome.ACCEPT, "")
    assert verdict.as_json()["monitor"] == {
        "policy": "aligned",
        "outcome": "refuse",
        "cause": "S203",
    }
    assert judged(found(OWN), rule).as_json()["monitor"]["cause"] is None


# ------------------------------------------------------------------ which rule


@pytest.mark.parametrize(
    ("config", "kept", "kind", "expected"),
    [
        ({}, {}, "direct", ("aligned", "refuse", None)),
        ({}, {}, "redirect", ("aligned", "refuse", None)),
        ({}, {}, "forwarded", ("aligned", "hold", None)),
        ({"policy": "listed"}, {}, "forwarded", ("listed", "hold", None)),
        (
            {"forwarded_policy": "any_pass_none_fail"},
            {},
            "forwarded",
            ("any_pass_none_fail", "hold", None),
        ),
        ({"otherwise": "flag"}, {}, "forwarded", ("aligned", "flag", None)),
        ({}, {"sender.policy": "listed"}, "direct", ("listed", "refuse", None)),
        (
            {},
            {"sender.policy": "listed", "sender.policy.acme.com": "aligned"},
            "direct",
            ("aligned", "refuse", None),
        ),
        (
            {},
            {"sender.policy.mail.acme.com": "listed", "sender.policy.com": "listed"},
            "direct",
            ("aligned", "refuse", None),
        ),
        (
            {},
            {"sender.otherwise.acme.com": "hold"},
            "direct",
            ("aligned", "hold", None),
        ),
        (
            {"policy": "listed"},
            {"sender.monitor": "aligned"},
            "direct",
            ("listed", "refuse", "aligned"),
        ),
        # There is nothing to watch where that policy is in force.
        ({}, {"sender.monitor": "aligned"}, "direct", ("aligned", "refuse", None)),
    ],
)
def test_the_rule_in_force(config, kept, kind, expected):
    """A domain's own setting, then that of all in the store, then the file's."""
    rule = policy.rule_for(SenderSettings(**config), kept, "acme.com", MailKind(kind))
    assert (rule.policy, rule.otherwise, rule.monitor) == expected


def test_another_server_may_tell_an_alignment_of_its_own():
    """DMARC passed there by a signature of a sub-domain, which covers the mail here."""
    below = replace(OWN, domain="mail.acme.com", aligned=False)
    passed = replace(NO_DMARC, result=Result.PASS)
    facts = replace(
        found(below, dmarc=passed, source="results"), source_detail="mx.acme.com"
    )
    assert judged(facts).proof == "DMARC of acme.com passed, says mx.acme.com"
    open_ = replace(facts, dkim=(replace(below, covers=False),))
    assert judged(open_).outcome is not Outcome.ACCEPT
    # SPF of another domain is no proof, whatever DMARC was told to have passed by.
    other = spf(Result.PASS, "evil.example")
    by_dkim = replace(passed, spf_aligned=True)
    assert judged(replace(open_, spf=(other,), dmarc=by_dkim)).outcome is (
        Outcome.REFUSE
    )


def test_a_trusted_forwarder_keeps_a_mail_from_being_refused():
    """What its seal says it saw proves nothing by itself."""
    arc = ARCCheck(Result.PASS, "fwd.example", 1, trusted=True, claims=("acme.com",))
    rule = Rule(Policy.ALIGNED, Outcome.REFUSE)
    for facts, kind, outcome in (
        (arc, MailKind.FORWARDED, Outcome.HOLD),
        (arc, MailKind.DIRECT, Outcome.REFUSE),
        (replace(arc, trusted=False), MailKind.FORWARDED, Outcome.REFUSE),
        (replace(arc, claims=()), MailKind.FORWARDED, Outcome.REFUSE),
    ):
        mail = replace(found(OTHER), arc=facts)
        assert judged(mail, rule, kind=kind).outcome is outcome


def test_our_own_failure_is_no_verdict():
    """A check that failed here says nothing of the mail: it comes again."""
    broken = Signature("", "", Result.TEMPERROR, "the relay failed to check")
    assert judged(found(broken)).outcome is Outcome.RETRY
    assert judged(found(spf=spf(Result.TEMPERROR, ""))).outcome is Outcome.RETRY
