"""Task: who and what, the closed state, recurrence, and Shared Activities.

The rules that cost other products their records: a Lead never together with a WhatId,
derived fields that nobody may write, CompletedDateTime that is set, kept and cleared.

Source: Salesforce Object Reference, "Task", "TaskRelation", "TaskWhoRelation".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.errors import SandboxError
from relay.sandbox.rules import ObjectRules
from relay.sandbox.values import stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.sandbox.org import SandboxOrg
    from relay.sandbox.rules import Caller, Write

MAX_WHO: Final = 50
"""Contacts on one task with Shared Activities."""

_PATTERN: Final = ("RecurrenceStartDateOnly", "RecurrenceEndDateOnly", "RecurrenceType")
_RECURRENCE: Final = (
    *_PATTERN,
    "RecurrenceTimeZoneSidKey",
    "RecurrenceInterval",
    "RecurrenceDayOfWeekMask",
    "RecurrenceDayOfMonth",
    "RecurrenceInstance",
    "RecurrenceMonthOfYear",
)


class TaskRules(ObjectRules):
    """Task."""

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Check the links and the pattern, and derive what is read-only."""
        if row.get("TaskSubtype") == "Cadence":
            raise _refused("TaskSubtype", "Cadence cannot be set through the API")
        row["TaskSubtype"] = row.get("TaskSubtype") or "Task"
        _check_recurrence(row, write.given)
        _settle_who(write.org, row, write.given)
        check_links(write.org, row)
        follow_status(write.org, row, None)
        row["AccountId"] = account_of(write.org, row)

    def after_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Make the relations that Shared Activities shows."""
        _relate(write.org, row, write.caller)

    def before_update(self, write: Write, row: dict[str, Any]) -> None:
        """Check again with the new values, and derive again."""
        if write.old.get("IsRecurrence"):
            for name in ("Status", "ActivityDate"):
                if name in write.given:
                    raise _refused(name, "cannot be set on a recurring task")
        elif any(write.given.get(name) is not None for name in _RECURRENCE):
            raise _refused("IsRecurrence", "a task never becomes a recurring one")
        _settle_who(write.org, row, write.given, write.old)
        if {"WhoId", "WhatId", "TaskWhoIds"} & set(write.given):
            check_links(write.org, row)
            row["AccountId"] = account_of(write.org, row)
        follow_status(write.org, row, write.old)
        if {"WhoId", "WhatId", "TaskWhoIds"} & set(write.given):
            _unrelate(write.org, row["Id"], write.caller)
            _relate(write.org, row, write.caller)

    def after_delete(self, write: Write, row: Mapping[str, Any]) -> None:
        """Take the e-mail of this activity, and the occurrences of a series, along."""
        _unrelate(write.org, row["Id"], write.caller)
        for email in write.org.rows.where("EmailMessage", "ActivityId", row["Id"]):
            write.org.records.drop("EmailMessage", email, write.caller)
        for each in write.org.rows.where("Task", "RecurrenceActivityId", row["Id"]):
            write.org.records.drop("Task", each, write.caller)


class EventRules(ObjectRules):
    """Event: the links of an activity, and its times."""

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Check links and times."""
        timed = row.get("ActivityDateTime") or row.get("StartDateTime")
        if not (timed or (row.get("IsAllDayEvent") and row.get("ActivityDate"))):
            raise SandboxError(
                "REQUIRED_FIELD_MISSING",
                "Required fields are missing: [ActivityDateTime]",
                fields=("ActivityDateTime",),
            )
        check_links(write.org, row)
        row["AccountId"] = account_of(write.org, row)

    def before_update(self, write: Write, row: dict[str, Any]) -> None:
        """Check the links again."""
        check_links(write.org, row)
        row["AccountId"] = account_of(write.org, row)


