"""Reminders that a mail asks for by a tag of the relay address: `log-…+todo-3d@`.

The reminder is made in the transaction that settles the message, once for a user, a
mail and a tag: a retry, a copy that a sender's server sent again, or a crash makes no
second one. Whatever a tag says, the mail itself goes its way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from relay.core.automatic import AutomaticKind
from relay.core.errors import InvalidInput
from relay.core.model import Step
from relay.core.reminders import (
    LONGEST_NAME,
    Kind,
    NewReminder,
    about,
    checked,
    one_line,
    tag_day,
    tag_of,
    today,
    zone,
)
from relay.core.states import Event
from relay.match.plan import EXCLUDED_MAIL
from relay.match.privacy import CONFIDENTIAL
from relay.match.tags import without_tags

if TYPE_CHECKING:
    from datetime import date, datetime

    from relay.core.queue import Settlement
    from relay.match import Verdict
    from relay.outbox.batch import BatchMail, ClaimedMessage

_ENDS: Final = frozenset({Event.LOGGED, Event.NO_MATCH, Event.RULED_OUT})
"""After these a mail is not tried again by itself."""
_NOT_ABOUT: Final = frozenset({*AutomaticKind, CONFIDENTIAL, EXCLUDED_MAIL})
"""Mail that a rule keeps out of the CRM: its subject must not come in by a reminder."""
_UNNAMED: Final = "Follow up"
_WHO_FIELDS: Final = ("WhoId", "TaskWhoIds", "ToIds", "CcIds")
_WHAT_FIELDS: Final = ("WhatId", "RelatedToId")


def with_reminder(
    message: ClaimedMessage,
    settled: Settlement,
    mail: BatchMail | None,
    time_zone: str,
) -> Settlement:
    """Return the settlement of a message, with the reminder that its address asks for.

    Args:
        message: One of the batch.
        settled: How its attempt ends.
        mail: The mail that it is a copy of; None: it was not read.
        time_zone: In which days are counted for a user whose own is not known.
    """
    user = message.user
    # Of several mails in one message the first one stands for it.
    if not (user and mail) or (message.claimed.part or 1) > 1:
        return settled
    where = user.time_zone or _zone_in_salesforce(mail, user.id) or time_zone
    claimed = message.claimed
    asked = asked_for(claimed.rcpt, settled, claimed.received_at, where)
    if asked is None:
        return settled
    result, detail, due = asked
    step = Step(message.clock.now(), "reminder", result, detail)
    made = None if due is None else _reminder(message, mail, user.id, due)
    return replace(settled, trace=(*settled.trace, step), reminder=made)


def asked_for(
    rcpt: str, end: Settlement | Verdict, received_at: datetime, time_zone: str
) -> tuple[str, str, date | None] | None:
    """Return what a relay address asks for of a mail that ends so: result, detail, day.

    No day: there is no reminder. None: none is asked for, or the mail goes on.

    Args:
        rcpt: The relay address.
        end: How the mail ends.
        received_at: When it came.
        time_zone: In which its day is counted.
    """
    tag = tag_of(rcpt)
    if not tag or end.event not in _ENDS:
        return None
    where = zone(time_zone)
    try:
        due = tag_day(tag, today(received_at, where))
    except InvalidInput as error:
        return "ignored", str(error), None
    if end.reason in _NOT_ABOUT:
        return "none", f"none for mail that is left out: {end.reason}", None
    return "made", f"due {due} in {where.key}, by +{tag}", due


def _fitting(field: str, value: str) -> str:
    """Return a value that can be kept, or nothing: the mail is settled all the same."""
    try:
        return str(checked({field: value})[field])
    except InvalidInput:
        return ""


def _zone_in_salesforce(mail: BatchMail, user_id: int) -> str | None:
    """Return the zone of a user as this attempt has found it."""
    owners = mail.decision.owners if mail.decision else ()
    return next((o.time_zone for u, o in owners if u.id == user_id), None)


def _reminder(
    message: ClaimedMessage, mail: BatchMail, user_id: int, due: date
) -> NewReminder:
    match = mail.decision.match if mail.decision else None
    person, record = about(
        (one.id for one in match.who) if match else (),
        (one.id for one in match.what) if match else (),
        (row.fields for row in mail.rows.values()),
    )
    if not person and match and match.unknown:
        person = match.unknown[0].key
    name = one_line(without_tags(mail.email.subject))[:LONGEST_NAME].strip()
    return NewReminder(
        owner_user_id=user_id,
        assignee_user_id=user_id,
        name=name or _UNNAMED,
        due=due,
        kind=Kind.EMAIL,
        person=_fitting("person", person),
        record=_fitting("record", record),
        message_id=message.claimed.id,
        origin=f"mail:{mail.mail.id}:{user_id}:{tag_of(message.claimed.rcpt)}",
    )
