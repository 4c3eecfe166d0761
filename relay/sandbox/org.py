"""The org: the facade in front of all parts of the stand-in.

`SandboxOrg` builds the parts and plants the first rows. It knows nothing of HTTP. One
lock (`lock`) guards it: a caller in another thread takes it first.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.config import DEFAULT_VERSION
from relay.sandbox.emails import EmailMessageRules, EmailRelationRules
from relay.sandbox.files import (
    AttachmentRules,
    DocumentLinkRules,
    DocumentRules,
    VersionRules,
)
from relay.sandbox.objects import (
    CaseRules,
    EventRules,
    OpportunityRules,
    PersonRules,
    TaskRelationRules,
    TaskRules,
)
from relay.sandbox.queries import Cursors, OrgSource
from relay.sandbox.records import Caller, ObjectRules, Records
from relay.sandbox.seed import plant_basics, plant_people
from relay.sandbox.soql import Result, parse, run
from relay.sandbox.state import OrgState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.core.clock import Clock
    from relay.sandbox.config import OrgConfig
    from relay.sandbox.metadata import Schema


RULES: Final[Mapping[str, ObjectRules]] = {
    "Lead": PersonRules("Lead"),
    "Contact": PersonRules("Contact"),
    "Opportunity": OpportunityRules(),
    "Case": CaseRules(),
    "Task": TaskRules(),
    "Event": EventRules(),
    "TaskRelation": TaskRelationRules(),
    "EmailMessage": EmailMessageRules(),
    "EmailMessageRelation": EmailRelationRules(),
    "ContentVersion": VersionRules(),
    "ContentDocument": DocumentRules(),
    "ContentDocumentLink": DocumentLinkRules(),
    "Attachment": AttachmentRules(),
}


class SandboxOrg:
    """A Salesforce org in memory.

    Args:
        seed: Plant the believable company; False leaves users and picklists only.
        clock: The time to run on; the machine's by default.
        random_seed: Seed of the dice for shuffles, page sizes and faults.
        config: Switches at the start; `reset` goes back to them.
    """

    def __init__(
        self,
        *,
        seed: bool = True,
        clock: Clock | None = None,
        random_seed: int = 0,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Build the org."""
        self.lock = threading.RLock()
        self.url = "http://127.0.0.1"
        self._inner_clock = clock
        self._first = (seed, random_seed, dict(config or {}))
        self.reset()

    def reset(
        self, *, seed: bool | None = None, random_seed: int | None = None
    ) -> None:
        """Start over as on the first day: rows, switches, faults, sessions, log."""
        first_seed, first_random, first_config = self._first
        seed = first_seed if seed is None else seed
        dice = Random(first_random if random_seed is None else random_seed)  # noqa: S311 - dice for tests, no secret
        self.state = state = OrgState(dice, self._inner_clock)
        self.random, self.clock, self.rows = state.random, state.clock, state.rows
        self.usage, self.calls, self.faults = state.usage, state.calls, state.faults
        self.sessions, self.blobs = state.sessions, state.blobs
        self.records = Records(state, RULES)
        self.cursors = Cursors(state)
        self.configure(first_config)
        plant_basics(self.records)
        if seed:
            plant_people(self.records)
        state.read_picklists()
        self.rows.commit()

    @property
    def config(self) -> OrgConfig:
        """Return the switches as they are set."""
        return self.state.config

    @property
    def schema(self) -> Schema:
        """Return the metadata that follows from the switches."""
        return self.state.schema

    @property
    def integration_user_id(self) -> str:
        """Return the id of the user as which the registered app acts."""
        return self.state.integration_user_id

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Set switches; those not named stay.

        Raises:
            ValueError: A switch is unknown, or its value is; nothing changed.
        """
        self.state.configure(settings)
        self._make_record_types()
        if "task_statuses" in settings and self.config.task_statuses:
            self._name_statuses(self.config.task_statuses)

    def _name_statuses(self, statuses: Mapping[str, bool]) -> None:
        """Put these statuses of Tasks in the place of those there are.

        Source: Object Reference, "TaskStatus".
        """
        for row in self.rows.all("TaskStatus"):
            self.rows.remove("TaskStatus", row["Id"])
        for order, (name, closed) in enumerate(statuses.items(), 1):
            values = {
                "ApiName": name,
                "MasterLabel": name,
                "SortOrder": order,
                "IsClosed": closed,
                "IsDefault": order == 1,
            }
            self.records.system_insert("TaskStatus", values, self.integration_user_id)
        self.state.read_picklists()
        self.rows.commit()

    def _make_record_types(self) -> None:
        """Make the record types that are switched on and not there yet."""
        known = {
            (row["SobjectType"], row["DeveloperName"])
            for row in self.rows.all("RecordType")
        }
        for sobject, names in self.config.record_types.items():
            for name in names:
                if (sobject, name) not in known:
                    values = {
                        "SobjectType": sobject,
                        "DeveloperName": name,
                        "Name": name.replace("_", " "),
                        "IsActive": True,
                    }
                    self.records.system_insert(
                        "RecordType", values, self.integration_user_id
                    )
        self.rows.commit()

    def caller(self, **options: bool) -> Caller:
        """Return the integration user as a caller, for tests that need no HTTP."""
        return Caller(self.integration_user_id, **options)

    # -------------------------------------------------------------- reading

    def query(
        self,
        text: str,
        *,
        user_id: str | None = None,
        all_rows: bool = False,
        version: str = DEFAULT_VERSION,
    ) -> Result:
        """Run a query as a user, by default the integration user.

        Raises:
            SOQLError: The query is refused.
        """
        source = OrgSource(self.state, user_id or self.integration_user_id, version)
        return run(parse(text), source, all_rows=all_rows)

    def dump(self, name: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Return every row of every object, deleted ones included."""
        names = [name] if name else list(self.schema.objects)
        return {each: list(self.rows.all(each)) for each in names}

    # -------------------------------------------------------------- upkeep

    def insert_raw(self, name: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """Store rows as they are, for tests; what is not named gets its default.

        Raises:
            SandboxError: There is no such object.
            ValueError: A field is unknown.
        """
        info = self.records.object(name)
        ids = []
        for row in rows:
            unknown = sorted(set(row) - set(info.fields))
            if unknown:
                msg = f"{name} has no fields {', '.join(unknown)}"
                raise ValueError(msg)
            values = dict(row)
            if "Name" in info.fields and "LastName" in info.fields:
                parts = (row.get("FirstName"), row.get("LastName"))
                full = " ".join(part for part in parts if part)
                values.setdefault("Name", full)
            made = self.records.system_insert(name, values, self.integration_user_id)
            ids.append(made["Id"])
        self.state.read_picklists()
        self.rows.commit()
        return ids

    def archive(self) -> int:
        """Archive tasks as the platform's background job does; return how many.

        Closed ones due 365 days ago, or made so long ago where they have no due date.
        """
        edge = (self.clock.now() - timedelta(days=365)).date().isoformat()
        count = 0
        for row in self.rows.all("Task"):
            day = row["ActivityDate"] or row["CreatedDate"][:10]
            if row["IsClosed"] and not row["IsArchived"] and day <= edge:
                self.rows.put("Task", {**row, "IsArchived": True})
                count += 1
        self.rows.commit()
        return count

    def purge(self) -> int:
        """Empty the Recycle Bin; return how many rows are gone for good.

        The log of deletions begins anew with the last one that was purged: nobody can
        tell any more what was deleted before (REST API Guide, "Get Deleted").
        """
        count = 0
        for name in self.schema.objects:
            for row in self.rows.all(name):
                if row.get("IsDeleted"):
                    self.rows.remove(name, row["Id"])
                    self.state.note_purge(name, row.get("SystemModstamp"))
                    count += 1
        self.rows.commit()
        return count
