"""Which spellings of an address are one mailbox, by the rules of its domain.

Only the server of a mailbox knows that (RFC 5321 section 2.4): at Gmail `a.da+crm@` and
`ada@` are one person, elsewhere they may be two. So there is a rule for each domain,
and without a rule an address is only itself. By default there are rules for providers
that document theirs; an admin adds the company's own (`user.address_rules`).

    gmail.com: plus dots      what stands behind a plus, and all dots, say nothing
    corp.example: plus        what stands behind a plus says nothing
    corp.example: alias corp.de   the same people have both addresses

Intake and matching both ask here, so that who may send is also known as one of us.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.core.addresses import domain_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

PLUS: Final = "plus"
DOTS: Final = "dots"
ALIAS: Final = "alias"
WORDS: Final = (PLUS, DOTS)
DEFAULT_ADDRESS_RULES: Final = (
    "gmail.com: plus dots",
    "googlemail.com: plus dots alias gmail.com",
    "outlook.com: plus",
    "hotmail.com: plus",
    "icloud.com: plus",
    "fastmail.com: plus",
    "proton.me: plus",
    "protonmail.com: plus",
)
MAX_ALIASES: Final = 10
"""Domains of one owner under which an address is looked for."""


@dataclass(frozen=True, slots=True)
class AddressRules:
    """The rules by domain key.

    Attributes:
        by_domain: Sets of `plus` and `dots`.
        aliases: For each domain that is another name of one, that one.
    """

    by_domain: Mapping[str, frozenset[str]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, lines: Iterable[str]) -> AddressRules:
        """Read rules as they are set.

        Raises:
            ValueError: One is no rule; the text names it.
        """
        rules = [read_rule(line) for line in lines]
        aliases = {rule.domain: rule.alias for rule in rules if rule.alias}
        return cls(
            {rule.domain: rule.words for rule in rules if rule.words},
            {domain: _main(domain, aliases) for domain in aliases},
        )

    def mailbox(self, key: str) -> str:
        """Return the shortest spelling of an address key's mailbox.

        Of a pattern `*@domain`, and of a quoted local part, only the domain may change.
        """
        local, _, domain = key.rpartition("@")
        main = self.aliases.get(domain, domain)
        if domain not in self.by_domain and main is domain:
            return key
        return f"{self._short(local, domain, main)}@{main}"

    def domain(self, domain: str) -> str:
        """Return the domain that a domain is another name of, or itself."""
        return self.aliases.get(domain, domain)

    def spellings(self, key: str) -> tuple[str, ...]:
        """Return other spellings of an address key under which a record may have it.

        The shortest comes first; then both local parts in each domain of the owner.
        What stands behind a plus, and where dots stand, nobody can guess.
        """
        local, _, domain = key.rpartition("@")
        main = self.domain(domain)
        if domain not in self.by_domain and main is domain and not self.aliases:
            return ()
        short = self._short(local, domain, main)
        names = [name for name, known in self.aliases.items() if known == main]
        found = dict.fromkeys(
            f"{each}@{name}"
            for name in (main, *names[:MAX_ALIASES])
            for each in (short, local)
        )
        found.pop(key, None)
        return tuple(found)

    def _short(self, local: str, domain: str, main: str) -> str:
        if local.startswith(('"', "*")):
            return local
        rules = self.by_domain.get(domain, _NONE) | self.by_domain.get(main, _NONE)
        if PLUS in rules:
            local = local.partition("+")[0] or local
        if DOTS in rules:
            local = local.replace(".", "") or local
        return local


_NONE: Final = frozenset[str]()
NO_RULES: Final = AddressRules()


class AddressRule(NamedTuple):
    """One rule: a domain key, its words, and the domain it is another name of."""

    domain: str
    words: frozenset[str]
    alias: str = ""

    def __str__(self) -> str:
        """Return the form in which rules are set."""
        words = [word for word in WORDS if word in self.words]
        alias = [ALIAS, self.alias] if self.alias else []
        return f"{self.domain}: {' '.join([*words, *alias])}"


def read_rule(line: str) -> AddressRule:
    """Read `domain: plus dots alias other`.

    Raises:
        ValueError: It is no rule; the text names it.
    """
    name, colon, rest = line.partition(":")
    words, _, other = f" {rest} ".partition(f" {ALIAS} ")
    found, domain, alias = frozenset(words.split()), name.strip(), other.strip()
    fits = colon and domain and (found or alias) and found <= {*WORDS}
    if not fits or " " in alias or (ALIAS in rest.split() and not alias):
        text = f"{line!r} is no rule for addresses"
        raise ValueError(text)
    rule = AddressRule(domain_key(domain), found, domain_key(alias))
    return rule._replace(alias="") if rule.alias == rule.domain else rule


def _main(domain: str, aliases: Mapping[str, str]) -> str:
    """Follow other names to the last one; of a circle, to its first by the alphabet."""
    seen = [domain]
    while (following := aliases.get(seen[-1])) is not None:
        if following in seen:
            return min(seen[seen.index(following) :])
        seen.append(following)
    return seen[-1]


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
