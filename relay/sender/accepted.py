"""Accepted addresses: the header From against a user's list.

The header From is what recipients saw and what the CRM will show, so it is what must be
on the list; the envelope sender may be a bounce address of a mail system and decides
nothing. Exactly one From field with exactly one address is asked for, which every
reader of the mail reads alike: where one program would see the accepted address and
another one the stranger's, nobody is the author.

A mail that a person redirected has that person in `Resent-From`, above the fields of
the mail itself. The topmost block of `Resent-` fields is the most recent.

Source: RFC 5322 sections 3.6.2 and 3.6.6; rule R11 (a list of acceptable addresses per
user).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key
from relay.core.looks import drawn
from relay.core.mailboxes import may_send
from relay.mail import mailboxes
from relay.sender.causes import cause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.directory import User

NO_FROM: Final = "no_from"
SEVERAL_FROM: Final = "several_from"
FROM_TOO_LONG: Final = "from_too_long"
FROM_GROUP: Final = "from_group"
FROM_UNCLEAR: Final = "from_unclear"
NOT_ACCEPTED: Final = "sender_not_accepted"
LOOKS_ALIKE: Final = "sender_looks_alike"
ACCEPTED: Final = "accepted"

LONGEST_FROM: Final = 8192
"""Bytes of all From fields together. No honest one comes near it, and reading 256 KB of
hostile nesting would hold up every other session."""

_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_COMMON: Final = re.compile(
    rb"(?:[A-Za-z0-9][A-Za-z0-9 ._-]{0,60})?"
    rb"<[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,255}>"
    rb"|[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,255}"
)
"""A name of plain letters and an address, or an address alone."""
_ASIDE: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|\((?:[^()\\]|\\.)*\)', re.DOTALL)
"""Quoted strings and comments: no reader takes an address from them."""
_ENCLOSED: Final = re.compile(rb"<[^<>]*>|\[[^\[\]]*\]")
_ENCODED: Final = re.compile(r"=\?[^?\s]*\?[bq]\?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Author:
    """Who a mail says it is from.

    `key` is empty where `problem` is set, a reason of the catalogue of causes; `detail`
    says more about it.
    """

    address: str
    key: str
    problem: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """Whether an author may send for a user, by the list alone.

    `reason` is a stable word, `text` a sentence for the person who sent the mail; it
    holds no more than they wrote themselves, and does not say whose the relay address
    is.
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
    (value,) = header_from_values
    problem, detail = _unclear(value, address)
    if problem:
        return Author(address, "", problem, detail)
    key = address_key(address)
    if key is None:
        return Author(address, "", NO_FROM)
    return Author(address, key)


def _unclear(value: bytes, address: str) -> tuple[str, str]:
    """Return why a From field with one address may be read in another way.

    The common form, a name and an address in angle brackets, has none of the marks that
    are looked for here.
    """
    if _COMMON.fullmatch(value):
        return "", ""
    if _CONTROL.search(value):
        return FROM_UNCLEAR, "control characters"
    if _ENCODED.search(address):
        # RFC 2047 section 5: an encoded word must not stand in an address.
        return FROM_UNCLEAR, "an encoded word in the address"
    # A folded or commented address is one that some readers see in two pieces.
    if address not in value.decode("utf-8", "replace"):
        return FROM_UNCLEAR, "blanks or comments in the address"
    bare = _ASIDE.sub(b" ", value)
    name = _ENCLOSED.sub(b" ", bare)
    if b":" in name:
        return FROM_GROUP, ""
    in_name = name.decode("utf-8", "replace")
    if b"<" in bare and "@" in in_name and address not in in_name:
        return FROM_UNCLEAR, "another address in the name"
    return "", ""


def judge_author(author: Author, user: User, accepted: frozenset[str]) -> Listing:
    """Say whether the author may send for the user, by the list alone.

    Args:
        author: From `read_author`.
        user: Whose relay address it is; an inactive user accepts nobody.
        accepted: The user's list: address keys, and `*@domain` for a whole domain.
    """
    if author.problem:
        return _refused(author, author.problem)
    if is_listed(author, accepted) and user.active:
        return Listing(True, author.address, ACCEPTED, "")
    alike = not author.key.isascii() or "xn--" in author.key
    if alike and _looks_like_one(author.key, accepted):
        return _refused(author, LOOKS_ALIKE)
    return _refused(author, NOT_ACCEPTED)


def is_listed(author: Author, accepted: frozenset[str]) -> bool:
    """Say whether an author is on a list of accepted addresses."""
    return bool(author.key) and may_send(accepted, author.key)


def judge(
    header_from_values: Sequence[bytes], user: User, accepted: frozenset[str]
) -> Listing:
    """Read the From fields and judge them for one user, in one step."""
    return judge_author(read_author(header_from_values), user, accepted)


def _refused(author: Author, reason: str) -> Listing:
    text = cause(reason).text(address=author.address, detail=author.detail)
    return Listing(False, author.address, reason, text)


def _looks_like_one(key: str, accepted: frozenset[str]) -> bool:
    """Say whether an address is drawn like one of the list, or like one of its domains.

    It is refused in any case; this only finds the right words for it.
    """
    seen = drawn(key)
    return any(
        seen == shown or seen.endswith(shown.removeprefix("*"))
        for shown in map(drawn, accepted)
    )
