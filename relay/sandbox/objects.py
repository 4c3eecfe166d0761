"""Objects with behaviour of their own: people, opportunities, cases, tasks and events.

The rules of tasks that cost other products their records: a Lead never together with a
WhatId, derived fields that no client may write, CompletedDateTime that is set, kept and
cleared. E-mails and files have modules of their own.

Source: Salesforce Object Reference, "Lead", "Opportunity", "Case", "Task",
"TaskRelation", "TaskWhoRelation".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.errors import SandboxError
from relay.sandbox.records import ObjectRules
from relay.sandbox.values import stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.sandbox.records import Write
    from relay.sandbox.state import OrgState


class PersonRules(ObjectRules):
    """Lead and Contact: the full name, duplicate rules, assignment, conversion."""

    def __init__(self, name: str) -> None:
        """Serve Lead or Contact."""
        self._name = name

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Name the person, refuse duplicates, give a Lead its assigned owner."""
        row["Name"] = full_name(row)
        rules, email = write.state.config.duplicate_rules, row.get("Email")
        known = email and any(
            each
            for name in ("Lead", "Contact")
            for each in write.state.rows.lookup(name, "Email", [email]) or ()
            if not each["IsDeleted"]
        )
        if known and (
            rules == "block" or (rules == "alert" and not write.caller.allow_duplicates)
        ):
            raise SandboxError(
                "DUPLICATES_DETECTED", "Use one of these records?", fields=("Email",)
            )
        owner = write.state.config.lead_assignment_owner
        if self._name == "Lead" and owner and write.caller.auto_assign:
            row["OwnerId"] = owner

    def before_update(self, write: Write, row: dict[str, Any]) -> None:
        """Rename the person; a converted Lead stays as it is."""
        if write.old.get("IsConverted"):
            raise SandboxError(
                "CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead"
            )
        row["Name"] = full_name(row)


class OpportunityRules(ObjectRules):
    """Opportunity: closed and won follow the stage."""

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Read the stage."""
        self._follow_stage(write.state, row)

    def before_update(self, write: Write, row: dict[str, Any]) -> None:
        """Read the stage where it is another one."""
        if write.old.get("StageName") != row.get("StageName"):
            self._follow_stage(write.state, row)

    def _follow_stage(self, state: OrgState, row: dict[str, Any]) -> None:
        for stage in state.rows.all("OpportunityStage"):
            if stage["ApiName"] == row.get("StageName"):
                for name in ("IsClosed", "IsWon", "ForecastCategoryName"):
                    row[name] = stage[name]
                row["ForecastCategory"] = stage["ForecastCategory"]
                row["Probability"] = stage["DefaultProbability"]


class CaseRules(ObjectRules):
    """Case: its number, and closed by its status."""

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Number the case."""
        row["CaseNumber"] = (
            f"{1_000 + sum(1 for _ in write.state.rows.all('Case')):08d}"
        )
        row["IsClosed"] = row.get("Status") == "Closed"

    def before_update(self, write: Write, row: dict[str, Any]) -> None:
        """Read the status."""
        del write
        row["IsClosed"] = row.get("Status") == "Closed"


def full_name(row: Mapping[str, Any]) -> str:
    """Return first and last name as the platform joins them."""
    parts = (row.get("FirstName"), row.get("LastName"))
    return " ".join(part for part in parts if part)


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
        if "Status" not in write.given:
            row["Status"] = write.state.default_status
        _check_recurrence(row, write.given)
        _settle_who(write.state, row, write.given)
        check_links(write.state, row)
        follow_status(write.state, row, None)
        row["AccountId"] = account_of(write.state, row)

    def after_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Make the relations that Shared Activities shows."""
        _relate(write, row)

    def before_update(self, write: Write, row: dict[str, Any]) -> None:
        """Check again with the new values, and derive again."""
        if write.old.get("IsRecurrence"):
            for name in ("Status", "ActivityDate"):
                if name in write.given:
                    raise _refused(name, "cannot be set on a recurring task")
        elif any(write.given.get(name) is not None for name in _RECURRENCE):
            raise _refused("IsRecurrence", "a task never becomes a recurring one")
        _settle_who(write.state, row, write.given, write.old)
        if {"WhoId", "WhatId", "TaskWhoIds"} & set(write.given):
            check_links(write.state, row)
            row["AccountId"] = account_of(write.state, row)
        follow_status(write.state, row, write.old)
        if {"WhoId", "WhatId", "TaskWhoIds"} & set(write.given):
            _unrelate(write, row["Id"])
            _relate(write, row)

    def after_delete(self, write: Write, row: Mapping[str, Any]) -> None:
        """Delete its e-mail, and the occurrences of a series, as well."""
        _unrelate(write, row["Id"])
        for email in write.state.rows.where("EmailMessage", "ActivityId", row["Id"]):
            write.records.drop("EmailMessage", email, write.caller)
        for each in write.state.rows.where("Task", "RecurrenceActivityId", row["Id"]):
            write.records.drop("Task", each, write.caller)


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
        check_links(write.state, row)
        row["AccountId"] = account_of(write.state, row)

    def before_update(self, write: Write, row: dict[str, Any]) -> None:
        """Check the links again."""
        check_links(write.state, row)
        row["AccountId"] = account_of(write.state, row)


class TaskRelationRules(ObjectRules):
    """TaskRelation: made and deleted, never changed."""

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Say whether the relation is to a record or to a person."""
        del write
        row["IsWhat"] = (row.get("RelationId") or "")[:3] not in {"003", "00Q"}


