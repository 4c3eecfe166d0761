"""Whom to look for: the outside people of a mail.

To and Cc count, as with Salesforce's own address for copies; the users' own addresses,
relay addresses and excluded people do not. Bcc does not count either: a customer whom
nobody else saw in the mail is not made visible on a record by the relay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key, covers, domain_of
from relay.core.directory import SkipKind
from relay.core.model import Person, Place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from relay.core.directory import Directory, Exclusion
    from relay.core.model import Email, Mailbox

MAX_SALESFORCE_EMAIL: Final = 80
"""Length of Contact.Email and Lead.Email: a longer address matches no record."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The people to look for, in the order of the mail, each address once.

    `skipped` holds the reason word where a rule keeps the whole mail out
    (`internal_only`, `excluded`), `unmatched` where nobody is named at all
    (`no_recipient`); `people` is empty then. `left_out` counts what the limit cut.
    """

    people: tuple[Person, ...]
    skipped: str = ""
    unmatched: str = ""
    detail: str = ""
    left_out: int = 0


def plan(
    email: Email,
    directory: Directory,
    *,
    user_id: int,
    relay_domains: Collection[str],
    limit: int = 50,
) -> Plan:
    """Say whom to look for in Salesforce.

    Args:
        email: The mail.
        directory: Users with their accepted addresses, and the exclusions.
        user_id: For whom the mail is logged; that user's exclusions count too.
        relay_domains: Domains of relay addresses; never a customer.
        limit: Addresses looked up at most; the first ones of To, then of Cc.
    """
    own = _OwnAddresses(directory, relay_domains)
    rules = [rule for rule in directory.exclusions if rule.user_id in {None, user_id}]
    everyone = tuple(_participants(email))
    if not everyone:
        return Plan(
            (), unmatched="no_recipient", detail="To and Cc name no address to look for"
        )
    mail_rule = _first(rules, SkipKind.MAIL, (person.key for person in everyone))
    sender_keys = [key for box in email.from_ if (key := address_key(box.address))]
    mail_rule = mail_rule or _first(rules, SkipKind.MAIL, sender_keys)
    if mail_rule:
        return Plan((), skipped="excluded", detail=f"excluded by {mail_rule.pattern}")
    outside = [person for person in everyone if not own.has(person.key)]
    if not outside:
        if all(own.is_relay(person.key) for person in everyone):
            return Plan(
                (),
                unmatched="no_recipient",
                detail="the relay address is the only recipient that the mail names",
            )
        return Plan(
            (), skipped="internal_only", detail="everybody in To and Cc is one of us"
        )
    wanted = [
        person
        for person in outside
        if not _first(rules, SkipKind.ADDRESS, (person.key,))
    ]
    if not wanted:
        return Plan((), skipped="excluded", detail="every outside address is excluded")
    return Plan(tuple(wanted[:limit]), left_out=max(0, len(wanted) - limit))


def together(plans: Sequence[Plan]) -> Plan:
    """Return the plan for copies of one mail: whoever one of the copies asks for."""
    first, *others = plans
    if not others:
        return first
    people = {person.key: person for plan in plans for person in plan.people}
    return Plan(tuple(people.values()), left_out=min(plan.left_out for plan in plans))


def _participants(email: Email) -> Iterable[Person]:
    """Yield everybody in To and Cc, an address once, To first."""
    seen: set[str] = set()
    for place, boxes in ((Place.TO, email.to), (Place.CC, email.cc)):
        for box in boxes:
            person = _person(box, place)
            if person and person.key not in seen:
                seen.add(person.key)
                yield person


def _person(box: Mailbox, place: Place) -> Person | None:
    key = address_key(box.address)
    return Person(key, box.address, box.name, place) if key else None


def _first(
    rules: Iterable[Exclusion], skip: SkipKind, keys: Iterable[str]
) -> Exclusion | None:
    """Return the first exclusion of a kind that covers one of the addresses."""
    of_kind = [rule for rule in rules if rule.skip is skip]
    if not of_kind:
        return None
    for key in keys:
        for rule in of_kind:
            if covers(rule.pattern, key):
                return rule
    return None


class _OwnAddresses:
    """The users' own addresses and the relay's, asked quickly for many mails."""

    def __init__(self, directory: Directory, relay_domains: Collection[str]) -> None:
        self._relay_domains = frozenset(relay_domains)
        accepted = frozenset[str]().union(*directory.accepted.values())
        mailboxes = (user.email for user in directory.users.values())
        self._addresses = accepted | {
            key for mailbox in mailboxes if (key := address_key(mailbox))
        }
        self._domains = frozenset(
            pattern[2:] for pattern in accepted if pattern.startswith("*@")
        )

    def has(self, key: str) -> bool:
        return (
            key in self._addresses
            or domain_of(key) in self._domains
            or self.is_relay(key)
        )

    def is_relay(self, key: str) -> bool:
        return domain_of(key) in self._relay_domains
