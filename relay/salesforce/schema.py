"""The org's schema: objects, fields, lengths, rights, closed statuses.

All of it is read in one call and remembered. What our user may not see does not exist
in the answer, and so not in the schema. The metadata of the fields that hold the
relay's keys, which an admin deploys once, is made here too.

Source: Salesforce REST API Guide, "sObject Describe"; Object Reference, "TaskStatus".
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape

from relay.core.errors import OrgPaused, SalesforceUnavailable
from relay.core.ids import record_id
from relay.core.org import KEY_LENGTH, FieldInfo, OrgSchema
from relay.salesforce import errors
from relay.salesforce.soql import Query

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from relay.core.model import Json
    from relay.salesforce.client import Client, Part
    from relay.salesforce.connection import Connection

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
MAX_PARTS: Final = 25
"""Parts of one composite call (REST API Developer Guide, "Composite")."""
_NEEDED: Final = frozenset({"Task", "Contact", "User"})
_ABSENT: Final = frozenset({"NOT_FOUND", "INVALID_TYPE"})
_STATUSES: Final = Query(
    "SELECT ApiName, IsClosed, IsDefault, SortOrder FROM TaskStatus ORDER BY SortOrder"
)
RETRY_S: Final = 60.0
"""Wait before an org whose schema could not be read anew is asked again."""

PERMISSION_SET: Final = "Relay_Keys"
_KEY_OBJECTS: Final = {"Activity": ("Task", "Event"), "EmailMessage": ("EmailMessage",)}
"""By object that has the field, the objects on which it is seen."""

_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE: Final = 'xmlns="http://soap.sforce.com/2006/04/metadata"'
_DESCRIPTION: Final = "Key of the e-mail relay: keeps a mail from being logged twice."


class Schema:
    """The schema, remembered for `describe_ttl_s`.

    Args:
        connection: What the parts of `Org` share.
    """

    def __init__(self, connection: Connection) -> None:
        """Know nothing yet."""
        self._connection = connection
        self._known: OrgSchema | None = None
        self._read_at_s = 0.0
        self._reading = asyncio.Lock()
        self._prefixes: Mapping[str, str] = {}
        self._prefixes_at_s: float | None = None
        self._also: frozenset[str] = frozenset()

    async def get(
        self, *, fresh: bool = False, also: Collection[str] = ()
    ) -> OrgSchema:
        """Return the org's objects and fields.

        Args:
            fresh: Ask again, because a write was refused for its fields.
            also: Further objects that are to be described, now and from now on.

        Raises:
            RelayError: They could not be read, and none are remembered.
        """
        clock = self._connection.clock
        ttl_s = self._connection.settings.describe_ttl_s
        asked_at_s = clock.boottime_s()
        async with self._reading:
            if new := frozenset(also) - self._also - frozenset(OBJECTS):
                self._also |= new
                fresh, asked_at_s = True, clock.boottime_s()
            age_s = asked_at_s - self._read_at_s
            if self._known is not None and (age_s < 0 or (not fresh and age_s < ttl_s)):
                return self._known
            names = (*OBJECTS, *sorted(self._also))
            try:
                self._known = await self._connection.threads.run(
                    lambda client: _ask(client, names)
                )
            except SalesforceUnavailable:
                if self._known is None or fresh:
                    raise
                # An old schema is better than none; ask again in a while.
                self._read_at_s = asked_at_s - max(0.0, ttl_s - RETRY_S)
                return self._known
            self._read_at_s = clock.boottime_s()
            return self._known

    async def objects(self) -> Mapping[str, str]:
        """Return every object of the org that can be queried, by its key prefix.

        It is one call, and a large answer: asked for where a mail names a record of an
        object that is in no other description, and then remembered as long as those.

        Raises:
            RelayError: They could not be read, and none are remembered.
        """
        clock = self._connection.clock
        async with self._reading:
            age_s = clock.boottime_s() - (self._prefixes_at_s or 0.0)
            known = self._prefixes_at_s is not None
            if known and 0 <= age_s < self._connection.settings.describe_ttl_s:
                return self._prefixes
            try:
                self._prefixes = await self._connection.threads.run(_ask_objects)
            except SalesforceUnavailable:
                if not known:
                    raise
                return self._prefixes
            self._prefixes_at_s = clock.boottime_s()
            return self._prefixes


# ------------------------------------------------------------------ describe


def _ask_objects(client: Client) -> Mapping[str, str]:
    """Ask for the list of objects.

    Raises:
        RelayError: The call failed; see `Client.call`.
    """
    return read_objects(client.call("describe", "sobjects"))


def read_objects(body: Json) -> dict[str, str]:
    """Return the objects of a global describe that can be queried, by key prefix.

    Source: REST API Developer Guide, "Describe Global".
    """
    listed = body.get("sobjects") if isinstance(body, dict) else None
    return {
        str(item["keyPrefix"]): str(item["name"])
        for item in (listed if isinstance(listed, list) else [])
        if isinstance(item, dict)
        and item.get("queryable") is True
        and item.get("keyPrefix")
        and item.get("name")
    }


def _ask(client: Client, names: Sequence[str] = OBJECTS) -> OrgSchema:
    """Ask for the schema, all objects in as few calls as there can be.

    Raises:
        OrgPaused: An object without which nothing can be logged is not there.
        RelayError: The call failed; see `Client.call`.
    """
    parts = [("GET", f"sobjects/{name}/describe", None) for name in names]
    parts.append(("GET", _STATUSES.path, None))
    results: list[Part | None] = []
    for at in range(0, len(parts), MAX_PARTS):
        results += client.composite("describe", parts[at : at + MAX_PARTS])
    return read(results, names)


def read(results: Sequence[Part | None], names: Sequence[str] = OBJECTS) -> OrgSchema:
    """Return the schema from the answers: one per object, then the statuses.

    Raises:
        OrgPaused: An object without which nothing can be logged is not there.
        RelayError: An answer says that the org cannot be described now.
    """
    fields: dict[str, dict[str, FieldInfo]] = {}
    createables: set[str] = set()
    deletables: set[str] = set()
    prefixes: dict[str, str] = {}
    record_types: dict[str, dict[str, str]] = {}
    for name, part in zip(names, results, strict=False):
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
        *_statuses(results[len(names)]),
        record_types,
        frozenset(deletables),
    )


def _described(name: str, part: Part | None) -> dict[str, Any] | None:
    """Return what describe says; None if there is no such object for our user."""
    if part is None or (part.ok and not isinstance(part.body, dict)):
        failed = errors.failure(200, None)
        raise errors.error_for(failed, doing=f"describe {name}")
    if part.ok:
        described: dict[str, Any] = part.body
        return described
    failed = part.failure()
    if failed.code in _ABSENT:
        return None
    error = errors.error_for(failed, doing=f"describe {name}")
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
        references=tuple(
            each for each in item.get("referenceTo") or () if isinstance(each, str)
        ),
        is_name=flag("nameField"),
        default=next(
            (
                str(value.get("value"))
                for value in (values if isinstance(values, list) else [])
                if isinstance(value, dict) and value.get("defaultValue") is True
            ),
            "",
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


def _statuses(part: Part | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the statuses that close a Task, and those that do not.

    Of the latter the org's default is first. Both are empty if the org does not tell.
    """
    if part is None or not part.ok or not isinstance(part.body, dict):
        return (), ()
    found = part.body.get("records")
    rows = [
        row
        for row in (found if isinstance(found, list) else [])
        if isinstance(row, dict) and row.get("ApiName")
    ]
    closed = tuple(str(row["ApiName"]) for row in rows if row.get("IsClosed") is True)
    rows.sort(key=lambda row: row.get("IsDefault") is not True)
    still = tuple(str(row["ApiName"]) for row in rows if row.get("IsClosed") is False)
    return closed, still


