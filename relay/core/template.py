"""Templates for fields of Salesforce records: text with `{placeholders}`.

`{subject}` becomes the mail's subject, `{{` and `}}` are braces. There is nothing
else: no formats, no attributes, no way to reach anything but the values of `NAMES`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES: Final[Mapping[str, str]] = {
    "subject": "the mail's subject",
    "sender": "address of the sender",
    "sender_name": "name of the sender, or the address where there is none",
    "to": "addresses in To, without relay addresses",
    "cc": "addresses in Cc, without relay addresses",
    "date": "day of the mail in the rep's time zone, as 2026-01-31",
    "sent_at": "moment of the mail in UTC, as 2026-01-31T12:00:00Z",
    "message_id": "the mail's Message-ID",
    "attachments": "names of the attachments",
    "user_id": "Salesforce id of the rep",
    "key": "the record's idempotency key",
}
"""Every placeholder, with what it stands for."""

_PIECE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def problem(template: str) -> str | None:
    """Return what is wrong with a template, or None."""
    for match in _PIECE.finditer(template):
        piece, name = match[0], match[1]
        if piece in {"{", "}"}:
            return "has a single brace; write {{ or }} for a brace"
        if name is not None and name not in NAMES:
            return f"has no placeholder {{{name}}}; there are {', '.join(NAMES)}"
    return None


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return the text; a placeholder without a value is left empty."""

    def put(match: re.Match[str]) -> str:
        if match[0] in {"{{", "}}"}:
            return match[0][0]
        return values.get(match[1] or "", "")

    return _PIECE.sub(put, template)
