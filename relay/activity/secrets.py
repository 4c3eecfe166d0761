"""A mail as people may read it: without the relay addresses that it quotes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from relay.core.masking import mask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.core.model import Attachment, Email, Mailbox

_N = TypeVar("_N", "Mailbox", "Attachment")


def without_secrets(email: Email, domains: frozenset[str]) -> Email:
    """Return the mail with relay addresses masked in subject, texts and names.

    Whoever answers all quotes them. Addresses of the mail itself stay: what is written
    of those, the draft chooses.

    Args:
        email: The mail.
        domains: The domains of relay addresses.
    """
    if not domains:
        return email
    hide = mask(domains).text
    return replace(
        email,
        subject=hide(email.subject),
        text=hide(email.text),
        html=email.html and hide(email.html),
        from_=_named(email.from_, hide),
        to=_named(email.to, hide),
        cc=_named(email.cc, hide),
        bcc=_named(email.bcc, hide),
        attachments=_named(email.attachments, mask(domains).name),
    )


def _named(things: Sequence[_N], hide: Callable[[str], str]) -> tuple[_N, ...]:
    return tuple(
        replace(each, name=hide(each.name)) if "@" in each.name else each
        for each in things
    )
