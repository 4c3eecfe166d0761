"""SPF: may this peer send mail for that domain.

The evaluation is spftrace's, with its limits of 10 terms and 2 void look-ups; the
questions go through the relay's own resolver, within the bounds of the mail. Two
identities are checked: the envelope sender, which alone counts for DMARC, and the HELO
name, which says something of the peer.

Source: RFC 7208; RFC 9989 section 4.4.2.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

import spftrace
from spftrace.evaluator import valid_domain

from relay.core.addresses import domain_key
from relay.core.authentication import Identity, Result, SPFCheck
from relay.sender.resolver import DNSFailure, LookupsExhausted, Status

if TYPE_CHECKING:
    from relay.sender.resolver import MailLookups

_RECEIVER: Final = "unknown"
"""What `%{r}` becomes: the relay tells strangers' DNS nothing of itself (RFC 7208
section 7.3 allows it)."""
_LONGEST_TEXT: Final = 300


async def check(
    lookups: MailLookups, peer_ip: str, helo: str, mail_from: str
) -> tuple[SPFCheck, SPFCheck]:
    """Check the envelope sender, then the HELO name.

    Args:
        lookups: The view of this mail.
        peer_ip: IPv4 or IPv6 address of the peer; empty where there is none: nothing
            is checked.
        helo: As the peer gave it; an address literal has no SPF.
        mail_from: The envelope sender; empty for the null sender, for which the HELO
            name stands (RFC 7208 section 2.4).
    """
    if not _is_ip(peer_ip):
        text = "the mail came by a way that has no IP address"
        return (
            SPFCheck(Identity.MAIL_FROM, "", Result.NONE, text),
            SPFCheck(Identity.HELO, "", Result.NONE, text),
        )
    helo = domain_key(helo)
    of_helo = await _check(lookups, Identity.HELO, peer_ip, helo, f"postmaster@{helo}")
    local, _, domain = mail_from.rpartition("@")
    if not mail_from:
        text = f"null sender, checked as postmaster@{helo}; {of_helo.text}"
        null = SPFCheck(Identity.MAIL_FROM, of_helo.domain, of_helo.result, text)
        return null, of_helo
    sender = f"{local or 'postmaster'}@{domain_key(domain)}"
    of_sender = await _check(lookups, Identity.MAIL_FROM, peer_ip, helo, sender)
    return of_sender, of_helo


async def _check(
    lookups: MailLookups, identity: Identity, peer_ip: str, helo: str, sender: str
) -> SPFCheck:
    """Run check_host() for one identity (RFC 7208 section 4)."""
    domain = sender.rpartition("@")[2]
    if domain.startswith("[") or not valid_domain(domain) or not domain.isascii():
        # RFC 7208 sections 2.3 and 4.3: no domain, no SPF.
        text = f"{domain!r} is no domain name that SPF knows"
        return SPFCheck(identity, "", Result.NONE, text[:_LONGEST_TEXT])
    limits = spftrace.Limits(time_limit=max(lookups.left_s(), 0.001), max_queries=None)
    evaluator = spftrace.Evaluator(_Transport(lookups), limits, receiver=_RECEIVER)
    found = await evaluator.evaluate(peer_ip, sender, helo)
    result = Result(found.result)
    text = _words(result, domain, peer_ip, _reason(found))
    return SPFCheck(identity, domain, result, text[:_LONGEST_TEXT])


class _Transport(spftrace.BaseResolver):
    """spftrace's door to the DNS, which leads to the relay's resolver."""

    def __init__(self, lookups: MailLookups) -> None:
        self._lookups = lookups

    async def _lookup(self, name: str, rtype: str) -> tuple[str, list[str]]:
        try:
            answer = await self._lookups.ask(name, rtype)
        except LookupsExhausted as failure:
            # Another attempt would come to the same: it is the records' fault.
            raise spftrace.SpfPermError(str(failure)) from failure
        except DNSFailure as failure:
            raise spftrace.DnsError(str(failure)) from failure
        if answer.status is Status.NO_NAME:
            return "NXDOMAIN", []
        return "NOERROR", [
            value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            for value in answer.values
        ]


def _reason(found: spftrace.Result) -> str:
    """Return the term that decided, or the error, from the trace."""
    reason = ""
    for event in found.trace.events:
        if event.kind == "exit":
            reason = str(event.data.get("reason", ""))
        elif event.kind == "mech_match" and event.depth == 0:
            reason = str(event.data.get("raw", ""))
    return reason


def _words(result: Result, domain: str, peer_ip: str, reason: str) -> str:
    because = f" ({reason})" if reason else ""
    match result:
        case Result.PASS:
            return f"{domain} allows {peer_ip}{because}"
        case Result.FAIL:
            return f"{domain} forbids {peer_ip}{because}"
        case Result.SOFTFAIL:
            return f"{domain} doubts {peer_ip}{because}"
        case Result.NEUTRAL:
            return f"{domain} says nothing about {peer_ip}{because}"
        case Result.NONE:
            return f"{domain} has no SPF record"
        case Result.TEMPERROR:
            return f"the DNS did not answer for {domain}{because}"
        case _:
            return f"the SPF record of {domain} is in error{because}"


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
