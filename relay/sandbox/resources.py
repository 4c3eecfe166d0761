"""Rows over REST: create, read, update, delete, upsert, and blobs.

Source: REST API Developer Guide, "sObject Basic Information", "sObject Rows", "sObject
Rows by External ID", "sObject Blob Get".
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from relay.sandbox.answers import Answer
from relay.sandbox.describe import describe_basic, describe_object
from relay.sandbox.errors import SandboxError, not_found
from relay.sandbox.ids import read_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from relay.sandbox.answers import Call
    from relay.sandbox.metadata import FieldInfo, ObjectInfo
    from relay.sandbox.org import SandboxOrg


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
    if since is not None and since >= org.shaped_at:
        return Answer(304)
    return Answer(
        200,
        describe_object(org, info, call.version),
        {"Last-Modified": org.shaped_at.strftime("%a, %d %b %Y %H:%M:%S GMT")},
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
        and org.can_see(call.user_id, row["Id"])
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
    if row is None or row.get("IsDeleted") or not org.can_see(call.user_id, whole):
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
