"""The note of a forwarder, in the text of the mail that was forwarded.

It stands above the text, under a line that says whose it is: what the customer wrote
and what a colleague says about it must not be taken for one another.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Final

from relay.activity.text import one_line

if TYPE_CHECKING:
    from relay.core.model import Email

_RULE: Final = "-" * 40
_BODY: Final = re.compile(r"<body(?:\s[^<>]*)?>", re.IGNORECASE)
_PLACES: Final = 20_000
"""Characters within which a page begins its body."""


def with_note(email: Email) -> str:
    """Return the text of a mail, below the note of whoever forwarded it."""
    if not email.note:
        return email.text
    return f"{_label(email)}\n{email.note}\n{_RULE}\n{email.text.strip()}"


def html_with_note(email: Email) -> str:
    """Return the page of a mail, if it has one, with that note at its top."""
    if not (email.html and email.note):
        return email.html or ""
    lines = "<br>".join(escape(line, quote=False) for line in email.note.split("\n"))
    note = f"<div><b>{escape(_label(email), quote=False)}</b><br>{lines}</div><hr>"
    body = _BODY.search(email.html, 0, _PLACES)
    at = body.end() if body else 0
    return email.html[:at] + note + email.html[at:]


def _label(email: Email) -> str:
    who = email.forwarder
    name = (one_line(who.name) or who.address) if who else ""
    return f"Note by {name} on forwarding:" if name else "Note on forwarding:"
