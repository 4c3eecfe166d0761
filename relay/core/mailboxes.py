"""Which spellings of an address are one mailbox, by the rules of its domain.

Only the server of a mailbox knows that (RFC 5321 section 2.4): at Gmail `a.da+crm@` and
`ada@` are one person, elsewhere they may be two. So there is a rule for each domain,
and without a rule an address is only itself. By default there are rules for providers
that document theirs; an admin adds the company's own (`user.address_rules`).

    gmail.com: plus dots      what stands behind a plus, and all dots, say nothing
    corp.example: plus        what stands behind a plus says nothing

Intake and matching both ask here, so that who may send is also known as one of us.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from relay.core.addresses import domain_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

PLUS: Final = "plus"
DOTS: Final = "dots"
WORDS: Final = (PLUS, DOTS)
DEFAULT_ADDRESS_RULES: Final = (
    "gmail.com: plus dots",
    "googlemail.com: plus dots",
    "outlook.com: plus",
    "hotmail.com: plus",
    "icloud.com: plus",
    "fastmail.com: plus",
    "proton.me: plus",
    "protonmail.com: plus",
)


@dataclass(frozen=True, slots=True)
class AddressRules:
    """The rules by domain key; each is a set of `plus` and `dots`."""

    by_domain: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, lines: Iterable[str]) -> AddressRules:
        """Read rules as they are set.

        Raises:
            ValueError: One is no rule; the text names it.
        """
        return cls(dict(map(read_rule, lines)))

    def mailbox(self, key: str) -> str:
        """Return the shortest spelling of an address key's mailbox.

        A pattern `*@domain` stays, and so does a quoted local part.
        """
        local, _, domain = key.rpartition("@")
        rules = self.by_domain.get(domain)
        if not rules or local.startswith(('"', "*")):
            return key
        if PLUS in rules:
            local = local.partition("+")[0] or local
        if DOTS in rules:
            local = local.replace(".", "") or local
        return f"{local}@{domain}"


NO_RULES: Final = AddressRules()


def read_rule(line: str) -> tuple[str, frozenset[str]]:
    """Read `domain: plus dots`.

    Raises:
        ValueError: It is no rule; the text names it.
    """
    domain, colon, words = line.partition(":")
    found = frozenset(words.split())
    if not (colon and domain.strip() and found) or found - set(WORDS):
        text = f"{line!r} is no rule for addresses"
        raise ValueError(text)
    return domain_key(domain.strip()), found


class Senders(frozenset[str]):
    """Who may send for a user: address keys and `*@domain`, with rules to read them.

    Made by `senders`; equal to a plain set of the same keys.
    """

    rules: AddressRules
    mailboxes: frozenset[str]


def senders(keys: Iterable[str], rules: AddressRules) -> Senders:
    """Return the list of a user, to be read by these rules."""
    made = Senders(keys)
    made.rules = rules
    made.mailboxes = frozenset(map(rules.mailbox, made))
    return made


def entry_for(accepted: Collection[str], key: str) -> str:
    """Return the entry of a list by which an address may send; empty: it may not.

    An exact entry comes first, then one of the same mailbox, then `*@domain`.
    """
    if key in accepted:
        return key
    if isinstance(accepted, Senders):
        mailbox = accepted.rules.mailbox(key)
        if mailbox in accepted.mailboxes:
            return next(
                one for one in accepted if accepted.rules.mailbox(one) == mailbox
            )
    whole = f"*@{key.rpartition('@')[2]}"
    return whole if whole in accepted else ""


def may_send(accepted: Collection[str], key: str) -> bool:
    """Say whether an address may send by a list of accepted addresses."""
    return bool(entry_for(accepted, key))
