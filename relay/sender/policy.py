"""The judgement of a mail from what was found about its author; pure, nothing waits.

`rule_for` says which policy is in force for a domain and a way of mail; `judge` applies
it to an `Authentication`, and names the cause from the catalogue (`causes`) where the
author is not proven. The list of accepted addresses is asked before (`accepted`): a
stranger never comes here.

**aligned**: a DKIM signature that passes, is of the author's organisational domain and
covers all that the relay uses; or, in mail that no list or forwarder passed on, SPF
that passes for MAIL FROM with such a domain.
Whether the domain publishes a DMARC record does not matter (RFC 9989 section 4.4).
**signed**: such a signature alone; for a domain whose SPF record includes a host that
strangers use too. **any_pass_none_fail**: one of SPF, DKIM and DMARC passes, and none
fails; this is what Salesforce asks of mail for Email to Salesforce. **listed**: no
proof at all.

What was proven by a signature alone is held where the signature is old, or came before
with another mail: whoever holds one signed mail could send it again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from relay.core.authentication import (
    Foresight,
    Identity,
    MailKind,
    Outcome,
    Policy,
    Result,
    Verdict,
)
from relay.sender.causes import cause

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from relay.config import SenderSettings
    from relay.core.authentication import Authentication, Signature, SPFCheck
    from relay.core.model import Json

KEYS: Final = (
    "sender.policy",
    "sender.otherwise",
    "sender.forwarded_policy",
    "sender.forwarded_otherwise",
    "sender.monitor",
)
"""Settings that the store may override, for all or, with a domain behind, for one."""
TRUSTED: Final = frozenset({"network", "certificate", "login", "http", "import"})
"""Sources of an `Authentication` that stand for a path instead of for checks."""
_OUTCOMES: Final = {
    "refuse": Outcome.REFUSE,
    "hold": Outcome.HOLD,
    "flag": Outcome.FLAG,
}
_WORDS: Final = {
    "network": "handed over by the trusted network {}",
    "certificate": "handed over with the certificate of {}",
    "login": "handed over by {}, who logged in",
    "http": "handed over by HTTP with the {}",
    "import": "imported from {}",
}
_HELD: Final = frozenset({"signature_old", "signature_reused"})
_NOT_REFUSED: Final = frozenset({"dkim_not_covered"})
"""Held instead of refused: what the big providers sign leaves a field or two open."""
_WITHOUT_SIGNATURE: Final = frozenset(
    {"no_proof", "spf_other_domain", "dkim_other_domain", "dmarc_failed"}
)
_FIRM: Final = frozenset({"reject", "quarantine"})
_RESULTS: Final = "results"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is asked of mail of one domain that came on one way.

    `monitor` is a policy that is judged beside and stops nothing, or None.
    """

    policy: Policy
    otherwise: Outcome
    monitor: Policy | None = None

    @property
    def asks_for_proof(self) -> bool:
        """Say whether anything must be known beyond the list."""
        return self.policy is not Policy.LISTED or self.monitor is not None


@dataclass(frozen=True, slots=True)
class History:
    """What is known of earlier mails, and of the age of this one.

    `reused` are digests of signatures that came before with another content.
    `date` is the Date of the mail, for signatures without a time of their own.
    """

    now: datetime
    max_age: timedelta
    date: datetime | None = None
    reused: frozenset[str] = frozenset()


def rule_for(
    config: SenderSettings, kept: Mapping[str, Json], domain: str, kind: MailKind
) -> Rule:
    """Return the rule for a domain: its own setting, else that of all, else the file's.

    Args:
        config: The settings file.
        kept: The settings in the store, by key.
        domain: The author's domain, as its key. A setting of a domain does not hold
            for its sub-domains, as `*@domain` does not.
        kind: The way on which the mail came.
    """

    def value(name: str) -> str:
        key = f"sender.{name}"
        found = kept.get(f"{key}.{domain}", kept.get(key))
        return str(getattr(config, name) if found is None else found)

    policy, otherwise = value("policy"), value("otherwise")
    if kind is MailKind.FORWARDED:
        forwarded = value("forwarded_policy")
        policy = policy if forwarded == "same" else forwarded
        # A mail that is only listed passes anyway; flagged direct mail stays flagged.
        otherwise = value("forwarded_otherwise") if otherwise != "flag" else otherwise
    monitor = value("monitor")
    return Rule(
        Policy(policy),
        _OUTCOMES[otherwise],
        None if monitor in {"none", policy} else Policy(monitor),
    )


