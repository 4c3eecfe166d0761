"""Looks for records that may have been written, deleted and archived ones included.

An EmailMessage is found by its MessageIdentifier, a Task of ours by the key in the
last line of its Description (which no query can filter, so that our own Tasks of a
time window are read). Both by `queryAll`: a person has deleted such a record on
purpose, and the relay must not make it again.

For reconciling it also says which records exist and which are the relay's own: made by
the integration user, with a key of the relay in the unique field, in the last line of a
Task's Description, or in an EmailMessage's MessageIdentifier. The Task that Salesforce
makes beside an EmailMessage has no key and is left out.

Source: SOQL and SOSL Reference, "queryAll"; Object Reference, "EmailMessage", "Task".
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from relay.core.ids import record_id
from relay.salesforce import soql
from relay.salesforce.model import Filed, FoundRecord, KeyedRecord, OwnRecord
from relay.salesforce.soql import Query, asks_for, moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from relay.salesforce.soql import Ask

KEY_LINE: Final = "relay-key: "
"""Starts the last line of a Task's Description, where its key is kept."""

_KEY: Final = re.compile(r"[0-9A-Za-z:_-]{8,128}")
_BY_IDENTIFIER: Final = (
    "SELECT Id, MessageIdentifier, IsDeleted, CreatedDate, CreatedById, ActivityId "
    "FROM EmailMessage WHERE MessageIdentifier IN {}"
)
_BY_ID: Final = (
    "SELECT Id, IsDeleted, CreatedDate, CreatedById, ActivityId "
    "FROM EmailMessage WHERE Id IN {}"
)
_FILED: Final = "SELECT Id, IsDeleted, ActivityId FROM EmailMessage WHERE Id IN {}"
_FILED_WITH_SENDER: Final = (
    "SELECT Id, IsDeleted, ActivityId, (SELECT Id FROM EmailMessageRelations "
    "WHERE RelationType = 'FromAddress') FROM EmailMessage WHERE Id IN {}"
)
_OWN_TASKS: Final = (
    "SELECT Id, Description, IsDeleted, CreatedDate, CreatedById FROM Task "
    "WHERE CreatedById = {me} AND CreatedDate >= {since} AND CreatedDate <= {until}"
)
_BY_KEY: Final = (
    "SELECT Id, {field}, IsDeleted, CreatedDate, CreatedById{more} "
    "FROM {sobject} WHERE {field} IN {{}}"
)
OBJECTS: Final[Mapping[str, str]] = {
    "EmailMessage": "MessageIdentifier",
    "Task": "Description",
}
"""What the relay writes, and the field that holds its key without a unique one."""

_EXISTING: Final = "SELECT Id, IsDeleted FROM {sobject} WHERE Id IN {{}}"
_KEYED: Final = (
    "SELECT Id, IsDeleted, CreatedById, LastModifiedById, CreatedDate, Subject, "
    "{fields} FROM {sobject} WHERE Id IN {{}}"
)
_OWN: Final = (
    "SELECT Id, IsDeleted, {fields:literal} FROM {sobject:literal} WHERE "
    "CreatedById = {me} AND CreatedDate >= {since} AND CreatedDate <= {until}"
)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")


# ------------------------------------------------------------------ EmailMessage


def identifier_asks(identifiers: Sequence[str]) -> list[Ask]:
    """Return the queries that look for these MessageIdentifiers."""
    return asks_for(_BY_IDENTIFIER, [i for i in identifiers if i], deleted=True)


def id_asks(ids: Sequence[str]) -> list[Ask]:
    """Return the queries that read these EmailMessages."""
    return asks_for(_BY_ID, [sfid for i in ids if (sfid := record_id(i))], deleted=True)


def read_identifiers(
    identifiers: Iterable[str], rows: Iterable[Mapping[str, Any]]
) -> dict[str, list[FoundRecord]]:
    """Return the records of each identifier that was asked for, oldest first.

    Salesforce compares without case; two Message-IDs that differ in case are two mails.
    """
    wanted = {soql.clean(identifier).strip(): identifier for identifier in identifiers}
    found: dict[str, list[FoundRecord]] = defaultdict(list)
    for row in rows:
        record = _record(row)
        value = row.get("MessageIdentifier")
        identifier = wanted.get(value.strip()) if isinstance(value, str) else None
        if record and identifier is not None:
            found[identifier].append(record)
    for records in found.values():
        records.sort(key=_age)
    return dict(found)


def read_by_id(rows: Iterable[Mapping[str, Any]]) -> dict[str, FoundRecord]:
    """Return the records by their ids."""
    records = (_record(row) for row in rows)
    return {record.id: record for record in records if record}


def filed_asks(ids: Sequence[str], *, with_sender: bool) -> list[Ask]:
    """Return the queries for what the platform made of these EmailMessages."""
    valid = [sfid for i in ids if (sfid := record_id(i))]
    return asks_for(_FILED_WITH_SENDER if with_sender else _FILED, valid, deleted=True)


def read_filed(rows: Iterable[Mapping[str, Any]]) -> dict[str, Filed]:
    """Return what became of EmailMessages, by their ids."""
    found: dict[str, Filed] = {}
    for row in rows:
        if sfid := record_id(row.get("Id") or ""):
            # A child query without rows answers null.
            relations = row.get("EmailMessageRelations", True)
            found[sfid] = Filed(
                sfid,
                row.get("IsDeleted") is True,
                record_id(row.get("ActivityId") or ""),
                bool(relations),
            )
    return found


# ------------------------------------------------------------------ Task


def own_tasks_query(me: str, since: datetime, until: datetime) -> Query:
    """Return the query for our own Tasks created in a window of Salesforce's clock.

    Args:
        me: Id of the integration user.
        since: First moment, with its zone.
        until: Last moment, with its zone.
    """
    text = soql.statement(_OWN_TASKS, me=me, since=since, until=until)
    return Query(text, deleted=True)


