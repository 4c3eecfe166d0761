"""Contacts and Leads that were created or changed since a mark, page by page.

Asked by SystemModstamp, which moves with every change, in the order of SystemModstamp
and Id: the mark of a page is its last row, so that no row is skipped however many have
one stamp. Both objects travel in one call.

Source: Object Reference, "System Fields"; SOQL and SOSL Reference, "ORDER BY".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relay.core.addresses import address_key
from relay.core.ids import record_id
from relay.salesforce.connection import refused
from relay.salesforce.soql import Query, moment, statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from relay.salesforce.connection import Connection
    from relay.salesforce.schema import Schema

PAGE: Final = 2000
"""Rows of one object in one call: a page of Salesforce's."""
OBJECTS: Final[Mapping[str, str]] = {"Contact": "", "Lead": "IsConverted = false AND "}
_FIRST: Final = "SystemModstamp >= {since}"
_NEXT: Final = (
    "(SystemModstamp > {since} OR (SystemModstamp = {since} AND Id > {after}))"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far an object was read: a stamp, and the last id with it (empty: none)."""

    since: datetime
    after: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """A record with an e-mail address that was created or changed."""

    object: str
    id: str
    at: datetime
    emails: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Records in order, and by object the mark for the next page.

    `more` are the objects of which there is another page.
    """

    records: tuple[Changed, ...]
    marks: Mapping[str, Mark]
    more: frozenset[str]


class Changes:
    """Reads what was created or changed.

    Args:
        connection: What the parts of `Org` share.
        schema: Which objects and fields the org has for our user.
    """

    def __init__(self, connection: Connection, schema: Schema) -> None:
        """Keep the parts; nothing is asked yet."""
        self._connection = connection
        self._schema = schema

    async def page(self, marks: Mapping[str, Mark]) -> Page:
        """Return the next page of each of these objects, in one call.

        Raises:
            OrgPaused: The org cannot be used.
            SalesforceUnavailable: Anything else; nothing is known.
        """
        schema = await self._schema.get()
        asked = {
            sobject: tuple(
                name
                for name, field in schema.fields[sobject].items()
                if field.type == "email" and field.filterable
            )
            for sobject in marks
            if schema.has(sobject)
        }
        asked = {sobject: fields for sobject, fields in asked.items() if fields}
        queries = [
            query(sobject, fields, marks[sobject]) for sobject, fields in asked.items()
        ]
        if not queries:
            return Page((), marks, frozenset())
        answers = await self._connection.queries.run("rematch", queries)
        found: list[Changed] = []
        after = dict(marks)
        more = set()
        for (sobject, fields), rows in zip(asked.items(), answers, strict=True):
            if not isinstance(rows, list):
                raise refused("rematch", rows, pauses=False)
            read = [one for row in rows if (one := _changed(sobject, fields, row))]
            found += read
            if read:
                after[sobject] = Mark(read[-1].at, read[-1].id)
            if len(rows) >= PAGE:
                more.add(sobject)
        return Page(tuple(found), after, frozenset(more))


def query(sobject: str, fields: Sequence[str], mark: Mark) -> Query:
    """Return the query for the next page of an object."""
    condition = statement(
        _NEXT if mark.after else _FIRST, since=mark.since, after=mark.after
    )
    with_address = " OR ".join(f"{name} != null" for name in fields)
    # Names come from describe, the rest is quoted or ours.
    return Query(
        f"SELECT Id, SystemModstamp, {', '.join(fields)} FROM {sobject} "  # noqa: S608
        f"WHERE {OBJECTS[sobject]}({with_address}) AND {condition} "
        f"ORDER BY SystemModstamp, Id LIMIT {PAGE}"
    )


def _changed(
    sobject: str, fields: Sequence[str], row: Mapping[str, Any]
) -> Changed | None:
    sfid = record_id(row.get("Id") or "")
    if sfid is None:
        return None
    keys = (address_key(str(row.get(name) or "")) for name in fields)
    emails = tuple(dict.fromkeys(key for key in keys if key))
    return Changed(sobject, sfid, moment(row.get("SystemModstamp")), emails)
