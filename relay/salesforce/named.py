"""Finds records by the ids that mails name, for a whole batch: a query per object.

An id says by its first three characters which object it belongs to. Whether there is
such a record, and whether our user may read it, SOQL says: an id from a mail stands in
no path of a URL. What can take no activity (a User, a Product) is found to be unfit.

Source: SOQL and SOSL Reference; Object Reference, "Task" (WhoId, WhatId), "Lead".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from relay.core.ids import record_id
from relay.core.model import WHO_OBJECTS, NamedRecord
from relay.salesforce.soql import asks_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from relay.core.org import OrgSchema
    from relay.salesforce.soql import Ask, Rows

_PREFIX: Final = 3
_LEADS: Final = (
    "SELECT Id, Name, IsConverted, ConvertedContactId FROM Lead WHERE Id IN {}"
)
_NAMES: Final = {
    "Case": "CaseNumber",
    "Contract": "ContractNumber",
    "Order": "OrderNumber",
    "Solution": "SolutionName",
    "WorkOrder": "WorkOrderNumber",
}
"""Standard objects that have another field for their name (Object Reference)."""
_NAMED: Final = frozenset({"Account", "Campaign", "Contact", "Lead", "Opportunity"})
_CLOSED: Final = frozenset({"Case", "Opportunity"})
"""Objects whose records can be closed."""
_OBJECT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def object_of(sfid: str, schema: OrgSchema, others: Mapping[str, str]) -> str | None:
    """Return the object that an id belongs to; None: the org has none for it.

    Args:
        sfid: An id of 18 characters.
        schema: Objects that were described.
        others: All objects by key prefix, where `schema` does not have the id's.
    """
    prefix = sfid[:_PREFIX]
    for name, known in schema.key_prefixes.items():
        if known == prefix:
            return name
    found = others.get(prefix)
    return found if found and _OBJECT.fullmatch(found) else None


def unknown_objects(ids: Iterable[str], schema: OrgSchema) -> bool:
    """Say whether an id belongs to an object that was not described."""
    known = frozenset(schema.key_prefixes.values())
    return any(sfid[:_PREFIX] not in known for sfid in ids)


def plan_named(
    ids: Sequence[str], schema: OrgSchema, others: Mapping[str, str]
) -> tuple[list[Ask], dict[str, NamedRecord]]:
    """Return the queries for these ids, and what is known to be unfit without one."""
    by_object: dict[str, list[str]] = {}
    unfit: dict[str, NamedRecord] = {}
    for sfid in ids:
        name = object_of(sfid, schema, others)
        if name is None:
            continue
        if takes_activities(name, schema):
            by_object.setdefault(name, []).append(sfid)
        else:
            reason = f"nothing can be logged on a record of {name}"
            unfit[sfid] = NamedRecord(sfid, name, "", reason)
    asks: list[Ask] = []
    for name in sorted(by_object):
        asks += asks_for(_template(name), by_object[name])
    return asks, unfit


def takes_activities(name: str, schema: OrgSchema) -> bool:
    """Say whether a Task may name a record of this object."""
    field = "WhoId" if name in WHO_OBJECTS else "WhatId"
    return schema.may_name("Task", field, name)


def read_named(answers: Iterable[tuple[Ask, Rows]]) -> dict[str, NamedRecord]:
    """Return the records found, by the id that the mail names."""
    found: dict[str, NamedRecord] = {}
    for ask, rows in answers:
        sobject = ask.template.partition(" FROM ")[2].partition(" ")[0]
        for row in rows:
            sfid = record_id(row.get("Id") or "")
            if sfid:
                found[sfid] = _record(sfid, sobject, row)
    return found


def _record(sfid: str, sobject: str, row: Mapping[str, Any]) -> NamedRecord:
    value = row.get(_name_field(sobject))
    name = value if isinstance(value, str) else ""
    if row.get("IsConverted") is not True:
        closed = row.get("IsClosed") is True
        return NamedRecord(sfid, sobject, name, is_closed=closed)
    contact = record_id(row.get("ConvertedContactId") or "")
    if contact is None:
        return NamedRecord(sfid, sobject, name, "the Lead is converted, to no Contact")
    return NamedRecord(contact, "Contact", name)


def _template(sobject: str) -> str:
    if sobject == "Lead":
        return _LEADS
    closed = "IsClosed" if sobject in _CLOSED else ""
    fields = ", ".join(filter(None, ("Id", _name_field(sobject), closed)))
    # The names are ours and those of the global describe, never of a mail.
    return f"SELECT {fields} FROM {sobject} WHERE Id IN {{}}"  # noqa: S608


def _name_field(sobject: str) -> str:
    """Return the field with a record's name; empty where it is not sure to exist."""
    if sobject in _NAMED or sobject.endswith("__c"):
        return "Name"
    return _NAMES.get(sobject, "")
