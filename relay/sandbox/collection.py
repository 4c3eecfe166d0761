"""sObject collections: up to 200 records in one call, each with its own result.

Well-formed requests are answered with 200 and a result for each record, in the order of
the request. One bad record leaves its neighbours alone unless `allOrNone` is set.

Source: REST API Developer Guide, "sObject Collections".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.answers import Answer
from relay.sandbox.errors import SandboxError
from relay.sandbox.resources import (
    chosen_fields,
    key_field,
    object_info,
    row_for_reading,
    shown,
    upsert_row,
)
from relay.sandbox.values import read_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.sandbox.answers import Call
    from relay.sandbox.org import SandboxOrg

MAX_RECORDS: Final = 200
MAX_CHUNKS: Final = 10
_MAX_READ: Final = 2_000
_ROLLED_BACK: Final = SandboxError(
    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "Record rolled back because not all records were valid and the request was using "
    "AllOrNone header",
)


def create(org: SandboxOrg, call: Call) -> Answer:
    """Answer `POST /composite/sobjects`.

    Raises:
        SandboxError: The request as a whole is malformed; nothing was written.
    """
    records = _records(call)
    for record in records:
        if "id" in record or "Id" in record:
            raise SandboxError(
                "INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call"
            )

    def write(record: dict[str, Any]) -> dict[str, Any]:
        name = record["attributes"]["type"]
        return {"id": org.records.create(name, record, call.caller())}

    return _run(org, call, records, write)


def update(org: SandboxOrg, call: Call) -> Answer:
    """Answer `PATCH /composite/sobjects`.

    Raises:
        SandboxError: The request as a whole is malformed; nothing was written.
    """
    records = _records(call)
    seen: set[str | None] = set()

    def write(record: dict[str, Any]) -> dict[str, Any]:
        fields = {
            key: value for key, value in record.items() if key not in {"id", "Id"}
        }
        record_id = record.get("id", record.get("Id"))
        if not isinstance(record_id, str):
            raise SandboxError("MISSING_ARGUMENT", "Id not specified in an update call")
        if read_id(record_id) in seen - {None}:
            raise SandboxError("DUPLICATE_VALUE", f"Duplicate id in list: {record_id}")
        seen.add(read_id(record_id))
        org.records.update(
            record["attributes"]["type"], record_id, fields, call.caller()
        )
        return {"id": read_id(record_id)}

    return _run(org, call, records, write)


def upsert(org: SandboxOrg, call: Call) -> Answer:
    """Answer `PATCH /composite/sobjects/X/Field`.

    Raises:
        SandboxError: The request as a whole is malformed; nothing was written.
    """
    info = object_info(org, call.segments[2])
    field = key_field(info, call.segments[3])
    if field is None:
        raise SandboxError("INVALID_FIELD", f"no such key: {call.segments[3]}")
    records = _records(call)
    seen: set[str] = set()

    def write(record: dict[str, Any]) -> dict[str, Any]:
        key = record.get(field.name)
        if not isinstance(key, str) or not key:
            raise SandboxError("MISSING_ARGUMENT", f"{field.name} not specified")
        if key.lower() in seen:
            raise SandboxError("DUPLICATE_VALUE", f"Duplicate external id: {key}")
        seen.add(key.lower())
        fields = {name: value for name, value in record.items() if name != field.name}
        record_id, created, _ = upsert_row(org, call, info, field, key, fields)
        if record_id is None:
            raise SandboxError(
                "DUPLICATE_EXTERNAL_ID", f"{field.name}: more than one record found"
            )
        return {"id": record_id, "created": created}

    return _run(org, call, records, write)


def delete(org: SandboxOrg, call: Call) -> Answer:
    """Answer `DELETE /composite/sobjects?ids=`.

    Raises:
        SandboxError: The request as a whole is malformed; nothing was deleted.
    """
    ids = [each for each in call.query.get("ids", "").split(",") if each]
    if not ids or len(ids) > MAX_RECORDS:
        raise SandboxError("INVALID_INPUT", f"ids must name 1 to {MAX_RECORDS} records")
    all_or_none = call.query.get("allOrNone", "false").lower() == "true"

    def write(record: dict[str, Any]) -> dict[str, Any]:
        whole = read_id(record["id"])
        info = org.schema.of_id(whole) if whole else None
        if info is None or whole is None:
            raise SandboxError("MALFORMED_ID", f"malformed id {record['id']}")
        org.records.delete(info.name, whole, call.caller())
        return {"id": whole}

    return _write(org, [{"id": each} for each in ids], write, all_or_none=all_or_none)


def read(org: SandboxOrg, call: Call) -> Answer:
    """Answer `GET` and `POST` of `/composite/sobjects/X`; null for no row."""
    info = object_info(org, call.segments[2])
    if call.method == "POST":
        body = call.json_object()
        ids, names = body.get("ids"), body.get("fields")
        limit = _MAX_READ
    else:
        ids = [each for each in call.query.get("ids", "").split(",") if each]
        names = [each for each in call.query.get("fields", "").split(",") if each]
        limit = MAX_RECORDS * 4
    if not isinstance(ids, list) or not isinstance(names, list) or not ids or not names:
        raise SandboxError("INVALID_INPUT", "ids and fields are required")
    if len(ids) > limit or not all(isinstance(each, str) for each in (*ids, *names)):
        raise SandboxError("INVALID_INPUT", f"at most {limit} ids")
    fields = chosen_fields(info, {"fields": ",".join(names)})
    rows = [row_for_reading(org, call, info, each) for each in ids]
    return Answer(200, [row and shown(info, row, call.version, fields) for row in rows])


def record_count(body: Any) -> int:
    """Return how many records a request holds, itself or in its subrequests."""
    if not isinstance(body, dict):
        return 0
    records = body.get("records")
    if isinstance(records, list):
        return len(records)
    subrequests = body.get("compositeRequest")
    if not isinstance(subrequests, list):
        return 0
    return sum(
        record_count(each.get("body")) for each in subrequests if isinstance(each, dict)
    )


def _records(call: Call) -> list[dict[str, Any]]:
    body = call.json_object()
    records = body.get("records")
    if not isinstance(records, list) or not records:
        raise SandboxError("INVALID_INPUT", "records must be a list that is not empty")
    if len(records) > MAX_RECORDS:
        raise SandboxError(
            "LIMIT_EXCEEDED",
            f"record limit reached. cannot submit more than "
            f"{MAX_RECORDS} records in this operation",
        )
    if not isinstance(body.get("allOrNone", False), bool):
        raise SandboxError("INVALID_INPUT", "allOrNone is a boolean")
    chunks, last = 0, None
    for record in records:
        attributes = record.get("attributes") if isinstance(record, dict) else None
        name = attributes.get("type") if isinstance(attributes, dict) else None
        if not isinstance(name, str) or not name:
            raise SandboxError(
                "INVALID_INPUT", "each record needs attributes with a type"
            )
        chunks += name != last
        last = name
    if chunks > MAX_CHUNKS:
        raise SandboxError(
            "LIMIT_EXCEEDED",
            f"the records fall into {chunks} chunks of one type, {MAX_CHUNKS} at most",
        )
    return records


def _run(
    org: SandboxOrg,
    call: Call,
    records: list[dict[str, Any]],
    write: Callable[[dict[str, Any]], dict[str, Any]],
) -> Answer:
    all_or_none = bool(call.json_object().get("allOrNone", False))
    return _write(org, records, write, all_or_none=all_or_none)


def _write(
    org: SandboxOrg,
    records: list[dict[str, Any]],
    write: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    all_or_none: bool,
) -> Answer:
    mark = org.rows.savepoint()
    results: list[dict[str, Any]] = []
    failed = False
    for record in records:
        try:
            results.append({**write(record), "success": True, "errors": []})
        except SandboxError as error:
            if error.whole:
                org.rows.rollback(mark)
                raise
            failed = True
            results.append({"success": False, "errors": [error.as_collection_json()]})
    if failed and all_or_none:
        org.rows.rollback(mark)
        rolled_back = {
            "success": False,
            "errors": [_ROLLED_BACK.as_collection_json()],
        }
        results = [rolled_back if each["success"] else each for each in results]
    return Answer(200, results)
