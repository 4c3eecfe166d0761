"""The template of activity subjects: free text with fields in double braces.

It shapes the subject of what is written for mails and reminders. The names of fields
are read in any case and may stand in blanks. A field without a value yields nothing. An
empty template leaves every subject as it is.

Source: rules D1 to D9, R33.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPE: Final = "activity_type"
SUBJECT: Final = "activity_subject"
FIELDS: Final[Mapping[str, str]] = {
    TYPE: "what it is: Email; of a reminder, its type",
    SUBJECT: "the mail's subject, or the name of the reminder",
    "sales_campaign_name": "name of the sales campaign; the relay runs none: empty",
    "sales_campaign_day": "day of the campaign; empty",
    "sales_campaign_step": "step of the campaign; empty",
    "call_outcome": "outcome of a call; the relay logs no calls: empty",
    "call_reason": "reason of a call; empty",
}
"""Every field, with what it stands for (D3)."""
MAX_LENGTH: Final = 255
"""Characters of a subject that a template has made (D6)."""

_FIELD: Final = re.compile(r"\{\{([^{}]*)\}\}")
_BRACES: Final = re.compile(r"\{\{|\}\}")


def problem(template: str) -> tuple[str, str] | None:
    """Return what is wrong with a template, and what helps; None where nothing is."""
    for match in _FIELD.finditer(template):
        name = match[1].strip()
        if name.lower() not in FIELDS:
            known = ", ".join(FIELDS)
            field = match[0] if name == match[1] else "{{" + name + "}}"
            return f"has no field {field}", f"there are {known}"
    if _BRACES.search(_FIELD.sub("", template)):
        return "has a pair of braces that is no field", "write {{activity_subject}}"
    return None


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return the template with its fields filled, in one line, of whatever length.

    Args:
        template: One in which `problem` finds nothing.
        values: By names of `FIELDS`.
    """
    text = _FIELD.sub(lambda match: values.get(match[1].strip().lower(), ""), template)
    return " ".join(text.split())


def shows_subject(template: str) -> bool:
    """Say whether the subject of an activity holds its own subject (R33)."""
    if not template:
        return True
    return any(name.strip().lower() == SUBJECT for name in _FIELD.findall(template))
