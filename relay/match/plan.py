"""Whom to look for: the outside people of a mail.

To and Cc count, as with Salesforce's own address for copies, and From of mail that was
received; the users' own addresses, internal domains, relay addresses and excluded
people do not. Bcc counts only where an admin says so: the other recipients did not see
that address, and the relay would show it on a record. So does Reply-To, whose owner may
have no part in the mail.

Each rule is a function of its own. A rule for a whole mail returns the verdict with
which the mail ends; a rule for a person returns why that person is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key, domain_of
from relay.core.directory import SkipKind
from relay.core.free_mail import is_free_mail
from relay.core.mailboxes import NO_RULES
from relay.core.model import Person, Place
from relay.core.states import Event

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from relay.core.directory import Directory, Exclusion
    from relay.core.mailboxes import AddressRules
    from relay.core.model import Email, Mailbox

OWN: Final = "own address"
INTERNAL: Final = "internal domain"
RELAY: Final = "relay address"
EXCLUDED: Final = "excluded by"
EXCLUDED_MAIL: Final = "excluded"
"""The reason of a mail that an exclusion has ended."""
FORWARD_UNSURE: Final = "forward_unsure"
"""The reason of a forward of which nobody can tell what it is."""
BEYOND: Final = "beyond the limit of"
HOW_TO_LOG: Final = (
    "put it into BCC of a mail to a customer, or forward a customer's mail to it alone"
)
"""What a rep does so that a mail names somebody to look for."""


UNSURE: Final = {
    "no_header": "it says that it forwards a mail, and does not show whose",
    "no_address": "the forwarded mail names its sender without an address",
    "several_senders": "the forwarded mail names several senders",
    "no_mark": "the header of a mail stands in the text, and nothing says whether "
    "that mail is forwarded or answered",
    "reply_of_forward": "the subject says reply, and a line in the text says forward",
    "attached_beyond_limits": "too many mails are attached, or too large ones",
    "attached_unreadable": "an attached mail cannot be read",
    "attached_without_sender": "an attached mail does not name one sender",
}
"""What is unsure about a forward (`mail.forward`, `mail.reader`), in words."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ends.

    `reason` is a stable word of the log (`internal_only`, `no_record`, …), `detail` a
    sentence for people.
    """

    event: Event
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A participant of the mail who is not looked for, with the rule."""

    address: str
    rule: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to look for one user: in the order of the mail, each address once.

    `verdict` is set where a rule settles the whole mail; `people` is empty then.
    """

    people: tuple[Person, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    verdict: Verdict | None = None

    @property
    def beyond(self) -> int:
        """Return how many people the limit cut."""
        return sum(1 for one in self.left_out if one.rule.startswith(BEYOND))


AUTO: Final = "auto"
"""In `match.internal_domains`: the domains of the users' own addresses."""


class OurAddresses:
    """The users' own addresses, internal domains and the relay's, for many mails.

    Attributes:
        address_rules: Which spellings are one mailbox.
    """

    def __init__(
        self,
        directory: Directory,
        relay_domains: Collection[str],
        internal_domains: Collection[str] = (AUTO,),
    ) -> None:
        """Read the directory once.

        `*@domain` among the accepted addresses says who may send, and nothing about
        who is a colleague: with `*@gmail.com` every customer there would be one.
        """
        self._relay_domains = frozenset(relay_domains)
        self.address_rules = directory.address_rules
        mailboxes = (u.email for u in directory.users.values() if not u.removed_at)
        self._addresses = frozenset[str]().union(*directory.accepted.values()) | {
            key for mailbox in mailboxes if (key := address_key(mailbox))
        }
        self._mailboxes = frozenset(map(self.address_rules.mailbox, self._addresses))
        named = frozenset(internal_domains)
        self._domains = named - {AUTO}
        if AUTO in named:
            self._domains |= domains_of_users(directory)

    def rule(self, key: str) -> str:
        """Return why the address is no customer's; empty where it may be one."""
        domain = domain_of(key)
        if domain in self._relay_domains:
            return RELAY
        if self.address_rules.mailbox(key) in self._mailboxes:
            return OWN
        if self._domains.isdisjoint((domain, self.address_rules.domain(domain))):
            return ""
        return f"{INTERNAL} {domain}"


def domains_of_users(directory: Directory) -> frozenset[str]:
    """Return the domains of the own addresses of active users, but no free mail."""
    keys = (address_key(u.email) for u in directory.users.values() if u.active)
    return frozenset(
        domain for key in keys if key and not is_free_mail(domain := domain_of(key))
    )


def plan(
    email: Email,
    ours: OurAddresses,
    exclusions: Sequence[Exclusion],
    *,
    limit: int = 0,
    more_headers: Collection[str] = (),
) -> Plan:
    """Say whom to look for in Salesforce, or why there is no look-up.

    Args:
        email: The mail.
        ours: Addresses that are no customer's.
        exclusions: Those that count for the user of this copy.
        limit: Addresses looked up at most; the first ones of To, then of Cc. 0: all.
        more_headers: Further fields whose people count (`match.more_headers`).
    """
    everyone = participants(email, more_headers)
    rules = ours.address_rules
    excluded = Excluded(exclusions, rules)
    verdict = (
        forward_unsure(email)
        or nobody_named(everyone)
        or mail_excluded(email, everyone, excluded)
    )
    if verdict:
        return Plan(verdict=verdict)
    people: list[Person] = []
    left_out: list[LeftOut] = []
    for person in everyone:
        rule = ours.rule(person.key) or address_excluded(person, excluded)
        if not rule and limit and len(people) >= limit:
            rule = f"{BEYOND} {limit} addresses"
        if rule:
            left_out.append(LeftOut(person.address, rule))
        else:
            others = rules.spellings(person.key)
            people.append(replace(person, spellings=others) if others else person)
    if not people:
        return Plan((), tuple(left_out), nobody_left(left_out))
    return Plan(tuple(people), tuple(left_out))


