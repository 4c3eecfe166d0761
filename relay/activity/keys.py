"""Idempotency keys: one per Salesforce record that a mail needs.

A key depends on the mail and the record's job in it, never on the user or the time,
so that whoever's copy comes again meets the same key.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from relay.activity.text import units

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.model import Json

KEY_LINE: Final = "relay-key: "
"""Starts the last line of a Task's Description, where its key is kept."""

_LINKS: Final = ("WhoId", "WhatId", "RelatedToId")
_LISTS: Final = ("TaskWhoIds", "ToIds", "CcIds", "BccIds")
_MAX_IDENTIFIER: Final = 765
"""Length of EmailMessage.MessageIdentifier (Salesforce Field Reference)."""


def activity_key(mail_key: str, slot: str) -> str:
    """Return the key of one record: 40 hexadecimal digits.

    Args:
        mail_key: The stored identity of the mail.
        slot: The record's job within the mail, such as `email`.
    """
    return hashlib.sha256(f"{mail_key}\n{slot}".encode()).hexdigest()[:40]


def message_identifier(
    message_id: str | None, mail_key: str, length: int | None = None
) -> str:
    """Return what goes into EmailMessage.MessageIdentifier.

    It is the mail's own Message-ID; where that is missing or longer than the field,
    one made from the identity of the mail takes its place, in the same form.

    Args:
        message_id: The Message-ID, if the mail has one.
        mail_key: The stored identity of the mail.
        length: UTF-16 units that the org's field holds, if describe tells.
    """
    if message_id and units(message_id) <= (length or _MAX_IDENTIFIER):
        return message_id
    return f"<{mail_key}@relay.invalid>"


def named(fields: Mapping[str, Json]) -> frozenset[str]:
    """Return the ids of the records that a draft puts the mail on."""
    ids = {fields[name] for name in _LINKS if fields.get(name)}
    for name in _LISTS:
        ids.update(fields.get(name) or ())
    return frozenset(ids)
