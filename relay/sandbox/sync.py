"""What changed and what went: `updated` and `deleted` of one object.

Seconds are ignored on the way in, and the answer never claims to cover the moment of
asking: a transaction commits after its stamp.

Source: REST API Developer Guide, "sObject Get Updated", "sObject Get Deleted".
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.answers import Answer
from relay.sandbox.errors import SandboxError
from relay.sandbox.values import read_stamp, stamp

if TYPE_CHECKING:
    from relay.sandbox.answers import Call
    from relay.sandbox.metadata import ObjectInfo
    from relay.sandbox.org import SandboxOrg

UPDATED_REACH: Final = timedelta(days=30)
DELETED_REACH: Final = timedelta(days=15)
MAX_IDS: Final = 600_000
_LAG: Final = timedelta(minutes=1)


def updated(org: SandboxOrg, call: Call, info: ObjectInfo) -> Answer:
    """Answer the ids of rows that changed, by SystemModstamp."""
    start, end, covered = _window(org, call, UPDATED_REACH)
    ids = [
        row["Id"]
        for row in _rows(org, call, info, start, end)
        if not row.get("IsDeleted")
    ]
    return Answer(200, {"ids": ids, "latestDateCovered": stamp(covered)})


def deleted(org: SandboxOrg, call: Call, info: ObjectInfo) -> Answer:
    """Answer the rows that went to the Recycle Bin."""
    start, end, covered = _window(org, call, DELETED_REACH)
    records = [
        {"id": row["Id"], "deletedDate": row["SystemModstamp"]}
        for row in _rows(org, call, info, start, end)
        if row.get("IsDeleted")
    ]
    body = {
        "deletedRecords": records,
        "earliestDateAvailable": stamp(org.clock.now() - DELETED_REACH),
        "latestDateCovered": stamp(covered),
    }
    return Answer(200, body)


def _rows(
    org: SandboxOrg, call: Call, info: ObjectInfo, start: datetime, end: datetime
) -> list[dict[str, Any]]:
    if "SystemModstamp" not in info.fields:
        raise SandboxError("INVALID_TYPE", f"{info.name} is not replicable")
    first, last = stamp(start), stamp(end)
    found = [
        row
        for row in org.rows.all(info.name)
        if first <= row["SystemModstamp"] < last
        and org.can_see(call.user_id, row["Id"])
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