# ------------------------------------------------------------------ key fields


def key_field_files(field: str, api_version: str) -> dict[str, str]:
    """Return what deploys the fields of the relay's keys: files by path.

    A folder with these files is what `sf project deploy start --metadata-dir` takes,
    and a zip of it what Workbench takes. The fields alone would be invisible:
    field-level security comes with the permission set.

    Args:
        field: API name of the field, such as `Relay_Key__c`.
        api_version: Version of the API, such as `66.0`.

    Source: Metadata API Developer Guide, "CustomField", "PermissionSet", "package.xml".
    """
    made = {"package.xml": _package(field, api_version)}
    for name in _KEY_OBJECTS:
        made[f"objects/{name}.object"] = _object(field)
    made[f"permissionsets/{PERMISSION_SET}.permissionset"] = _permissions(field)
    return made


def _package(field: str, api_version: str) -> str:
    members = [f"{name}.{field}" for name in _KEY_OBJECTS]
    return _document(
        "Package",
        _types(members, "CustomField")
        + _types([PERMISSION_SET], "PermissionSet")
        + f"    <version>{escape(api_version)}</version>\n",
    )


def _types(members: Sequence[str], name: str) -> str:
    lines = "".join(f"        <members>{escape(m)}</members>\n" for m in members)
    return f"    <types>\n{lines}        <name>{name}</name>\n    </types>\n"


def _object(field: str) -> str:
    label = field.removesuffix("__c").replace("_", " ")
    values = {
        "fullName": field,
        "caseSensitive": "true",
        "description": _DESCRIPTION,
        "externalId": "true",
        "label": label,
        "length": str(KEY_LENGTH),
        "required": "false",
        "type": "Text",
        "unique": "true",
    }
    lines = "".join(
        f"        <{name}>{escape(value)}</{name}>\n" for name, value in values.items()
    )
    return _document("CustomObject", f"    <fields>\n{lines}    </fields>\n")


def _permissions(field: str) -> str:
    lines = "".join(
        "    <fieldPermissions>\n"
        "        <editable>true</editable>\n"
        f"        <field>{name}.{escape(field)}</field>\n"
        "        <readable>true</readable>\n"
        "    </fieldPermissions>\n"
        for names in _KEY_OBJECTS.values()
        for name in names
    )
    return _document(
        "PermissionSet",
        f"    <description>{_DESCRIPTION}</description>\n{lines}"
        "    <hasActivationRequired>false</hasActivationRequired>\n"
        "    <label>Relay Keys</label>\n",
    )


def _document(root: str, content: str) -> str:
    return f"{_HEAD}<{root} {_NAMESPACE}>\n{content}</{root}>\n"