def judge(
    rule: Rule,
    authentication: Authentication | None,
    history: History,
    *,
    address: str,
    kind: MailKind = MailKind.DIRECT,
    passed_on: bool = False,
) -> Verdict:
    """Judge a mail whose author is on the list.

    Args:
        rule: From `rule_for`.
        authentication: What was found; None is enough for `listed` without a monitor.
        history: For signatures that are old or used again.
        address: The author that was judged, as written.
        kind: The way on which the mail came.
        passed_on: A list or a forwarder left its marks, also on a redirected mail.
    """
    by_itself = passed_on or kind is MailKind.FORWARDED
    facts = None if authentication is None else _Facts(authentication, by_itself)
    verdict = _by(rule.policy, rule.otherwise, facts, history, address, kind)
    if rule.monitor is None:
        return verdict
    other = _by(rule.monitor, rule.otherwise, facts, history, address, kind)
    return replace(verdict, monitor=Foresight(rule.monitor, other.outcome, other.cause))


def listed(address: str, kind: MailKind = MailKind.DIRECT) -> Verdict:
    """Return the verdict of the policy `listed`."""
    return Verdict(
        Outcome.ACCEPT,
        Policy.LISTED,
        kind,
        proof="the address is on the list; no proof was asked for",
        address=address,
    )


def against(
    reason: str,
    outcome: Outcome,
    *,
    policy: str,
    kind: str = MailKind.DIRECT,
    address: str = "",
    detail: str = "",
    authentication: Authentication | None = None,
) -> Verdict:
    """Return a verdict against a mail, for a cause of the catalogue."""
    row = cause(reason)
    return Verdict(
        outcome,
        policy,
        kind,
        cause=row.number,
        text=row.text(address=address, detail=detail),
        authentication=authentication,
        address=address,
        reason=reason,
        detail=detail,
    )


def _by(
    policy: Policy,
    otherwise: Outcome,
    facts: _Facts | None,
    history: History,
    address: str,
    kind: MailKind,
) -> Verdict:
    found = None if facts is None else facts.found
    if policy is Policy.LISTED:
        return replace(listed(address, kind), authentication=found)
    if facts is None or found is None:
        raise ValueError("a policy that asks for proof needs what was found")
    good = Verdict(Outcome.ACCEPT, policy, kind, authentication=found, address=address)
    if found.source in TRUSTED:
        words = _WORDS[found.source].format(found.source_detail)
        return replace(good, proof=words)
    if policy is Policy.ALIGNED:
        proof, reason, detail = _aligned(facts, history, kind)
    elif policy is Policy.SIGNED:
        proof, reason, detail = _signed(facts, history, kind)
    else:
        proof, reason, detail = _any_pass(facts, history, kind)
    if not reason:
        return replace(good, proof=proof)
    outcome = Outcome.RETRY if cause(reason).temporary else otherwise
    redirected = kind is MailKind.REDIRECT and facts.passed_on
    spared = reason in _NOT_REFUSED or redirected or _vouched(found, kind)
    if reason in _HELD or (outcome is Outcome.REFUSE and spared):
        outcome = Outcome.HOLD
    return against(
        reason,
        outcome,
        policy=policy,
        kind=kind,
        address=address,
        detail=detail,
        authentication=found,
    )


def _vouched(found: Authentication, kind: MailKind) -> bool:
    """Say whether a trusted forwarder saw a proof that was lost on the way (RFC 8617).

    Its word alone proves nothing, and keeps the mail from being refused.
    """
    arc = found.arc
    return (
        kind is MailKind.FORWARDED
        and arc is not None
        and arc.trusted
        and bool(arc.claims)
    )


_Answer = tuple[str, str, str]
"""What proves the author, or else the reason against the mail and its detail."""


