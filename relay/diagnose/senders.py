"""A domain of senders, tried: its records, its mail, and which policy would take it.

SPF and DMARC stand in DNS under known names. A DKIM key stands under a name that only
a signed mail tells, so that DKIM is known from mail that came before. What was found
about that mail is judged again here, by each policy, with the functions that judged it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key, domain_of
from relay.core.authentication import (
    Authentication,
    MailKind,
    Outcome,
    Policy,
    Result,
    from_json,
)
from relay.diagnose.finding import Finding, ok, warn
from relay.sender import policy
from relay.sender.dmarc import Walker
from relay.sender.resolver import DNSFailure, Resolver

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.sender.resolver import MailLookups
    from relay.store import Store

_Seen = tuple[Authentication, MailKind]
"""What was found about a mail, and on which way it came."""
LATELY: Final = timedelta(days=30)
"""How far back mail of the domain is looked at."""
_MOST: Final = 500
_SEND: Final = (
    "send a mail to a relay address under another policy than listed, then again"
)
_TRIED: Final = (Policy.ALIGNED, Policy.SIGNED, Policy.ANY_PASS_NONE_FAIL)


async def sender(
    settings: Settings, store: Store, clock: Clock, address: str, resolver: Resolver
) -> list[Finding]:
    """Try the domain of an address; each finding with what helps.

    Raises:
        StoreUnavailable: What was seen of it cannot be read.
    """
    key = address_key(address) or address
    domain = domain_of(key)
    lookups = resolver.for_mail()
    kept = await store.directory.settings()
    rule = policy.rule_for(settings.sender, kept, domain, MailKind.DIRECT)
    seen = await _seen(store, domain, clock.now() - LATELY)
    return [
        ok("sender", f"{key}: policy {rule.policy}, otherwise {rule.otherwise}"),
        await _listed(store, key),
        await _spf(lookups, domain),
        await _dmarc(lookups, domain),
        _dkim([found for found, _ in seen], domain),
        *(_policy(one, seen, clock.now()) for one in _TRIED),
    ]


async def _listed(store: Store, key: str) -> Finding:
    """Name the users whose list has the address."""
    directory = await store.directory.load()
    names = [
        user.email
        for user in directory.users.values()
        if {key, f"*@{domain_of(key)}"} & directory.accepted.get(user.id, frozenset())
    ]
    if names:
        return ok("list", f"accepted for {', '.join(sorted(names))}")
    hint = "a user's own address is added with relay address add"
    return warn("list", "on nobody's list: refused, whatever proves it", hint)


async def _spf(lookups: MailLookups, domain: str) -> Finding:
    try:
        answer = await lookups.txt(domain)
    except DNSFailure as failure:
        return warn("SPF", f"DNS does not answer: {failure}", "try again")
    records = [
        text.decode("ascii", "replace")
        for text in answer.values
        if text.lower().split(b" ", 1)[0] == b"v=spf1"
    ]
    if len(records) == 1:
        return ok("SPF", f"{domain}: {records[0]}")
    if records:
        hint = "keep one of them (RFC 7208 section 4.5)"
        return warn("SPF", f"{domain} has {len(records)} records, so none counts", hint)
    hint = f"the administrator of {domain} publishes one, or signs with DKIM"
    return warn("SPF", f"{domain} has no record", hint)


async def _dmarc(lookups: MailLookups, domain: str) -> Finding:
    try:
        walk = await Walker(lookups).walk(domain)
    except DNSFailure as failure:
        return warn("DMARC", f"DNS does not answer: {failure}", "try again")
    record = walk.policy_record
    if record is None:
        text = f"{domain} has no record: it is an organisation by itself"
        return ok("DMARC", text)
    strict = [
        name
        for name, is_strict in (
            ("SPF", record.strict_spf),
            ("DKIM", record.strict_dkim),
        )
        if is_strict
    ]
    exact = f", the very domain is asked for by {' and '.join(strict)}"
    text = f"p={record.policy} at {record.domain}{exact if strict else ''}"
    return ok("DMARC", f"{text}; the organisation is {walk.organizational_domain}")


def _dkim(seen: list[Authentication], domain: str) -> Finding:
    signed = [
        one
        for found in seen
        for one in found.dkim
        if one.result is Result.PASS and one.aligned
    ]
    days = LATELY.days
    if not seen:
        return warn("DKIM", f"no mail was checked in {days} days", _SEND)
    if not signed:
        hint = f"the administrator of {domain} switches DKIM on"
        text = f"none of {len(seen)} mails in {days} days was signed by {domain}"
        return warn("DKIM", text, hint)
    open_ = sorted({name for one in signed if not one.covers for name in one.missing})
    whose = ", ".join(sorted({f"{one.domain} ({one.selector})" for one in signed}))
    text = f"{len(signed)} signatures in {len(seen)} mails, by {whose}"
    if open_ and not any(one.covers for one in signed):
        hint = f"the administrator of {domain} signs {', '.join(open_)} too"
        return warn("DKIM", f"{text}; none covers {', '.join(open_)}", hint)
    return ok("DKIM", text)


def _policy(which: Policy, seen: Sequence[_Seen], now: datetime) -> Finding:
    """Say how much of the mail that was seen a policy would take."""
    area = f"policy {which}"
    if not seen:
        return warn(area, "unknown: no mail was checked lately", _SEND)
    rule = policy.Rule(which, Outcome.REFUSE)
    history = policy.History(now, LATELY + LATELY)
    verdicts = [
        policy.judge(rule, found, history, address=found.author, kind=kind)
        for found, kind in seen
    ]
    bad = [one for one in verdicts if one.outcome is not Outcome.ACCEPT]
    text = f"would take {len(verdicts) - len(bad)} of {len(verdicts)} mails"
    if not bad:
        return ok(area, text)
    return warn(area, text, f"{bad[0].cause}: {bad[0].text}")


async def _seen(store: Store, domain: str, since: datetime) -> list[_Seen]:
    """Return what was found about mail of the domain, as far as it was looked for."""
    rows = await store.sender.proofs(domain, since)
    seen = [
        (from_json(row["authentication"]), MailKind(row["kind"]))
        for row in rows[:_MOST]
        if row["authentication"]
    ]
    return [one for one in seen if one[0].source not in policy.TRUSTED]
