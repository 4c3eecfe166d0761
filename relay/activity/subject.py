"""The subject of what is written: by the template of an admin, or as it is.

Source: rules D2, D4 to D7, D12.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from relay.activity.text import cut, one_line
from relay.core import subjects
from relay.core.reminders import Kind

if TYPE_CHECKING:
    from relay.core.model import Email
    from relay.core.org import OrgSchema

EMAIL: Final = "Email"
REPLY: Final = "Reply"
NO_SUBJECT: Final = "(no subject)"

_ANSWER: Final = re.compile(
    r"\s*(?:re|aw|antw|sv|res|ré|rif|odp|ynt|vs)\s*(?:\[\d+\])?\s*[:：]",  # noqa: RUF001 - full width
    re.IGNORECASE,
)
"""What mail programs put before the subject of an answer."""


def is_reply(email: Email) -> bool:
    """Say whether a mail is a reply: received, and an answer to an earlier mail.

    A mail that was copied into the text of another has no header that tells it: there
    its subject does.
    """
    if not email.incoming:
        return False
    if email.in_reply_to or email.references:
        return True
    return email.is_inline and _ANSWER.match(email.subject) is not None


def subject_of(email: Email, template: str) -> str:
    """Return the subject of what is written for a mail.

    Args:
        email: The mail.
        template: `match.subject`; empty: each mail has its own subject.
    """
    own = one_line(email.subject)
    if not template:
        return own or NO_SUBJECT
    if is_reply(email):
        # A reply bypasses the template (D7).
        return cut(f"{REPLY}: {own}".rstrip(), subjects.MAX_LENGTH)
    return _made(template, EMAIL, own)


def subject_of_reminder(name: str, kind: str, template: str) -> str:
    """Return the subject of the Task of a reminder.

    Args:
        name: Of the reminder.
        kind: Its type (D3, D21).
        template: `match.subject`.
    """
    if not template:
        return cut(one_line(name), subjects.MAX_LENGTH) or NO_SUBJECT
    return _made(template, kind, one_line(name))


def preview(template: str, subject: str) -> dict[str, str]:
    """Return what a mail, a reply and a reminder of this subject would be called.

    Args:
        template: One in which `subjects.problem` finds nothing.
        subject: Of the mail, or the name of the reminder.
    """
    own = one_line(subject)
    mail = _made(template, EMAIL, own) if template else own or NO_SUBJECT
    reply = f"{REPLY}: {own}".rstrip() if template else own or NO_SUBJECT
    return {
        "mail": mail,
        "reply": cut(reply, subjects.MAX_LENGTH),
        "reminder": subject_of_reminder(subject, Kind.CUSTOM, template),
    }


def _made(template: str, kind: str, own: str) -> str:
    values = {subjects.TYPE: kind, subjects.SUBJECT: own}
    return cut(subjects.fill(template, values), subjects.MAX_LENGTH) or NO_SUBJECT


def type_word(email: Email, org: OrgSchema) -> str | None:
    """Return the Type of the Task of a mail; None: it is left to the org.

    It is set only if the picklist has that very word and the org no default (D12).
    """
    word = REPLY if is_reply(email) else EMAIL
    field = org.field("Task", "Type")
    if field is None or field.defaulted or field.default or word not in field.values:
        return None
    return word
