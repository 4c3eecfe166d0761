"""What tells copies of a mail by its words, for `relay.core.content` to compare.

The *content key* is the digest of the author's address, the subject without its
prefixes, and the first letters of the text (`relay.mail.forward.content_key`). The
*opening key* is the same with fewer letters: what a server adds below a short text
comes later, and so does most of what two programs write differently. Both are kept in
the store and compared with those of mails that arrive later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key
from relay.core.content import (
    MAX_RECIPIENTS,
    Content,
    in_zone,
    is_telling,
    recipient_digest,
)
from relay.mail.forward import bare_subject, digest_of, letters

if TYPE_CHECKING:
    from relay.core.model import Email

_OPENING: Final = 32


def content_of(email: Email, time_zone: str | None = None) -> Content | None:
    """Return what tells a mail by its words; None where they tell nothing.

    Args:
        email: The mail that is logged.
        time_zone: Of the rep, for a date without a zone; None: not known.
    """
    sent_at, clock = email.date, email.local_date
    if not email.from_ or not (sent_at or clock or is_telling(email.text)):
        return None
    if sent_at is None and clock and time_zone:
        sent_at = in_zone(clock, time_zone)
    author, subject = email.from_[0].address, bare_subject(email.subject)
    told = letters(email.text)
    keys = {address_key(box.address) for box in (*email.to, *email.cc)} - {None}
    people = sorted(recipient_digest(str(key)) for key in keys)
    return Content(
        digest_of(author, subject, told),
        digest_of(author, subject, told[:_OPENING]),
        sent_at,
        clock,
        tuple(people[:MAX_RECIPIENTS]),
        inline=email.is_inline,
    )