def check_links(state: OrgState, row: Mapping[str, Any]) -> None:
    """Refuse a Lead with a WhatId, and a Lead that is converted.

    Raises:
        SandboxError: The links of an activity do not go together.
    """
    who = row.get("WhoId")
    lead = state.rows.get("Lead", who) if who else None
    if lead is None:
        return
    if row.get("WhatId"):
        raise SandboxError(
            "FIELD_INTEGRITY_EXCEPTION",
            "Related To ID: a lead cannot be combined with a related record",
            fields=("WhatId",),
        )
    if lead.get("IsConverted") and state.config.refuse_converted_leads:
        raise SandboxError(
            "CANNOT_UPDATE_CONVERTED_LEAD",
            "cannot reference converted lead",
            fields=("WhoId",),
        )


def follow_status(
    state: OrgState, row: dict[str, Any], old: Mapping[str, Any] | None
) -> None:
    """Set what follows from Status and Priority.

    CompletedDateTime is set on a save to a closed status, kept while that status
    stays, and emptied when the task is opened again.
    """
    row["IsClosed"] = row.get("Status") in state.closed_statuses
    row["IsHighPriority"] = row.get("Priority") in state.high_priorities
    if not row["IsClosed"]:
        row["CompletedDateTime"] = None
    elif old is None or old.get("Status") != row["Status"]:
        row["CompletedDateTime"] = stamp(state.clock.now())


def account_of(state: OrgState, row: Mapping[str, Any]) -> str | None:
    """Return the account that an activity belongs to, derived from its links."""
    what = row.get("WhatId")
    if what:
        if what.startswith("001"):
            return str(what)
        opportunity = state.rows.get("Opportunity", what)
        if opportunity is not None:
            return opportunity.get("AccountId")
    who = row.get("WhoId")
    contact = state.rows.get("Contact", who) if who else None
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
    state: OrgState,
    row: dict[str, Any],
    given: Mapping[str, Any],
    old: Mapping[str, Any] | None = None,
) -> None:
    """Make WhoId and TaskWhoIds agree (Object Reference, Task, "TaskWhoIds")."""
    if not state.config.shared_activities:
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


def _relate(write: Write, row: Mapping[str, Any]) -> None:
    user_id, insert = write.caller.user_id, write.records.system_insert
    if not write.state.config.shared_activities:
        return
    for who in row.get("TaskWhoIds") or []:
        contact = write.state.rows.get("Contact", who)
        values = {
            "TaskId": row["Id"],
            "RelationId": who,
            "AccountId": contact.get("AccountId") if contact else None,
        }
        insert("TaskRelation", values, user_id)
        values["Type"] = "Lead" if who.startswith("00Q") else "Contact"
        insert("TaskWhoRelation", values, user_id)
    if row.get("WhatId"):
        values = {"TaskId": row["Id"], "RelationId": row["WhatId"], "IsWhat": True}
        insert("TaskRelation", values, user_id)


def _unrelate(write: Write, task_id: str) -> None:
    for name in ("TaskRelation", "TaskWhoRelation"):
        for each in write.state.rows.where(name, "TaskId", task_id):
            write.records.drop(name, each, write.caller)


def _refused(field: str, text: str) -> SandboxError:
    return SandboxError(
        "FIELD_INTEGRITY_EXCEPTION", f"{field}: {text}", fields=(field,)
    )