class _Facts:
    """What was found, under the names that a policy asks by."""

    def __init__(self, found: Authentication, passed_on: bool) -> None:  # noqa: FBT001
        self.found = found
        self.passed_on = passed_on
        self.domain = found.author.rpartition("@")[2]
        self.dmarc = found.dmarc
        mail_from = [one for one in found.spf if one.identity is Identity.MAIL_FROM]
        self.spf: SPFCheck | None = mail_from[0] if mail_from else None
        self.own = [one for one in found.dkim if self.is_own(one)]
        self.others = [one for one in found.dkim if not self.is_own(one)]
        self.by = f", says {found.source_detail}" if found.source == _RESULTS else ""

    def is_own(self, signature: Signature) -> bool:
        """Say whether a signature is one of the author's organisation."""
        return signature.aligned or self.is_related(signature.domain)

    def is_related(self, domain: str) -> bool:
        """Say whether a domain may be one of the author's organisation.

        Where the walk through DNS has not come to an end, the author's domain itself is
        all that is known.
        """
        top = (self.dmarc.organizational_domain if self.dmarc else "") or self.domain
        return domain == top or domain.endswith(f".{top}")

    @property
    def spf_aligned(self) -> bool:
        """Say whether SPF passed for MAIL FROM with the author's domain."""
        if self.spf is None or self.spf.result is not Result.PASS:
            return False
        by_dmarc = self.dmarc is not None and self.dmarc.spf_aligned
        # Another server may say that SPF passed, and DMARC for another reason.
        own = self.found.source != _RESULTS or self.is_related(self.spf.domain)
        # Not its name alone: for the null sender that is the HELO name, which proves no
        # author (RFC 9989 section 4.4.2).
        return (by_dmarc and own) or self.spf.aligned

    @property
    def told_by_dmarc(self) -> bool:
        """Say whether another server says that DMARC passed, by what covers the mail.

        It need not say which domain passed: alignment is its word.
        """
        if self.found.source != _RESULTS or self.dmarc is None:
            return False
        return self.dmarc.result is Result.PASS and any(
            one.result is Result.PASS and one.covers for one in self.own
        )

    def signed(self, *, any_domain: bool) -> list[Signature]:
        """Return the signatures that count: they pass, and cover what is used."""
        among = self.found.dkim if any_domain else self.own
        return [
            one
            for one in among
            if one.result is Result.PASS and one.covers and (any_domain or one.aligned)
        ]


def _place(kind: MailKind) -> str:
    """Name the field whose address is judged."""
    return "Resent-From" if kind is MailKind.REDIRECT else "From"


def _aligned(facts: _Facts, history: History, kind: MailKind) -> _Answer:
    # What a server passes on, SPF proves to come from that server, whoever wrote it: it
    # may be that of the author's own mailbox (RFC 7960 section 3.2).
    # So may be a Resent-From, which a stranger can write before it comes there.
    if not facts.passed_on and facts.spf_aligned and facts.spf is not None:
        domain = facts.spf.domain
        text = f"sent by a server of {domain} (SPF)"
        return f"{text}, aligned with the {_place(kind)} address{facts.by}", "", ""
    return _own_proof(facts, history, kind)


def _signed(facts: _Facts, history: History, kind: MailKind) -> _Answer:
    answer = _own_proof(facts, history, kind)
    if facts.spf_aligned and answer[1] in _WITHOUT_SIGNATURE:
        # SPF is what the sender would point to: say that it is not enough.
        return "", "dkim_missing", ""
    return answer


def _own_proof(facts: _Facts, history: History, kind: MailKind) -> _Answer:
    """Return what proves the author beside SPF, or why nothing does."""
    signed = facts.signed(any_domain=False)
    if signed:
        against_it = _used_again(signed, history)
        text = f"signed by {signed[0].domain}, aligned with the {_place(kind)} address"
        return against_it or (text + facts.by, "", "")
    if facts.told_by_dmarc:
        return f"DMARC of {facts.domain} passed{facts.by}", "", ""
    return _unproven(facts, kind)


def _any_pass(facts: _Facts, history: History, kind: MailKind) -> _Answer:
    spf = Result.NONE if facts.spf is None else facts.spf.result
    dmarc = Result.NONE if facts.dmarc is None else facts.dmarc.result
    signed = facts.signed(any_domain=True)
    results = {one.result for one in facts.found.dkim}
    if not signed and Result.TEMPERROR in results:
        return "", "dns_temporary", ""
    if Result.TEMPERROR in {spf, dmarc}:
        return "", "dns_temporary", ""
    failed = [
        f"{name} {Result.FAIL.value}"
        for name, fails in (
            (f"SPF of {facts.spf.domain if facts.spf else ''}", spf is Result.FAIL),
            ("DKIM", not signed and Result.FAIL in results),
            # Policy: it would pass by a signature that leaves something open.
            (f"DMARC of {facts.domain}", dmarc in {Result.FAIL, Result.POLICY}),
        )
        if fails
    ]
    if failed:
        return "", "check_failed", ", ".join(failed)
    if spf is Result.PASS and facts.spf is not None:
        return f"sent by a server of {facts.spf.domain} (SPF){facts.by}", "", ""
    if facts.told_by_dmarc:
        return f"DMARC of {facts.domain} passed{facts.by}", "", ""
    if signed:
        text = f"signed by {signed[0].domain}{facts.by}"
        return _used_again(signed, history) or (text, "", "")
    return _unproven(facts, kind)


