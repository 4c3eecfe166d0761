"""Which mail is logged: the one that came, or those that it forwards. Pure.

A rep logs a mail that was received by forwarding it to the relay address alone. So a
mail that names nobody in To, Cc and Bcc but relay addresses and the rep's own is no
mail to anybody: what it forwards is logged, each mail by itself. Whatever goes to
somebody else is a mail of its own, with the forward as a part of its text.

Only the outermost forward counts. What the forwarder wrote beside it is its note. A
mail is incoming where none of us is its author; who wrote it counts as a participant
then (`relay.match.plan.participants`). What looks like a forward and cannot be read
for sure ends as unmatched (`relay.match.plan.forward_unsure`): no guess.

A customer's mail that came as it was, redirected by a person or by a rule of a mailbox,
is incoming as well, and forwards within it are the customer's own.

Source: Salesforce Help, "Guidelines for Using Email to Salesforce".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key, covers
from relay.core.content import is_telling
from relay.match.plan import RELAY, UNSURE
from relay.match.trace import TraceLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from relay.core.directory import User
    from relay.core.model import Email, Forward, Mailbox
    from relay.match.facts import Context

INLINE: Final = "inline"
ATTACHED: Final = "attached"


@dataclass(frozen=True, slots=True)
class Logged:
    """A mail to be logged, with the lines for its trace; it knows of no forwards."""

    email: Email
    steps: tuple[TraceLine, ...]


def to_log(email: Email, user: User, context: Context) -> tuple[Logged, ...]:
    """Return the mails that are logged for a message, at least one.

    The answer rests on the mail, the user's own addresses, and who is ours. What cannot
    be read of several attached mails is one more of them, which ends as unmatched.

    Args:
        email: As it was read.
        user: For whom the message came.
        context: Who is ours.
    """
    incoming = not _is_ours(_first(email.from_), context) and not _sends(
        email, user, context
    )
    looks_like_one = email.forwards or email.forward_unsure
    if not looks_like_one or incoming:
        return (_itself(email, incoming, ()),)
    if not _is_for_relay_alone(email, user, context):
        return (_itself(email, incoming, _hint(email, context)),)
    found = [_forwarded(email, one, context) for one in email.forwards]
    if email.forward_unsure:
        why = UNSURE.get(email.forward_unsure, email.forward_unsure)
        line = TraceLine("kind", "forward that is unsure", why)
        found.append(Logged(replace(email, forwards=()), (line,)))
    return tuple(found)


def part_of(found: Sequence[Logged], part: int | None) -> Logged:
    """Return the mail of a part of a message, from 1; the first where there is none."""
    number = part or 1
    return found[number - 1] if number <= len(found) else found[0]


def direction(email: Email) -> str:
    """Return the word for whether a mail was received or sent."""
    return "inbound" if email.incoming else "outbound"


# ---------------------------------------------------------------- who is ours


def _is_ours(author: Mailbox | None, context: Context) -> bool:
    """Say whether one of us wrote a mail; nobody knows of one without an author."""
    key = address_key(author.address) if author else None
    return key is None or bool(context.ours.rule(key))


def _sends(email: Email, user: User, context: Context) -> bool:
    """Say whether the author of a mail sends for its user, by `*@domain` of the list.

    Such an entry says nothing about who wrote a mail that was passed on.
    """
    author = _first(email.from_)
    key = address_key(author.address) if author else None
    if key is None or email.passed_on:
        return False
    accepted = context.directory.accepted.get(user.id, frozenset())
    return any(covers(pattern, key) for pattern in accepted)


def _is_for_relay_alone(email: Email, user: User, context: Context) -> bool:
    """Say whether a mail names nobody but the relay, its author and its user."""
    mailbox = context.ours.address_rules.mailbox
    own = {
        mailbox(key)
        for key in (
            *_keys(email.from_),
            address_key(user.email),
            *context.directory.accepted.get(user.id, ()),
        )
        if key and not key.startswith("*")
    }
    return all(
        context.ours.rule(key) == RELAY or mailbox(key) in own
        for key in _keys((*email.to, *email.cc, *email.bcc))
    )


# ---------------------------------------------------------------- what is logged


def _itself(email: Email, incoming: bool, steps: tuple[TraceLine, ...]) -> Logged:  # noqa: FBT001 - private
    """Log a mail as it came."""
    if incoming:
        author = _first(email.from_)
        of = author.address if author else ""
        how = "passed on as it was" if email.passed_on else ""
        steps = (TraceLine("kind", f"mail of {of}, inbound", how), *steps)
    if incoming or email.forwards or email.forward_unsure:
        email = replace(email, incoming=incoming, forwards=(), forward_unsure="")
    return Logged(email, steps)


def _hint(email: Email, context: Context) -> tuple[TraceLine, ...]:
    """Say of a forward among ourselves how the forwarded mail is logged."""
    named = list(_keys((*email.to, *email.cc)))
    if not email.forwards or not all(map(context.ours.rule, named)):
        return ()
    detail = "to log the forwarded mail, forward it to the relay address alone"
    of = email.forwards[0].from_.address
    return (TraceLine("kind", f"forwards a mail of {of} to colleagues", detail),)


def _forwarded(email: Email, forward: Forward, context: Context) -> Logged:
    """Return a forwarded mail as one that is logged by itself."""
    made = _attached(forward) if forward.email else _inline(email, forward)
    by = _first(email.from_)
    made = replace(
        made,
        # A person wants it logged, or a rule that a person has made.
        automatic=None,
        forwards=(),
        forward_unsure="",
        incoming=not _is_ours(forward.from_, context),
        forwarded=forward.how,
        forwarder=by,
        note=forward.note,
        # What the forwarder says counts as well.
        sensitivity=made.sensitivity or email.sensitivity,
        outer_subject=email.subject,
    )
    what = f"forwarded mail of {forward.from_.address}, {direction(made)}"
    how = f"{forward.how}, forwarded by {by.address if by else 'nobody'}"
    steps = [TraceLine("kind", what, how)]
    if forward.inner:
        inner = forward.inner.from_.address
        detail = (
            f"it forwards a mail of {inner}, whose people are not in this mail; to log "
            "that mail, forward it by itself, as an attachment"
        )
        steps.append(TraceLine("kind", "forward within", detail))
    if forward.note:
        steps.append(TraceLine("note", f"{len(forward.note)} characters"))
    return Logged(made, tuple(steps))


def _attached(forward: Forward) -> Email:
    """Return a mail that was attached, its files where they stand in the raw bytes."""
    inner = forward.email
    assert inner  # noqa: S101 - who calls has looked
    return replace(inner, attachments=forward.attachments)


def _inline(email: Email, forward: Forward) -> Email:
    """Return a mail that stands in the text of another; the files came along.

    A program that forwards a mail answers to it: In-Reply-To and References of the
    forward name the thread of the mail.
    """
    date = forward.date
    key1, key2 = forward.keys
    return replace(
        email,
        from_=(forward.from_,),
        to=forward.to,
        cc=forward.cc,
        bcc=(),
        reply_to=(),
        subject=forward.subject,
        date=date if date and date.tzinfo else None,
        local_date=None if date and date.tzinfo else date,
        message_id=None,
        text=forward.text,
        html=forward.html,
        headers="",
        key1=key1,
        key2=key2,
        dated=date is not None or is_telling(forward.text),
    )


# ---------------------------------------------------------------- parts


def _first(boxes: tuple[Mailbox, ...]) -> Mailbox | None:
    return boxes[0] if boxes else None


def _keys(boxes: Iterable[Mailbox]) -> Iterator[str]:
    """Yield the address keys of mailboxes that have one."""
    return (key for box in boxes if (key := address_key(box.address)))