class Excluded:
    """The exclusions of a user, indexed for the addresses of a mail.

    Who is left out is left out in every spelling of the mailbox.
    """

    def __init__(
        self, exclusions: Iterable[Exclusion], rules: AddressRules = NO_RULES
    ) -> None:
        """Read the exclusions once: a mail may have thousands of addresses."""
        self._mailbox = rules.mailbox
        self._by_pattern: dict[tuple[SkipKind, str], Exclusion] = {}
        for rule in exclusions:
            pattern = rules.mailbox(rule.pattern)
            self._by_pattern.setdefault((rule.skip, pattern), rule)

    def first(self, skip: SkipKind, keys: Iterable[str]) -> Exclusion | None:
        """Return the exclusion that covers the first of these addresses that any does.

        `*@domain` covers that domain alone; a sub-domain may be another owner's.
        """
        if not self._by_pattern:
            return None
        for mailbox in map(self._mailbox, keys):
            for pattern in (mailbox, f"*@{domain_of(mailbox)}"):
                rule = self._by_pattern.get((skip, pattern))
                if rule:
                    return rule
        return None


def exclusions_of(directory: Directory, user_id: int) -> list[Exclusion]:
    """Return the exclusions that count for a user's mail: the org's and the user's."""
    return [rule for rule in directory.exclusions if rule.user_id in {None, user_id}]


# ---------------------------------------------------------------- rules for a mail


def forward_unsure(email: Email) -> Verdict | None:
    """End as unmatched a mail that is a forward to be logged, and cannot be read."""
    if not email.forward_unsure:
        return None
    what = UNSURE.get(email.forward_unsure, email.forward_unsure)
    detail = f"{what}; forward that mail as an attachment, to the relay address alone"
    return Verdict(Event.NO_MATCH, FORWARD_UNSURE, detail)


def nobody_named(everyone: Sequence[Person]) -> Verdict | None:
    """End as unmatched a mail whose To and Cc hold no address."""
    if everyone:
        return None
    detail = f"To and Cc name no address to look for; {HOW_TO_LOG}"
    return Verdict(Event.NO_MATCH, "no_recipient", detail)


def mail_excluded(
    email: Email, everyone: Sequence[Person], excluded: Excluded
) -> Verdict | None:
    """Skip a mail with a participant whose mail is not to be logged."""
    senders = (key for box in email.from_ if (key := address_key(box.address)))
    keys = [person.key for person in everyone]
    rule = excluded.first(SkipKind.MAIL, [*keys, *senders])
    if rule is None:
        return None
    return Verdict(Event.RULED_OUT, EXCLUDED_MAIL, f"{EXCLUDED} {rule.pattern}")


def nobody_left(left_out: Sequence[LeftOut]) -> Verdict:
    """Say how a mail ends of which every participant is left out."""
    ours = [one for one in left_out if one.rule.startswith((OWN, INTERNAL))]
    relays = [one for one in left_out if one.rule == RELAY]
    if len(ours) + len(relays) < len(left_out):
        detail = "every outside address is excluded"
        return Verdict(Event.RULED_OUT, EXCLUDED_MAIL, detail)
    if ours:
        detail = "everybody in To and Cc is one of us"
        return Verdict(Event.RULED_OUT, "internal_only", detail)
    detail = "the relay address is the only recipient that the mail names; "
    detail += HOW_TO_LOG
    return Verdict(Event.NO_MATCH, "no_recipient", detail)


# ---------------------------------------------------------------- rules for a person


def address_excluded(person: Person, excluded: Excluded) -> str:
    """Leave out an address that is not to be looked up."""
    rule = excluded.first(SkipKind.ADDRESS, (person.key,))
    return f"{EXCLUDED} {rule.pattern}" if rule else ""


# ---------------------------------------------------------------- parts


def participants(email: Email, more: Collection[str] = ()) -> tuple[Person, ...]:
    """Return everybody in To and Cc, an address once, To first.

    Whoever wrote an incoming mail comes before them.

    Args:
        email: The mail.
        more: Further fields that count, by their places: `bcc`, `reply_to`.
    """
    people: dict[str, Person] = {}
    places = [(Place.TO, email.to), (Place.CC, email.cc)]
    if Place.BCC in more:
        places.append((Place.BCC, email.bcc))
    if Place.REPLY_TO in more:
        places.append((Place.REPLY_TO, email.reply_to))
    if email.incoming:
        places.insert(0, (Place.FROM, email.from_[:1]))
    for place, boxes in places:
        for box in boxes:
            person = _person(box, place)
            if person:
                people.setdefault(person.key, person)
    return tuple(people.values())


def _person(box: Mailbox, place: Place) -> Person | None:
    key = address_key(box.address)
    return Person(key, box.address, box.name, place) if key else None
