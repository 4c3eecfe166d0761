"""The org: one object that holds everything the stand-in knows, in memory.

`SandboxOrg` ties the parts together: metadata, rows, clock, dice, users, sharing,
usage, faults, sessions. It knows nothing of HTTP. One lock (`lock`) guards it: who
calls from a thread of its own takes it first.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.clock import SandboxClock
from relay.sandbox.config import INTEGRATION_USERNAME, OrgConfig
from relay.sandbox.faults import FaultBook
from relay.sandbox.ids import IdMint
from relay.sandbox.metadata import ACTIVITY, Schema, custom_field, record_type_field
from relay.sandbox.oauth import Sessions
from relay.sandbox.paging import Cursors
from relay.sandbox.records import Records
from relay.sandbox.rows import Rows
from relay.sandbox.rules import Caller
from relay.sandbox.seed import plant_basics, plant_people
from relay.sandbox.soql import Result, parse, run
from relay.sandbox.source import OrgSource
from relay.sandbox.usage import ApiUsage, CallLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.core.clock import Clock

VERSIONS: Final = {
    "63.0": "Spring '25",
    "64.0": "Summer '25",
    "65.0": "Winter '26",
    "66.0": "Spring '26",
    "67.0": "Summer '26",
    "68.0": "Winter '27",
}
"""API versions that the stand-in answers to, with their labels."""

DEFAULT_VERSION: Final = "66.0"


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
        self.random = Random(first_random if random_seed is None else random_seed)  # noqa: S311 - dice for tests, no secret
        self.clock = SandboxClock(self._inner_clock)
        self.config = OrgConfig()
        self.rows = Rows()
        self.mint = IdMint()
        self.blobs: dict[str, bytes] = {}
        self.usage = ApiUsage(self.clock)
        self.calls = CallLog()
        self.faults = FaultBook(self.random, self.clock)
        self.sessions = Sessions(self)
        self.cursors = Cursors(self)
        self.records = Records(self)
        self.configure(first_config)
        plant_basics(self)
        if seed:
            plant_people(self)
        self._read_picklists()
        self.rows.commit()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Set switches; those not named stay.

        Raises:
            ValueError: A switch is unknown, or its value is; nothing changed.
        """
        config = self.config.changed(settings)
        custom = [custom_field(each) for each in config.custom_fields]
        custom += [(name, record_type_field()) for name in config.record_types]
        schema = Schema(config.features, config.hidden_fields, custom)
        self.config, self.schema = config, schema
        self.shaped_at = self.clock.now().replace(microsecond=0)
        self.rows.reshape(schema)
        self._make_record_types()

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

    def _read_picklists(self) -> None:
        closed = [
            row["ApiName"] for row in self.rows.all("TaskStatus") if row["IsClosed"]
        ]
        self.closed_statuses = frozenset(closed)
        self.first_closed_status = closed[0]
        self.high_priorities = frozenset(
            row["ApiName"]
            for row in self.rows.all("TaskPriority")
            if row["IsHighPriority"]
        )

    # -------------------------------------------------------------- people

    def user_by_name(self, username: str) -> dict[str, Any] | None:
        """Return the active user of that username, found without case."""
        for row in self.rows.lookup("User", "Username", [username]) or ():
            if row["IsActive"]:
                return row
        return None

    @property
    def integration_user_id(self) -> str:
        """Return the id of the user as whom the registered app acts."""
        name = self.config.run_as or INTEGRATION_USERNAME
        user = self.user_by_name(name)
        return str(user["Id"]) if user else ""

    def caller(self, **options: bool) -> Caller:
        """Return the integration user as a caller, for tests that need no HTTP."""
        return Caller(self.integration_user_id, **options)

    def can_see(self, user_id: str, record_id: str) -> bool:
        """Ask sharing whether a user may see a record."""
        if self.views_all(user_id):
            return True
        if record_id in self.config.hidden_rows.get(user_id, ()):
            return False
        info = self.schema.of_id(record_id)
        if not self.config.private_activities or info is None:
            return True
        row = self.rows.get(info.name, record_id) if info.name in ACTIVITY else None
        return row is None or row["OwnerId"] == user_id

    def views_all(self, user_id: str) -> bool:
        """Say whether a user has the permission View All Data."""
        user = self.rows.get("User", user_id) or {}
        return user.get("Username") in self.config.view_all_data

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
        source = OrgSource(self, user_id or self.integration_user_id, version)
        return run(parse(text), source, all_rows=all_rows)

    def blob_url(self, name: str, record_id: str, field: str) -> str:
        """Return the path under which a blob is read."""
        base = f"/services/data/v{DEFAULT_VERSION}/sobjects"
        return f"{base}/{name}/{record_id}/{field}"

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
        self._read_picklists()
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
        """Empty the Recycle Bin; return how many rows are gone for good."""
        count = 0
        for name in self.schema.objects:
            for row in self.rows.all(name):
                if row.get("IsDeleted"):
                    self.rows.remove(name, row["Id"])
                    count += 1
        self.rows.commit()
        return count
