"""What an object does on top of the checks that hold for all: the frame, and people.

Each object with behaviour of its own has a class here or in a module of its own. The
engine in `records` calls it at fixed moments; a refusal is raised, and takes the whole
write of that record back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from relay.sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.sandbox.org import SandboxOrg


@dataclass(frozen=True, slots=True)
class Caller:
    """Who writes, and what the request's headers say about rules of the org."""

    user_id: str
    allow_duplicates: bool = False
    auto_assign: bool = True


@dataclass(frozen=True, slots=True)
class Write:
    """One write under way.

    Attributes:
        org: The org.
        caller: Who writes.
        given: The fields that came in, checked one by one; empty for a delete.
        old: The row before an update; empty for an insert.
    """

    org: SandboxOrg
    caller: Caller
    given: Mapping[str, Any] = field(default_factory=dict)
    old: Mapping[str, Any] = field(default_factory=dict)


class ObjectRules:
    """An object without behaviour of its own."""

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Check and complete a row that is not stored yet."""

    def after_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Make what belongs to a row that is stored now."""

    def before_update(self, write: Write, row: dict[str, Any]) -> None:
        """Check and complete the row that takes the place of an old one."""

    def before_delete(self, write: Write, row: Mapping[str, Any]) -> None:
        """Check whether a row may go."""

    def after_delete(self, write: Write, row: Mapping[str, Any]) -> None:
        """Take along what belongs to a row that is gone."""


class PersonRules(ObjectRules):
    """Lead and Contact: the full name, duplicate rules, assignment, conversion."""

    def __init__(self, name: str) -> None:
        """Serve Lead or Contact."""
        self._name = name

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Name the person, refuse duplicates, hand a Lead to its assigned owner."""
        row["Name"] = full_name(row)
        rules, email = write.org.config.duplicate_rules, row.get("Email")
        known = email and any(
            each
            for name in ("Lead", "Contact")
            for each in write.org.rows.lookup(name, "Email", [email]) or ()
            if not each["IsDeleted"]
        )
        if known and (
            rules == "block" or (rules == "alert" and not write.caller.allow_duplicates)
        ):
            raise SandboxError(
                "DUPLICATES_DETECTED", "Use one of these records?", fields=("Email",)
            )
        owner = write.org.config.lead_assignment_owner
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
        self._follow_stage(write.org, row)

    def before_update(self, write: Write, row: dict[str, Any]) -> None:
        """Read the stage where it is another one."""
        if write.old.get("StageName") != row.get("StageName"):
            self._follow_stage(write.org, row)

    def _follow_stage(self, org: SandboxOrg, row: dict[str, Any]) -> None:
        for stage in org.rows.all("OpportunityStage"):
            if stage["ApiName"] == row.get("StageName"):
                for name in ("IsClosed", "IsWon", "ForecastCategoryName"):
                    row[name] = stage[name]
                row["ForecastCategory"] = stage["ForecastCategory"]
                row["Probability"] = stage["DefaultProbability"]


class CaseRules(ObjectRules):
    """Case: its number, and closed by its status."""

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Number the case."""
        row["CaseNumber"] = f"{1_000 + sum(1 for _ in write.org.rows.all('Case')):08d}"
        row["IsClosed"] = row.get("Status") == "Closed"

    def before_update(self, write: Write, row: dict[str, Any]) -> None:
        """Read the status."""
        del write
        row["IsClosed"] = row.get("Status") == "Closed"


def full_name(row: Mapping[str, Any]) -> str:
    """Return first and last name as the platform joins them."""
    parts = (row.get("FirstName"), row.get("LastName"))
    return " ".join(part for part in parts if part)