def read_own_tasks(rows: Iterable[Mapping[str, Any]]) -> dict[str, FoundRecord]:
    """Return our Tasks by key; of several, a living one, then the oldest."""
    found: dict[str, list[FoundRecord]] = defaultdict(list)
    for row in rows:
        key, record = key_of(row.get("Description")), _record(row)
        if key and record:
            found[key].append(record)
    return {
        key: min(records, key=lambda r: (r.is_deleted, *_age(r)))
        for key, records in found.items()
    }


def key_of(description: object) -> str | None:
    """Return the key in the last line of a Description, or None."""
    if not isinstance(description, str):
        return None
    last = description.rstrip().rpartition("\n")[2].strip()
    key = last.removeprefix(KEY_LINE).strip()
    return key if key != last and _KEY.fullmatch(key) else None


# ------------------------------------------------------------------ unique field


def key_asks(sobject: str, field: str, keys: Sequence[str]) -> list[Ask]:
    """Return the queries that look for keys in a unique field.

    Raises:
        ValueError: Object or field is no API name.
    """
    if not (_NAME.fullmatch(sobject) and _NAME.fullmatch(field)):
        msg = "not an API name"
        raise ValueError(msg)
    # Only an EmailMessage with an ActivityId is shown to people.
    more = ", ActivityId" if sobject == "EmailMessage" else ""
    return asks_for(
        _BY_KEY.format(sobject=sobject, field=field, more=more), keys, deleted=True
    )


def read_keys(field: str, rows: Iterable[Mapping[str, Any]]) -> dict[str, FoundRecord]:
    """Return the records by their keys; a living one where a deleted one has it too."""
    found: dict[str, FoundRecord] = {}
    for row in rows:
        key, record = row.get(field), _record(row)
        if not isinstance(key, str) or record is None:
            continue
        other = found.get(key)
        if other is None or (other.is_deleted and not record.is_deleted):
            found[key] = record
    return found


def _record(row: Mapping[str, Any]) -> FoundRecord | None:
    sfid = record_id(row.get("Id") or "")
    if sfid is None:
        return None
    return FoundRecord(
        sfid,
        row.get("IsDeleted") is True,
        moment(row.get("CreatedDate")),
        record_id(row.get("ActivityId") or ""),
        record_id(row.get("CreatedById") or ""),
    )


def _age(record: FoundRecord) -> tuple[datetime, str]:
    return record.created_at, record.id


# ------------------------------------------------------------------ reconcile


def existing_asks(sobject: str, ids: Sequence[str]) -> list[Ask]:
    """Return the queries that tell which of these records exist."""
    known = OBJECTS[sobject] and sobject
    valid = [sfid for i in ids if (sfid := record_id(i))]
    return asks_for(_EXISTING.format(sobject=known), valid, deleted=True)


def read_existing(rows: Iterable[Mapping[str, Any]]) -> dict[str, bool]:
    """Return, by id, whether the record is deleted; absent ones are left out."""
    return {
        sfid: row.get("IsDeleted") is True
        for row in rows
        if (sfid := record_id(row.get("Id") or ""))
    }


def keyed_asks(sobject: str, field: str | None, ids: Sequence[str]) -> list[Ask]:
    """Return the queries that read records by id, with the keys that they carry.

    Args:
        sobject: One of `OBJECTS`.
        field: The unique field that holds the key, if the org has one.
        ids: Of the records.

    Raises:
        ValueError: The field is no API name.
    """
    if field and not _NAME.fullmatch(field):
        msg = "not an API name"
        raise ValueError(msg)
    fields = OBJECTS[sobject] + (f", {field}" if field else "")
    valid = [sfid for i in ids if (sfid := record_id(i))]
    return asks_for(_KEYED.format(fields=fields, sobject=sobject), valid, deleted=True)


def read_keyed(
    sobject: str, field: str | None, rows: Iterable[Mapping[str, Any]]
) -> dict[str, KeyedRecord]:
    """Return the records by id; absent ones are left out."""
    found: dict[str, KeyedRecord] = {}
    for row in rows:
        if sfid := record_id(row.get("Id") or ""):
            found[sfid] = KeyedRecord(
                sfid,
                row.get("IsDeleted") is True,
                frozenset(_keys(sobject, field, row)),
                record_id(row.get("CreatedById") or ""),
                record_id(row.get("LastModifiedById") or ""),
                moment(row.get("CreatedDate")),
                plain_key(str(row.get("Subject") or "")),
            )
    return found


def _keys(sobject: str, field: str | None, row: Mapping[str, Any]) -> Iterator[str]:
    places = [row.get(field)] if field else []
    text = row.get(OBJECTS[sobject])
    places.append(key_of(text) if sobject == "Task" else text)
    for value in places:
        if isinstance(value, str) and (key := plain_key(value)):
            yield key


def plain_key(text: str) -> str:
    """Return a key or an identifier in the form in which two of them are compared.

    Salesforce keeps neither control characters nor space around a text.
    """
    return soql.clean(text).strip()


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
        key, by_identifier = _own_key(sobject, field, row)
        if sfid and key:
            gone = row.get("IsDeleted") is True
            found[sfid] = OwnRecord(sfid, key, gone, by_identifier)
    return list(found.values())


def _own_key(
    sobject: str, field: str | None, row: Mapping[str, Any]
) -> tuple[str, bool]:
    value = row.get(field) if field else None
    if isinstance(value, str) and value:
        return value, False
    value = row.get(OBJECTS[sobject])
    if sobject == "Task":
        return key_of(value) or "", False
    return (value.strip(), True) if isinstance(value, str) else ("", True)