class TaskRelationRules(ObjectRules):
    """TaskRelation: made and deleted, never changed."""

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Say whether the relation is to a record or to a person."""
        del write
        row["IsWhat"] = (row.get("RelationId") or "")[:3] not in {"003", "00Q"}


def check_links(org: SandboxOrg, row: Mapping[str, Any]) -> None:
    """Refuse a Lead with a WhatId, and a Lead that is converted.

    Raises:
        SandboxError: The links of an activity do not go together.
    """
    who = row.get("WhoId")
    lead = org.rows.get("Lead", who) if who else None
    if lead is None:
        return
    if row.get("WhatId"):
        raise SandboxError(
            "FIELD_INTEGRITY_EXCEPTION",
            "Related To ID: a lead cannot be combined with a related record",
            fields=("WhatId",),
        )
    if lead.get("IsConverted") and org.config.refuse_converted_leads:
        raise SandboxError(
            "CANNOT_UPDATE_CONVERTED_LEAD",
            "cannot reference converted lead",
            fields=("WhoId",),
        )


def follow_status(
    org: SandboxOrg, row: dict[str, Any], old: Mapping[str, Any] | None
) -> None:
    """Set what follows from Status and Priority.

    CompletedDateTime is set on a save to a closed status, kept while that status
    stays, and emptied when the task is opened again.
    """
    row["IsClosed"] = row.get("Status") in org.closed_statuses
    row["IsHighPriority"] = row.get("Priority") in org.high_priorities
    if not row["IsClosed"]:
        row["CompletedDateTime"] = None
    elif old is None or old.get("Status") != row["Status"]:
        row["CompletedDateTime"] = stamp(org.clock.now())


def account_of(org: SandboxOrg, row: Mapping[str, Any]) -> str | None:
    """Return the account that an activity belongs to, derived from its links."""
    what = row.get("WhatId")
    if what:
        if what.startswith("001"):
            return str(what)
        opportunity = org.rows.get("Opportunity", what)
        if opportunity is not None:
            return opportunity.get("AccountId")
    who = row.get("WhoId")
    contact = org.rows.get("Contact", who) if who else None
    return contact.get("AccountId") if contact else None


def _check_recurrence(row: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    if not row.get("IsRecurrence"):
        for name in _RECURRENCE:
            if row.get(name) is not None:
                raise _refused(name, "only a recurring task has a pattern")
        return
    for name in ("Status", "ActivityDate"):
        if name in given:
            raise _refused(name, "cannot be set on a recurring task")
    missing = [name for name in _PATTERN if row.get(name) is None]
    if missing:
        raise SandboxError(
            "REQUIRED_FIELD_MISSING",
            f"Required fields are missing: [{', '.join(missing)}]",
            fields=tuple(missing),
        )
    if row["RecurrenceEndDateOnly"] < row["RecurrenceStartDateOnly"]:
        raise _refused("RecurrenceEndDateOnly", "the series ends before it starts")


def _settle_who(
    org: SandboxOrg,
    row: dict[str, Any],
    given: Mapping[str, Any],
    old: Mapping[str, Any] | None = None,
) -> None:
    """Bring WhoId and TaskWhoIds in line (Object Reference, Task, "TaskWhoIds")."""
    if not org.config.shared_activities:
        return
    if "TaskWhoIds" in given:
        everyone = list(given["TaskWhoIds"] or [])
    elif old is not None and "WhoId" not in given:
        everyone = list(row.get("TaskWhoIds") or [])
    else:
        everyone = []
    who = row.get("WhoId")
    if who is None and "WhoId" not in given:
        who = everyone[0] if everyone else None
    elif who is None and everyone:
        who = everyone[0]
    if who is not None and who not in everyone:
        everyone.insert(0, who)
    leads = sum(each.startswith("00Q") for each in everyone)
    if len(everyone) > MAX_WHO or (leads and len(everyone) > 1):
        raise SandboxError(
            "FIELD_INTEGRITY_EXCEPTION",
            f"a task relates to one lead, or to {MAX_WHO} contacts at most",
            fields=("TaskWhoIds",),
        )
    row["WhoId"], row["TaskWhoIds"] = who, everyone
    row["WhoCount"], row["WhatCount"] = len(everyone), int(bool(row.get("WhatId")))


def _relate(org: SandboxOrg, row: Mapping[str, Any], caller: Caller) -> None:
    if not org.config.shared_activities:
        return
    for who in row.get("TaskWhoIds") or []:
        contact = org.rows.get("Contact", who)
        values = {
            "TaskId": row["Id"],
            "RelationId": who,
            "AccountId": contact.get("AccountId") if contact else None,
        }
        org.records.system_insert("TaskRelation", values, caller.user_id)
        values["Type"] = "Lead" if who.startswith("00Q") else "Contact"
        org.records.system_insert("TaskWhoRelation", values, caller.user_id)
    if row.get("WhatId"):
        values = {"TaskId": row["Id"], "RelationId": row["WhatId"], "IsWhat": True}
        org.records.system_insert("TaskRelation", values, caller.user_id)


def _unrelate(org: SandboxOrg, task_id: str, caller: Caller) -> None:
    for name in ("TaskRelation", "TaskWhoRelation"):
        for each in org.rows.where(name, "TaskId", task_id):
            org.records.drop(name, each, caller)


def _refused(field: str, text: str) -> SandboxError:
    return SandboxError(
        "FIELD_INTEGRITY_EXCEPTION", f"{field}: {text}", fields=(field,)
    )
