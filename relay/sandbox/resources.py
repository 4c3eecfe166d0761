"""Objects and rows over REST: describe, rows, keys, blobs, changes, queries.

Describe is the contract between org and client: a field hidden by field-level security
is not in it, and writes are checked against the lengths in it.

`updated` and `deleted` ignore seconds on the way in, and their answer never claims to
cover the moment of asking: a transaction commits after its stamp.

Source: REST API Developer Guide, "Describe Global", "sObject Describe", "sObject Basic
Information", "sObject Rows", "sObject Rows by External ID", "sObject Blob Get",
"sObject Get Updated", "sObject Get Deleted", "Query".
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.answers import Answer
from relay.sandbox.errors import SandboxError, not_found
from relay.sandbox.soql import SOQLError
from relay.sandbox.values import read_id, read_stamp, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.sandbox.answers import Call
    from relay.sandbox.metadata import FieldInfo, ObjectInfo
    from relay.sandbox.org import SandboxOrg
    from relay.sandbox.state import Rows


def object_info(org: SandboxOrg, name: str) -> ObjectInfo:
    """Return the object that a path names.

    Raises:
        SandboxError: 404; the platform does not say more.
    """
    info = org.schema.find(name)
    if info is None:
        raise not_found()
    return info


def basic(org: SandboxOrg, call: Call, info: ObjectInfo) -> Answer:
    """Answer `GET /sobjects/X/`."""
    del org
    return Answer(200, describe_basic(info, call.version))


def describe(org: SandboxOrg, call: Call, info: ObjectInfo) -> Answer:
    """Answer `GET /sobjects/X/describe`; 304 where nothing changed since."""
    since = _date_header(call, "if-modified-since")
    if since is not None and since >= org.state.shaped_at:
        return Answer(304)
    return Answer(
        200,
        describe_object(org, info, call.version),
        {"Last-Modified": org.state.shaped_at.strftime("%a, %d %b %Y %H:%M:%S GMT")},
    )


def create(org: SandboxOrg, call: Call, info: ObjectInfo) -> Answer:
    """Answer `POST /sobjects/X/`."""
    fields = {**call.json_object(), **call.binary}
    record_id = org.records.create(info.name, fields, call.caller())
    base = f"/services/data/v{call.version}/sobjects/{info.name}/{record_id}"
    body = {"id": record_id, "success": True, "errors": []}
    return Answer(201, body, {"Location": base})


def read(org: SandboxOrg, call: Call, info: ObjectInfo) -> Answer:
    """Answer `GET /sobjects/X/id`."""
    row = org.records.existing(info.name, call.segments[2], call.caller())
    return Answer(200, shown(info, row, call.version, chosen_fields(info, call.query)))


def update(org: SandboxOrg, call: Call, info: ObjectInfo) -> Answer:
    """Answer `PATCH /sobjects/X/id`."""
    org.records.update(
        info.name,
        call.segments[2],
        {**call.json_object(), **call.binary},
        call.caller(),
        unmodified_since=_date_header(call, "if-unmodified-since"),
    )
    return Answer(204)


def delete(org: SandboxOrg, call: Call, info: ObjectInfo) -> Answer:
    """Answer `DELETE /sobjects/X/id`."""
    org.records.delete(info.name, call.segments[2], call.caller())
    return Answer(204)


def blob(org: SandboxOrg, call: Call, info: ObjectInfo) -> Answer:
    """Answer `GET /sobjects/X/id/BlobField` with the bytes."""
    field = info.visible.get(call.segments[3])
    if field is None or field.type != "base64":
        raise not_found()
    if call.inside:
        raise SandboxError("INVALID_INPUT", "blobs cannot be read in a composite")
    row = org.records.existing(info.name, call.segments[2], call.caller())
    data = org.blobs.get(row["Id"])
    if data is None:
        raise not_found()
    return Answer(200, data, {"Content-Type": "application/octetstream"})


def key_field(info: ObjectInfo, name: str) -> FieldInfo | None:
    """Return the field by which rows of a path are found, or None if it is no field.

    Raises:
        SandboxError: The field exists and is no key.
    """
    field = info.visible.get(name)
    if field is None or name == "Id":
        return None
    if not (field.external_id or field.id_lookup):
        raise not_found(
            "Provided external ID field does not exist or is not accessible: " + name
        )
    return field


def rows_by_key(
    org: SandboxOrg, call: Call, info: ObjectInfo, field: FieldInfo, value: str
) -> list[dict[str, Any]]:
    """Return the live rows that a key value names."""
    return [
        row
        for row in org.rows.lookup(info.name, field.name, [value]) or ()
        if not row.get("IsDeleted")
        and org.state.can_see(call.user_id, row["Id"])
        and (row[field.name] == value or not field.case_sensitive)
    ]


def read_by_key(
    org: SandboxOrg, call: Call, info: ObjectInfo, field: FieldInfo
) -> Answer:
    """Answer `GET /sobjects/X/Field/value`; 300 with the list of several."""
    found = rows_by_key(org, call, info, field, call.segments[3])
    if len(found) > 1:
        return _several(info, found, call.version)
    if not found:
        raise not_found()
    fields = chosen_fields(info, call.query)
    return Answer(200, shown(info, found[0], call.version, fields))


def upsert(org: SandboxOrg, call: Call, info: ObjectInfo, field: FieldInfo) -> Answer:
    """Answer `PATCH /sobjects/X/Field/value`."""
    only = call.query.get("updateOnly", "false").lower() == "true"
    record_id, created, found = upsert_row(
        org,
        call,
        info,
        field,
        call.segments[3],
        {**call.json_object(), **call.binary},
        update_only=only,
    )
    if record_id is None:
        return _several(info, found, call.version)
    body = {"id": record_id, "success": True, "errors": [], "created": created}
    return Answer(201 if created else 200, body)


def upsert_row(
    org: SandboxOrg,
    call: Call,
    info: ObjectInfo,
    field: FieldInfo,
    value: str,
    fields: Mapping[str, Any],
    *,
    update_only: bool = False,
) -> tuple[str | None, bool, list[dict[str, Any]]]:
    """Create or update the row of a key; return id, whether it is new, and rivals.

    Raises:
        SandboxError: The body holds the key, or the write is refused.
    """
    for name in ("Id", "id", field.name):
        if name in fields:
            raise SandboxError(
                "INVALID_FIELD",
                f"The {name} field should not be specified in the sobject data.",
            )
    found = rows_by_key(org, call, info, field, value)
    if len(found) > 1:
        return None, False, found
    if found:
        org.records.update(info.name, found[0]["Id"], fields, call.caller())
        return found[0]["Id"], False, []
    if update_only:
        raise not_found()
    whole = {**fields, field.name: value}
    return org.records.create(info.name, whole, call.caller()), True, []


def delete_by_key(
    org: SandboxOrg, call: Call, info: ObjectInfo, field: FieldInfo
) -> Answer:
    """Answer `DELETE /sobjects/X/Field/value`."""
    found = rows_by_key(org, call, info, field, call.segments[3])
    if len(found) > 1:
        return _several(info, found, call.version)
    if not found:
        raise not_found()
    org.records.delete(info.name, found[0]["Id"], call.caller())
    return Answer(204)


def shown(
    info: ObjectInfo, row: Mapping[str, Any], version: str, fields: list[str]
) -> dict[str, Any]:
    """Return a row as REST writes it."""
    url = f"/services/data/v{version}/sobjects/{info.name}/{row['Id']}"
    record: dict[str, Any] = {"attributes": {"type": info.name, "url": url}}
    record.update((name, row.get(name)) for name in fields)
    return record


def chosen_fields(info: ObjectInfo, query: Mapping[str, str]) -> list[str]:
    """Return the fields asked for, or all that can be read.

    Raises:
        SandboxError: One of them does not exist for the caller.
    """
    every = [
        name for name, each in info.visible.items() if each.type != "junctionidlist"
    ]
    if not query.get("fields"):
        return every
    chosen = [name.strip() for name in query["fields"].split(",")]
    for name in chosen:
        if name not in every:
            raise SandboxError(
                "INVALID_FIELD",
                f"No such column '{name}' on sobject of type {info.name}",
            )
    return list(dict.fromkeys(["Id", *chosen]))


def row_for_reading(
    org: SandboxOrg, call: Call, info: ObjectInfo, record_id: str
) -> dict[str, Any] | None:
    """Return a live visible row, or None; for reading many at once.

    Raises:
        SandboxError: The id is malformed.
    """
    whole = read_id(record_id)
    if whole is None:
        raise SandboxError("MALFORMED_ID", f"malformed id {record_id}")
    row = org.rows.get(info.name, whole)
    if (
        row is None
        or row.get("IsDeleted")
        or not org.state.can_see(call.user_id, whole)
    ):
        return None
    return row


def _several(info: ObjectInfo, found: list[dict[str, Any]], version: str) -> Answer:
    base = f"/services/data/v{version}/sobjects/{info.name}"
    return Answer(300, [f"{base}/{row['Id']}" for row in found])


def _date_header(call: Call, name: str) -> datetime | None:
    text = call.headers.get(name)
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


# ------------------------------------------------------------------- queries


def query(org: SandboxOrg, call: Call) -> Answer:
    """Answer `query` and `queryAll`, and their further pages."""
    for locator in call.segments[1:]:
        return Answer(200, org.cursors.next(locator, call))
    text = call.query.get("q")
    if not text:
        raise SandboxError("MALFORMED_QUERY", "q is missing")
    try:
        result = org.query(
            text,
            user_id=call.user_id,
            all_rows=call.segments[0] == "queryAll",
            version=call.version,
        )
    except SOQLError as error:
        raise SandboxError(error.code, error.message) from None
    return Answer(200, org.cursors.first(result.records, result.total_size, call))


# ------------------------------------------------------------------- changes


UPDATED_REACH: Final = timedelta(days=30)
DELETED_REACH: Final = timedelta(days=15)
MAX_IDS: Final = 600_000
_LAG: Final = timedelta(minutes=1)


def updated(org: SandboxOrg, call: Call, info: ObjectInfo) -> Answer:
    """Answer the ids of rows that changed, by SystemModstamp."""
    start, end, covered = _window(org, call, UPDATED_REACH)
    ids = [
        row["Id"]
        for row in _changed(org, call, info, start, end)
        if not row.get("IsDeleted")
    ]
    return Answer(200, {"ids": ids, "latestDateCovered": stamp(covered)})


def deleted(org: SandboxOrg, call: Call, info: ObjectInfo) -> Answer:
    """Answer the rows that went to the Recycle Bin."""
    start, end, covered = _window(org, call, DELETED_REACH)
    records = [
        {"id": row["Id"], "deletedDate": row["SystemModstamp"]}
        for row in _changed(org, call, info, start, end)
        if row.get("IsDeleted")
    ]
    body = {
        "deletedRecords": records,
        "earliestDateAvailable": max(
            stamp(org.clock.now() - DELETED_REACH),
            org.state.purged_until.get(info.name, ""),
        ),
        "latestDateCovered": stamp(covered),
    }
    return Answer(200, body)


def _changed(
    org: SandboxOrg, call: Call, info: ObjectInfo, start: datetime, end: datetime
) -> list[dict[str, Any]]:
    if "SystemModstamp" not in info.fields:
        raise SandboxError("INVALID_TYPE", f"{info.name} is not replicable")
    first, last = stamp(start), stamp(end)
    found = [
        row
        for row in org.rows.all(info.name)
        if first <= row["SystemModstamp"] < last
        and org.state.can_see(call.user_id, row["Id"])
    ]
    if len(found) > MAX_IDS:
        raise SandboxError("EXCEEDED_ID_LIMIT", f"more than {MAX_IDS} ids")
    return found


def _window(
    org: SandboxOrg, call: Call, reach: timedelta
) -> tuple[datetime, datetime, datetime]:
    """Return start, end, and how far the answer may say it covers."""
    bounds = []
    for name in ("start", "end"):
        moment = read_stamp(call.query.get(name, ""))
        if moment is None:
            raise SandboxError(
                "INVALID_REPLICATION_DATE", f"{name} is no date with a zone"
            )
        bounds.append(moment.astimezone(UTC).replace(second=0, microsecond=0))
    start, end = bounds
    now = org.clock.now()
    if start >= end:
        raise SandboxError(
            "INVALID_REPLICATION_DATE", "startDate before endDate is required"
        )
    if start < now - reach - _LAG:
        raise SandboxError(
            "INVALID_REPLICATION_DATE",
            f"startDate cannot be more than {reach.days} days ago",
        )
    covered = min(end, now.replace(second=0, microsecond=0) - _LAG)
    return start, end, covered


# ------------------------------------------------------------------ describe


_NO_QUERY: Final = frozenset({"junctionidlist"})
_SOAP: Final = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "base64": "xsd:base64Binary",
    "junctionidlist": "tns:ID",
}


def describe_global(org: SandboxOrg, version: str) -> dict[str, Any]:
    """Return the list of objects."""
    return {
        "encoding": "UTF-8",
        "maxBatchSize": 200,
        "sobjects": [_summary(info, version) for info in org.schema.objects.values()],
    }


def describe_basic(info: ObjectInfo, version: str) -> dict[str, Any]:
    """Return the body of `GET /sobjects/X/`."""
    return {"objectDescribe": _summary(info, version), "recentItems": []}


def describe_object(org: SandboxOrg, info: ObjectInfo, version: str) -> dict[str, Any]:
    """Return everything about one object and its visible fields."""
    return {
        **_summary(info, version),
        "fields": [_described(each, info, org.rows) for each in info.visible.values()],
        "childRelationships": [
            {
                "relationshipName": name,
                "childSObject": child,
                "field": field,
                "cascadeDelete": False,
                "restrictedDelete": False,
                "deprecatedAndHidden": False,
            }
            for name, (child, field) in info.children.items()
        ],
        "recordTypeInfos": [
            _record_type("Master", "012000000000000AAA", master=True),
            *(
                _record_type(row["DeveloperName"], row["Id"], master=False)
                for row in org.rows.all("RecordType")
                if row["SobjectType"] == info.name and row["IsActive"]
            ),
        ],
    }


def _record_type(name: str, record_id: str, *, master: bool) -> dict[str, Any]:
    return {
        "active": True,
        "available": True,
        "defaultRecordTypeMapping": master,
        "developerName": name,
        "master": master,
        "name": name.replace("_", " "),
        "recordTypeId": record_id,
    }


def _summary(info: ObjectInfo, version: str) -> dict[str, Any]:
    base = f"/services/data/v{version}/sobjects/{info.name}"
    return {
        "name": info.name,
        "label": info.label,
        "labelPlural": f"{info.label}s",
        "keyPrefix": info.prefix,
        "createable": info.createable,
        "updateable": info.updateable,
        "deletable": info.deletable,
        "undeletable": info.undeletable,
        "queryable": True,
        "retrieveable": True,
        "replicateable": "SystemModstamp" in info.fields,
        "searchable": False,
        "triggerable": info.createable,
        "layoutable": info.createable,
        "mergeable": info.name in {"Lead", "Contact", "Account"},
        "activateable": False,
        "custom": False,
        "customSetting": False,
        "deprecatedAndHidden": False,
        "urls": {
            "sobject": base,
            "describe": f"{base}/describe",
            "rowTemplate": f"{base}/{{ID}}",
        },
    }


def _described(field: FieldInfo, info: ObjectInfo, rows: Rows) -> dict[str, Any]:
    text = field.type in {"string", "textarea", "email", "phone", "url", "combobox"}
    units = field.length if text or field.type == "picklist" else 0
    return {
        "name": field.name,
        "label": field.label,
        "type": field.type,
        "soapType": _SOAP.get(field.type, "xsd:string"),
        "length": field.length if field.type not in _NO_QUERY else 0,
        "byteLength": units * 3,
        "digits": 9 if field.type == "int" else 0,
        "precision": 18 if field.type in {"double", "currency", "percent"} else 0,
        "scale": 2 if field.type in {"double", "currency", "percent"} else 0,
        "createable": field.createable and info.createable,
        "updateable": field.updateable and info.updateable,
        "nillable": field.nillable,
        "defaultedOnCreate": field.defaulted or field.type == "boolean",
        "filterable": field.filterable,
        "sortable": field.sortable,
        "groupable": field.groupable,
        "aggregatable": field.aggregatable,
        "permissionable": field.nillable and field.createable,
        "custom": field.custom,
        "unique": field.unique,
        "externalId": field.external_id,
        "idLookup": field.id_lookup,
        "caseSensitive": field.case_sensitive,
        "calculated": False,
        "autoNumber": False,
        "nameField": field.name == _name_field(info),
        "namePointing": len(field.refs) > 1,
        "polymorphicForeignKey": len(field.refs) > 1,
        "referenceTo": list(field.refs),
        "relationshipName": field.relationship or None,
        "restrictedPicklist": field.restricted,
        "picklistValues": [
            {
                "active": True,
                "defaultValue": value == field.default,
                "label": label,
                "value": value,
                "validFor": None,
            }
            for value, label in _values(field, info, rows)
        ],
        "defaultValue": False if field.type == "boolean" else None,
        "inlineHelpText": None,
        "deprecatedAndHidden": False,
        "encrypted": False,
        "htmlFormatted": False,
        "dependentPicklist": False,
        "controllerName": None,
        "compoundFieldName": None,
    }


def _name_field(info: ObjectInfo) -> str:
    return next(
        (
            name
            for name in ("CaseNumber", "Name", "Subject", "Title")
            if name in info.fields
        ),
        "",
    )


def _values(field: FieldInfo, info: ObjectInfo, rows: Rows) -> list[tuple[str, str]]:
    source = {
        ("Task", "Status"): "TaskStatus",
        ("Task", "Priority"): "TaskPriority",
        ("Opportunity", "StageName"): "OpportunityStage",
    }.get((info.name, field.name))
    if source is None:
        return [(value, value) for value in field.picklist]
    return [(row["ApiName"], row["MasterLabel"]) for row in rows.all(source)]
