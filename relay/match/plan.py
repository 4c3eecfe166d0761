"""Whom to look for: the outside people of a mail.

To and Cc count, as with Salesforce's own address for copies; the users' own addresses,
internal domains, relay addresses and excluded people do not. Bcc does not count either:
the other recipients did not see that address, so the relay does not show it on a
record.

Each rule is a function of its own. A rule for a whole mail returns the verdict with
which the mail ends; a rule for a person returns why that person is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key, covers, domain_of
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
BEYOND: Final = "beyond the limit of"


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
        return f"{INTERNAL} {domain}" if domain in self._domains else ""


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
    limit: int = 50,
) -> Plan:
    """Say whom to look for in Salesforce, or why there is no look-up.

    Args:
        email: The mail.
        ours: Addresses that are no customer's.
        exclusions: Those that count for the user of this copy.
        limit: Addresses looked up at most; the first ones of To, then of Cc.
    """
    everyone = participants(email)
    rules = ours.address_rules
    verdict = (
        forward_unsure(email)
        or nobody_named(everyone)
        or mail_excluded(email, everyone, exclusions, rules)
    )
    if verdict:
        return Plan(verdict=verdict)
    people: list[Person] = []
    left_out: list[LeftOut] = []
    for person in everyone:
        rule = ours.rule(person.key) or address_excluded(person, exclusions, rules)
        if not rule and len(people) >= limit:
            rule = f"{BEYOND} {limit} addresses"
        if rule:
            left_out.append(LeftOut(person.address, rule))
        else:
            people.append(person)
    if not people:
        return Plan((), tuple(left_out), nobody_left(left_out))
    return Plan(tuple(people), tuple(left_out))


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
    return Verdict(Event.NO_MATCH, "forward_unsure", detail)


def nobody_named(everyone: Sequence[Person]) -> Verdict | None:
    """End as unmatched a mail whose To and Cc hold no address."""
    if everyone:
        return None
    detail = "To and Cc name no address to look for"
    return Verdict(Event.NO_MATCH, "no_recipient", detail)


def mail_excluded(
    email: Email,
    everyone: Sequence[Person],
    exclusions: Iterable[Exclusion],
    rules: AddressRules = NO_RULES,
) -> Verdict | None:
    """Skip a mail with a participant whose mail is not to be logged."""
    senders = (key for box in email.from_ if (key := address_key(box.address)))
    keys = [person.key for person in everyone]
    rule = _first(exclusions, SkipKind.MAIL, [*keys, *senders], rules)
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
    detail = "the relay address is the only recipient that the mail names"
    return Verdict(Event.NO_MATCH, "no_recipient", detail)


# ---------------------------------------------------------------- rules for a person


def address_excluded(
    person: Person, exclusions: Iterable[Exclusion], rules: AddressRules = NO_RULES
) -> str:
    """Leave out an address that is not to be looked up."""
    rule = _first(exclusions, SkipKind.ADDRESS, (person.key,), rules)
    return f"{EXCLUDED} {rule.pattern}" if rule else ""


# ---------------------------------------------------------------- parts


def participants(email: Email) -> tuple[Person, ...]:
    """Return everybody in To and Cc, an address once, To first.

    Whoever wrote an incoming mail comes before them.
    """
    people: dict[str, Person] = {}
    places = [(Place.TO, email.to), (Place.CC, email.cc)]
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


def _first(
    exclusions: Iterable[Exclusion],
    skip: SkipKind,
    keys: Iterable[str],
    rules: AddressRules,
) -> Exclusion | None:
    """Return the first exclusion of a kind that covers one of the addresses.

    Who is left out is left out in every spelling of the mailbox.
    """
    of_kind = [
        (rules.mailbox(rule.pattern), rule) for rule in exclusions if rule.skip is skip
    ]
    if not of_kind:
        return None
    for mailbox in map(rules.mailbox, keys):
        for pattern, rule in of_kind:
            if covers(pattern, mailbox):
                return rule
    return None