def _used_again(signed: list[Signature], history: History) -> _Answer | None:
    """Return the reason against signatures of which none is fresh."""
    reasons = [_stale(one, history) for one in signed]
    if "" in reasons:
        return None
    number = next((i for i, one in enumerate(reasons) if one == "signature_reused"), 0)
    made = signed[number].signed_at or history.date
    return "", reasons[number], "" if made is None else f"{made:%d %B %Y}"


def _stale(signature: Signature, history: History) -> str:
    if signature.digest in history.reused:
        return "signature_reused"
    made = signature.signed_at or history.date
    if made is not None and history.now - made > history.max_age:
        return "signature_old"
    return ""


def _unproven(facts: _Facts, kind: MailKind) -> _Answer:
    """Return the reason why nothing proves the author: the first that a rep can mend.

    The order goes from what is broken in a proof of the author's own domain to what is
    not there at all.
    """
    if _waits_for_dns(facts):
        return "", "dns_temporary", ""
    if kind is MailKind.REDIRECT:
        return "", "redirect_not_proven", ""
    reason, detail = _own_signature(facts.own)
    dmarc = facts.dmarc
    unread = [one for one in facts.found.dkim if _is_unread(one)]
    if reason:
        pass
    elif unread:
        reason, detail = "header_unclear", unread[0].text
    elif kind is MailKind.FORWARDED:
        reason = "forward_not_proven"
    elif dmarc and dmarc.result is Result.FAIL and dmarc.effective_policy in _FIRM:
        where = dmarc.policy_domain or dmarc.domain
        reason, detail = "dmarc_failed", f"p={dmarc.policy} at {where}"
    else:
        reason, detail = _elsewhere(facts)
    return "", reason, detail


def _is_unread(signature: Signature) -> bool:
    """Say whether nothing is known of a signature, since the header is unclear."""
    return signature.result is Result.PERMERROR and "the header " in signature.text


def _waits_for_dns(facts: _Facts) -> bool:
    """Say whether an answer of DNS could still prove the author.

    A signature or a MAIL FROM of another domain cannot: who writes one whose DNS never
    answers is not answered 451 for it.
    """
    if facts.dmarc is not None and facts.dmarc.result is Result.TEMPERROR:
        return True
    if any(
        one.result is Result.TEMPERROR and (one in facts.own or not one.domain)
        for one in facts.found.dkim
    ):
        return True
    spf = facts.spf
    return (
        spf is not None
        and spf.result is Result.TEMPERROR
        and (not spf.domain or facts.is_related(spf.domain))
    )


def _own_signature(own: list[Signature]) -> tuple[str, str]:
    """Return what is wrong with the signatures of the author's own domain."""
    passed = [one for one in own if one.result is Result.PASS and one.aligned]
    if passed:
        names = passed[0].missing
        twice = [name.removesuffix(TWICE) for name in names if name.endswith(TWICE)]
        if twice:
            return "header_repeated", ", ".join(twice)
        return "dkim_not_covered", ", ".join(names) or "all that the relay uses"
    for result, reason in (
        (Result.POLICY, ""),
        (Result.FAIL, "dkim_failed"),
        (Result.PERMERROR, ""),
    ):
        for one in own:
            if one.result is result:
                return reason or _odd(one), one.text
    return "", ""


TWICE: Final = " twice"
"""Ends the name of a field in `Signature.missing` that stands twice."""


def _odd(signature: Signature) -> str:
    """Return why a signature that does not fail does not count."""
    if signature.text.startswith(("the key ", "there is no key")):
        tested = signature.result is Result.POLICY
        return "dkim_not_counted" if tested else "dkim_key_broken"
    if "l=" in signature.text:
        return "dkim_partial_body"
    if "expired" in signature.text:
        return "dkim_expired"
    if "SHA-1" in signature.text or " bits" in signature.text:
        return "dkim_weak_key"
    return "dkim_not_counted"


def _elsewhere(facts: _Facts) -> tuple[str, str]:
    """Return what was found of other domains, or that nothing was."""
    spf = facts.spf
    related = spf is not None and facts.is_related(spf.domain)
    if spf and related and spf.result in {Result.FAIL, Result.SOFTFAIL}:
        return "spf_failed", spf.text or spf.result.value
    if spf and related and spf.result is Result.PERMERROR:
        return "record_broken", spf.text or "SPF permerror"
    signers = [one.domain for one in facts.others if one.result is Result.PASS]
    if signers:
        return "dkim_other_domain", ", ".join(dict.fromkeys(signers))
    if spf and spf.result is Result.PASS:
        return "spf_other_domain", spf.domain
    return "no_proof", ""
