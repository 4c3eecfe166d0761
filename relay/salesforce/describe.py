"""Learns the shape of the org: objects, fields, lengths, rights, closed statuses.

All of it in one call. What our user may not see does not exist in the answer, and so
not in the shape.

Source: Salesforce REST API Guide, "sObject Describe"; Object Reference, "TaskStatus".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import OrgPaused
from relay.core.ids import record_id
from relay.core.org import FieldInfo, OrgSchema
from relay.salesforce import answers
from relay.salesforce.soql import Query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.model import Json
    from relay.salesforce.client import Client
    from relay.salesforce.composite import Part

OBJECTS: Final = (
    "Task",
    "EmailMessage",
    "Contact",
    "Lead",
    "Opportunity",
    "OpportunityContactRole",
    "User",
    "EmailMessageRelation",
    "ContentVersion",
    "ContentDocumentLink",
    "Account",
)
_NEEDED: Final = frozenset({"Task", "Contact", "User"})
_ABSENT: Final = frozenset({"NOT_FOUND", "INVALID_TYPE"})
_STATUSES: Final = Query(
    "SELECT ApiName, IsClosed, SortOrder FROM TaskStatus ORDER BY SortOrder"
)


def ask(client: Client) -> OrgSchema:
    """Ask for the shape.

    Raises:
        OrgPaused: An object without which nothing can be logged is not there.
        RelayError: The call failed; see `Client.call`.
    """
    parts = [("GET", f"sobjects/{name}/describe", None) for name in OBJECTS]
    parts.append(("GET", _STATUSES.path, None))
    results = client.composite("describe", parts)
    return read(results)


def read(results: Sequence[Part | None]) -> OrgSchema:
    """Return the shape from the answers: one per object, then the statuses.

    Raises:
        OrgPaused: An object without which nothing can be logged is not there.
        RelayError: An answer says that the org cannot be described now.
    """
    fields: dict[str, dict[str, FieldInfo]] = {}
    createables: set[str] = set()
    deletables: set[str] = set()
    prefixes: dict[str, str] = {}
    record_types: dict[str, dict[str, str]] = {}
    for name, part in zip(OBJECTS, results, strict=False):
        described = _described(name, part)
        if described is None:
            continue
        fields[name] = _fields(described.get("fields"))
        record_types[name] = _record_types(described.get("recordTypeInfos"))
        if described.get("createable") is True:
            createables.add(name)
        if described.get("deletable") is True:
            deletables.add(name)
        if isinstance(prefix := described.get("keyPrefix"), str):
            prefixes[name] = prefix
    if missing := sorted(_NEEDED - fields.keys()):
        text = (
            f"the integration user has no access to {', '.join(missing)}: "
            "give it the object permissions"
        )
        raise OrgPaused(text, code="INVALID_TYPE")
    return OrgSchema(
        fields,
        frozenset(createables),
        prefixes,
        _closed(results[len(OBJECTS)]),
        record_types,
        frozenset(deletables),
    )


def _described(name: str, part: Part | None) -> dict[str, Any] | None:
    """Return what describe says; None if there is no such object for our user."""
    if part is None or (part.ok and not isinstance(part.body, dict)):
        failed = answers.failure(200, None)
        raise answers.error_for(failed, doing=f"describe {name}")
    if part.ok:
        described: dict[str, Any] = part.body
        return described
    failed = part.failure()
    if failed.code in _ABSENT:
        return None
    error = answers.error_for(failed, doing=f"describe {name}")
    if failed.rule.permanent:
        raise OrgPaused(str(error), code=failed.code)
    raise error


def _fields(described: Json) -> dict[str, FieldInfo]:
    items = described if isinstance(described, list) else []
    infos = [_field(item) for item in items if isinstance(item, dict)]
    return {info.name: info for info in infos if info.name}


def _field(item: dict[str, Any]) -> FieldInfo:
    def text(name: str) -> str:
        value = item.get(name)
        return value if isinstance(value, str) else ""

    def flag(name: str) -> bool:
        return item.get(name) is True

    length = item.get("length")
    values = item.get("picklistValues")
    return FieldInfo(
        name=text("name"),
        label=text("label"),
        type=text("type"),
        length=length if isinstance(length, int) else 0,
        createable=flag("createable"),
        updateable=flag("updateable"),
        filterable=flag("filterable"),
        nillable=flag("nillable"),
        defaulted=flag("defaultedOnCreate"),
        unique=flag("unique"),
        external_id=flag("externalId"),
        restricted=flag("restrictedPicklist"),
        values=tuple(
            str(value.get("value"))
            for value in (values if isinstance(values, list) else [])
            if isinstance(value, dict) and value.get("active") is not False
        ),
    )


def _record_types(described: Json) -> dict[str, str]:
    """Return the record types that our user may use; ids by developer name."""
    return {
        str(item["developerName"]): sfid
        for item in (described if isinstance(described, list) else [])
        if isinstance(item, dict)
        and item.get("available") is True
        and item.get("master") is not True
        and item.get("developerName")
        and (sfid := record_id(item.get("recordTypeId") or ""))
    }


def _closed(part: Part | None) -> tuple[str, ...]:
    """Return the statuses that close a Task; empty if the org does not tell."""
    if part is None or not part.ok or not isinstance(part.body, dict):
        return ()
    rows = part.body.get("records")
    return tuple(
        str(row["ApiName"])
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and row.get("IsClosed") is True and row.get("ApiName")
    )
