"""What earlier mails of a thread were logged on, by their Message-IDs.

The related record of a row stands in the JSON of its fields, beside whole bodies, which
would be read for nothing: the database cuts the id out.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from sqlalchemy import case, func, select

from relay.core.content import Earlier
from relay.core.ids import record_id
from relay.core.states import ActivityState
from relay.store import schema
from relay.store.values import chunks, load, text

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement, Connection

_RELATED: Final = ("RelatedToId", "WhatId")
"""Fields that name a record beside people."""
_ID_LENGTH: Final = 18

m = schema.messages.c
a = schema.activities.c


def earlier_mails(
    connection: Connection, message_ids: Collection[str]
) -> dict[str, Earlier]:
    """Return what these mails were logged on, and who took part in them."""
    records: defaultdict[str, set[str]] = defaultdict(set)
    people: defaultdict[str, set[str]] = defaultdict(set)
    recipients: defaultdict[str, set[str]] = defaultdict(set)
    links = [_value(connection, name) for name in _RELATED]
    mail = schema.mails.c
    for part in chunks(sorted(map(text, message_ids))):
        query = (
            select(m.rfc_message_id, a.people, mail.recipients, *links)
            .join(schema.activities, a.mail_id == m.mail_id)
            .join(schema.mails, mail.id == m.mail_id)
            .where(m.rfc_message_id.in_(part), a.state == ActivityState.WRITTEN.value)
        )
        for message_id, named, digests, *values in connection.execute(query):
            records[message_id] |= {i for v in values if (i := record_id(v or ""))}
            people[message_id].update(load(named))
            recipients[message_id].update((digests or "").split())
    return {
        key: Earlier(
            tuple(sorted(ids)), frozenset(people[key]), frozenset(recipients[key])
        )
        for key, ids in records.items()
        if ids
    }


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
