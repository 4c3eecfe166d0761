"""Accepted addresses: the header From against a user's list.

The header From is what recipients saw and what the CRM will show, so it is what must be
on the list; the envelope sender may be a bounce address of a mail system and decides
nothing. Exactly one From field with exactly one address is asked for: with two, one
reader of the mail would see the accepted address and another the stranger's.

Source: RFC 5322 section 3.6.2; rule R11 (a list of acceptable addresses per user).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key, domain_of
from relay.mail import mailboxes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.directory import User

NO_FROM: Final = "no_from"
SEVERAL_FROM: Final = "several_from"
FROM_TOO_LONG: Final = "from_too_long"
NOT_ACCEPTED: Final = "sender_not_accepted"
ACCEPTED: Final = "accepted"

_NO_FROM_TEXT: Final = (
    "The From line of this mail holds no address that can be read; send it again from "
    "your own address"
)
_SEVERAL_FROM_TEXT: Final = (
    "This mail names several senders in From; send it from one address only"
)
_NOT_ACCEPTED_TEXT: Final = (
    "Mail from {address} is not accepted at this relay address, which takes mail from "
    "its owner alone: if you are the owner, send from one of your registered "
    "addresses; if you replied to all, leave this address out"
)
_FROM_TOO_LONG_TEXT: Final = (
    "The From line of this mail is too long; send it again from your own address alone"
)
LONGEST_FROM: Final = 8192
"""Bytes of all From fields together. No honest one comes near it, and reading 256 KB of
hostile nesting would hold up every other session."""
_LONGEST_SHOWN: Final = 120
"""Characters of an address in a text: it must fit a reply line."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who a mail says it is from.

    `key` is empty where `problem` is set: `no_from`, `several_from`, `from_too_long`.
    """

    address: str
    key: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a mail may be logged for a user.

    `reason` is a stable word, `text` a sentence for the person who sent it; it holds no
    more than they wrote themselves, and does not say whose the relay address is.
    """

    accepted: bool
    address: str
    reason: str
    text: str


def read_author(header_from_values: Sequence[bytes]) -> Author:
    """Read the From fields of a mail, raw values as `relay.mail.header_fields` gives.

    Never raises: what is not exactly one address is a problem of the Author.
    """
    if sum(map(len, header_from_values)) > LONGEST_FROM:
        return Author("", "", FROM_TOO_LONG)
    found = mailboxes(header_from_values)
    if len(found) > 1 or (found and len(header_from_values) > 1):
        shown = ", ".join(mailbox.address for mailbox in found)
        return Author(shown, "", SEVERAL_FROM)
    if not found:
        return Author("", "", NO_FROM)
    address = found[0].address
    key = address_key(address)
    if key is None:
        return Author(address, "", NO_FROM)
    return Author(address, key)


def judge_author(author: Author, user: User, accepted: frozenset[str]) -> Verdict:
    """Say whether the author may send for the user.

    Args:
        author: From `read_author`.
        user: Whose relay address it is; an inactive user accepts nobody.
        accepted: The user's list: address keys, and `*@domain` for a whole domain.
    """
    if author.problem == SEVERAL_FROM:
        return Verdict(False, author.address, SEVERAL_FROM, _SEVERAL_FROM_TEXT)
    if author.problem == FROM_TOO_LONG:
        return Verdict(False, author.address, FROM_TOO_LONG, _FROM_TOO_LONG_TEXT)
    if author.problem:
        return Verdict(False, author.address, NO_FROM, _NO_FROM_TEXT)
    listed = author.key in accepted or f"*@{domain_of(author.key)}" in accepted
    if listed and user.active:
        return Verdict(True, author.address, ACCEPTED, "")
    text = _NOT_ACCEPTED_TEXT.format(address=author.address[:_LONGEST_SHOWN])
    return Verdict(False, author.address, NOT_ACCEPTED, text)


def judge(
    header_from_values: Sequence[bytes], user: User, accepted: frozenset[str]
) -> Verdict:
    """Read the From fields and judge them for one user, in one step."""
    return judge_author(read_author(header_from_values), user, accepted)
