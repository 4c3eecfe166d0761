"""What earlier mails of a thread were logged on, by their Message-IDs.

The related record of a row stands in the JSON of its fields, beside whole bodies, which
would be read for nothing: the database cuts the id out.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from sqlalchemy import case, func, select

from relay.core.ids import record_id
from relay.core.states import ActivityState
from relay.store import schema
from relay.store.values import chunks, text

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement, Connection

_RELATED: Final = ("RelatedToId", "WhatId")
"""Fields that name a record beside people."""
_ID_LENGTH: Final = 18

m = schema.messages.c
a = schema.activities.c


def related_records(
    connection: Connection, message_ids: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Return the related records on which these mails were logged."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    links = [_value(connection, name) for name in _RELATED]
    for part in chunks(sorted(map(text, message_ids))):
        query = (
            select(m.rfc_message_id, *links)
            .join(schema.activities, a.mail_id == m.mail_id)
            .where(m.rfc_message_id.in_(part), a.state == ActivityState.WRITTEN.value)
        )
        for message_id, *values in connection.execute(query):
            ids = {sfid for value in values if (sfid := record_id(value or ""))}
            if ids:
                found[message_id] |= ids
    return {key: tuple(sorted(ids)) for key, ids in found.items()}


def _value(connection: Connection, name: str) -> ColumnElement[str]:
    """Return the id in a field of a row's record.

    A quote in a value is escaped in JSON, so that no text of a mail looks like the
    field.
    """
    mark = f'"{name}":"'
    find = func.instr if connection.dialect.name == "sqlite" else func.strpos
    at = find(a.fields, mark)
    value = func.substr(a.fields, at + len(mark), _ID_LENGTH)
    return case((at > 0, value), else_="")
