"""Counts what is in Salesforce, for the audit: which records exist, which are ours.

Ours is what the integration user made and what carries a key of the relay: in the
unique field, in the last line of a Task's Description, or, for an EmailMessage, in its
MessageIdentifier. The Task that the platform makes beside an EmailMessage carries none
of them and is not counted. Deleted records are told apart by `is_deleted`.

Source: SOQL and SOSL Reference, "queryAll".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relay.core.ids import record_id
from relay.salesforce import soql
from relay.salesforce.readback import asks_for, key_of
from relay.salesforce.soql import Query

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from relay.salesforce.readback import ListAsk

OBJECTS: Final[Mapping[str, str]] = {
    "EmailMessage": "MessageIdentifier",
    "Task": "Description",
}
"""What the relay writes, and the field that holds its key without a unique one."""

_EXISTING: Final = "SELECT Id, IsDeleted FROM {sobject} WHERE Id IN {{}}"
_OWN: Final = (
    "SELECT Id, IsDeleted, {fields:literal} FROM {sobject:literal} WHERE "
    "CreatedById = {me} AND CreatedDate >= {since} AND CreatedDate <= {until}"
)


@dataclass(frozen=True, slots=True)
class OwnRecord:
    """A record of ours; `key` is a key of the ledger or, without, an identifier."""

    id: str
    key: str
    is_deleted: bool
    by_identifier: bool = False


def existing_asks(sobject: str, ids: Sequence[str]) -> list[ListAsk]:
    """Return the queries that tell which of these records exist."""
    known = OBJECTS[sobject] and sobject
    valid = [sfid for i in ids if (sfid := record_id(i))]
    return asks_for(_EXISTING.format(sobject=known), valid)


def read_existing(rows: Iterable[Mapping[str, Any]]) -> dict[str, bool]:
    """Return, by id, whether the record is deleted; absent ones are left out."""
    return {
        sfid: row.get("IsDeleted") is True
        for row in rows
        if (sfid := record_id(row.get("Id") or ""))
    }


def own_query(
    sobject: str, field: str | None, me: str, window: tuple[datetime, datetime]
) -> Query:
    """Return the query for our records created in a window of Salesforce's clock.

    Args:
        sobject: One of `OBJECTS`.
        field: The unique field that holds the key, if the org has one.
        me: Id of the integration user.
        window: First and last moment, with their zone.
    """
    fields = OBJECTS[sobject] + (f", {field}" if field else "")
    text = soql.statement(
        _OWN, sobject=sobject, fields=fields, me=me, since=window[0], until=window[1]
    )
    return Query(text, deleted=True)


def read_own(
    sobject: str, field: str | None, rows: Iterable[Mapping[str, Any]]
) -> list[OwnRecord]:
    """Return the records that carry a key, each once."""
    found: dict[str, OwnRecord] = {}
    for row in rows:
        sfid = record_id(row.get("Id") or "")
        key, by_identifier = _key(sobject, field, row)
        if sfid and key:
            gone = row.get("IsDeleted") is True
            found[sfid] = OwnRecord(sfid, key, gone, by_identifier)
    return list(found.values())


def _key(sobject: str, field: str | None, row: Mapping[str, Any]) -> tuple[str, bool]:
    value = row.get(field) if field else None
    if isinstance(value, str) and value:
        return value, False
    value = row.get(OBJECTS[sobject])
    if sobject == "Task":
        return key_of(value) or "", False
    return (value.strip(), True) if isinstance(value, str) else ("", True)
