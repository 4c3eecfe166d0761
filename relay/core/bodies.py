"""How much of a mail is logged: body modes, and for whose mail which one holds.

    full             text, HTML and files
    text             the text and files, no HTML
    without_quotes   text, HTML and files, without the mails quoted below
    headers          subject, date and addresses; no text, no HTML, no files
    subject          the subject alone

One mode holds for all mail (`match.body`); a rule sets another for the mail of some
customers (`match.body_rules`). Where several people of a mail have rules, the one holds
that lets the least through.

    bank.example: headers
    ceo@acme.example: subject
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from relay.core.addresses import address_key, domain_key, domain_of
from relay.core.mailboxes import NO_RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.core.mailboxes import AddressRules


class BodyMode(StrEnum):
    """How much of a mail is logged, the most first."""

    FULL = "full"
    TEXT = "text"
    WITHOUT_QUOTES = "without_quotes"
    HEADERS = "headers"
    SUBJECT = "subject"

    @property
    def has_text(self) -> bool:
        """Say whether the text is logged, and files with it."""
        return self not in {BodyMode.HEADERS, BodyMode.SUBJECT}


_ORDER = tuple(BodyMode)


def least(modes: Iterable[BodyMode]) -> BodyMode:
    """Return the mode that lets the least through."""
    return max(modes, key=_ORDER.index)


@dataclass(frozen=True, slots=True)
class BodyRules:
    """The modes by address key and by domain key."""

    by_address: Mapping[str, BodyMode] = field(default_factory=dict)
    by_domain: Mapping[str, BodyMode] = field(default_factory=dict)

    @classmethod
    def of(cls, lines: Iterable[str], spellings: AddressRules = NO_RULES) -> BodyRules:
        """Read rules as they are set; of two for one address the later one holds.

        Args:
            lines: Each as `read_body_rule` takes it.
            spellings: Which spellings of an address are one mailbox.

        Raises:
            ValueError: One is no rule; the text names it.
        """
        by_address: dict[str, BodyMode] = {}
        by_domain: dict[str, BodyMode] = {}
        for key, mode in map(read_body_rule, lines):
            if "@" in key:
                by_address[spellings.mailbox(key)] = mode
            else:
                by_domain[key] = mode
        return cls(by_address, by_domain)

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return bool(self.by_address or self.by_domain)

    def mode(self, mailbox: str) -> BodyMode | None:
        """Return the mode for a mailbox: that of its address, else of its domain."""
        found = self.by_address.get(mailbox)
        return found or self.by_domain.get(domain_of(mailbox))


def read_body_rule(line: str) -> tuple[str, BodyMode]:
    """Read `pattern: mode`; the pattern is an address, a domain, or `*@domain`.

    Returns:
        An address key or a domain key, and the mode.

    Raises:
        ValueError: It is no rule; the text names it.
    """
    pattern, _, word = line.rpartition(":")
    pattern = pattern.strip().removeprefix("*@")
    key = address_key(pattern) if "@" in pattern else domain_key(pattern)
    if key and "." in key and not set(key) & set("* ,") and word.strip() in _ORDER:
        return key, BodyMode(word.strip())
    text = f"{line!r} is no rule for bodies"
    raise ValueError(text)
