"""What an org holds in memory: all other parts stand on it.

Rows with their indexes, ids, the clock, API usage, the call log, sessions, switches and
metadata. A row is a plain dict that is never changed once stored: an update stores
another one. So a savepoint is a position in the journal of changes, and a rollback puts
the old rows back, in the tables and in the indexes alike.

Source: "API Request Limits and Allocations": a rolling window of 24 hours, org-wide.
"""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.core.clock import SystemClock
from relay.core.ids import checksum
from relay.sandbox.config import (
    DEFAULT_VERSION,
    INTEGRATION_USERNAME,
    FaultBook,
    OrgConfig,
)
from relay.sandbox.metadata import (
    ACTIVITY,
    Schema,
    custom_field,
    custom_object,
    record_type_field,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from random import Random

    from relay.core.clock import Clock


class OrgState:
    """Everything an org holds: switches, metadata, rows, clock, users, usage, sessions.

    It checks nothing and derives nothing; `records` writes to it by the platform's
    rules. A caller that changes it holds the lock of the org.

    Attributes:
        shaped_at: When the metadata last changed.
        blobs: Contents of files by the id of their record.
    """

    def __init__(self, random: Random, clock: Clock | None) -> None:
        """Start with default switches and without rows."""
        self.random = random
        self.clock = SandboxClock(clock)
        self.rows = Rows()
        self.mint = IdMint()
        self.blobs: dict[str, bytes] = {}
        self.usage = ApiUsage(self.clock)
        self.calls = CallLog()
        self.faults = FaultBook(self.random, self.clock)
        self.sessions = Sessions(self)
        self.closed_statuses: frozenset[str] = frozenset()
        self.first_closed_status = ""
        self.default_status = ""
        self.high_priorities: frozenset[str] = frozenset()
        self.purged_until: dict[str, str] = {}
        """By object, the stamp of the last row that was purged from the bin."""
        self.config = OrgConfig()
        self.configure({})

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Set switches; those not named stay.

        Raises:
            ValueError: A switch is unknown, or its value is; nothing changed.
        """
        config = self.config.changed(settings)
        custom = [custom_field(each) for each in config.custom_fields]
        custom += [(name, record_type_field()) for name in config.record_types]
        objects = [
            (custom_object(each), bool(each.get("activities", True)))
            for each in config.custom_objects
        ]
        schema = Schema(config.features, config.hidden_fields, custom, objects)
        self.config, self.schema = config, schema
        self.shaped_at = self.clock.now().replace(microsecond=0)
        self.rows.reshape(schema)

    def read_picklists(self) -> None:
        """Read which statuses and priorities of tasks are special."""
        closed = [
            row["ApiName"] for row in self.rows.all("TaskStatus") if row["IsClosed"]
        ]
        self.closed_statuses = frozenset(closed)
        self.first_closed_status = closed[0]
        self.default_status = next(
            (row["ApiName"] for row in self.rows.all("TaskStatus") if row["IsDefault"]),
            "",
        )
        self.high_priorities = frozenset(
            row["ApiName"]
            for row in self.rows.all("TaskPriority")
            if row["IsHighPriority"]
        )

    def note_purge(self, name: str, at: str | None) -> None:
        """Remember that a row of an object is gone for good: its log is cut there."""
        if at is not None:
            self.purged_until[name] = max(at, self.purged_until.get(name, ""))

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

    def can_see(self, user_id: str, record_id: str) -> bool:
        """Say whether sharing lets a user see a record."""
        if self.views_all(user_id):
            return True
        if record_id in self.config.hidden_rows.get(user_id, ()):
            return False
        info = self.schema.of_id(record_id)
        if not self.config.private_activities or info is None:
            return True
        row = self.rows.get(info.name, record_id) if info.name in ACTIVITY else None
        return row is None or row["OwnerId"] == user_id

    def blob_url(self, name: str, record_id: str, field: str) -> str:
        """Return the path under which a blob is read."""
        base = f"/services/data/v{DEFAULT_VERSION}/sobjects"
        return f"{base}/{name}/{record_id}/{field}"

    def views_all(self, user_id: str) -> bool:
        """Say whether a user has the permission View All Data."""
        user = self.rows.get("User", user_id) or {}
        return user.get("Username") in self.config.view_all_data


class Table:
    """The rows of one object, and an index for each field that clients look up by."""

    def __init__(self, indexed: Iterable[str]) -> None:
        """Start empty."""
        self.rows: dict[str, dict[str, Any]] = {}
        self.indexes: dict[str, dict[str, dict[str, None]]] = {
            name: {} for name in indexed
        }

    def set(self, record_id: str, row: dict[str, Any] | None) -> dict[str, Any] | None:
        """Store or remove a row; return the one that was there."""
        old = (
            self.rows.pop(record_id, None) if row is None else self.rows.get(record_id)
        )
        for name, index in self.indexes.items():
            before = None if old is None else _folded(old.get(name))
            after = None if row is None else _folded(row.get(name))
            if before == after:
                continue
            if before is not None:
                index[before].pop(record_id, None)
                if not index[before]:
                    del index[before]
            if after is not None:
                index.setdefault(after, {})[record_id] = None
        if row is not None:
            self.rows[record_id] = row
        return old


class Rows:
    """All tables of an org."""

    def __init__(self) -> None:
        """Start without tables; `reshape` makes them."""
        self.tables: dict[str, Table] = {}
        self._journal: list[tuple[Table, str, dict[str, Any] | None]] = []
        self._born: set[str] = set()

    def reshape(self, schema: Schema) -> None:
        """Give every object a table, and every field its index; rows stay."""
        self.commit()
        for info in schema.objects.values():
            old = self.tables.get(info.name)
            if old is not None and set(old.indexes) == set(info.indexed):
                continue
            table = self.tables[info.name] = Table(info.indexed)
            for record_id, row in (old.rows if old else {}).items():
                table.set(record_id, row)

    def get(self, name: str, record_id: str) -> dict[str, Any] | None:
        """Return a row, deleted ones included, or None."""
        table = self.tables.get(name)
        return None if table is None else table.rows.get(record_id)

    def put(self, name: str, row: dict[str, Any]) -> None:
        """Store a new row, or another one in its place."""
        table, record_id = self.tables[name], row["Id"]
        old = table.set(record_id, row)
        self._journal.append((table, record_id, old))
        if old is None:
            self._born.add(record_id)

    def remove(self, name: str, record_id: str) -> None:
        """Remove a row for good: it can be neither queried nor undeleted."""
        table = self.tables[name]
        self._journal.append((table, record_id, table.set(record_id, None)))

    def all(self, name: str) -> Iterator[dict[str, Any]]:
        """Return every row of an object, deleted ones included."""
        table = self.tables.get(name)
        return iter(list(table.rows.values()) if table else ())

    def lookup(
        self, name: str, field: str, values: Collection[str]
    ) -> list[dict[str, Any]] | None:
        """Return the rows whose field equals a value without case; None: no index."""
        table = self.tables[name]
        if field == "Id":
            return [table.rows[value] for value in values if value in table.rows]
        index = table.indexes.get(field)
        if index is None:
            return None
        found: dict[str, None] = {}
        for value in values:
            found.update(index.get(value.lower(), {}))
        return [table.rows[record_id] for record_id in found]

    def where(self, name: str, field: str, value: str) -> list[dict[str, Any]]:
        """Return the rows that hold exactly this value and are not deleted."""
        if name not in self.tables:
            return []
        found = self.lookup(name, field, [value])
        rows = self.all(name) if found is None else found
        return [
            row for row in rows if row.get(field) == value and not row.get("IsDeleted")
        ]

    def savepoint(self) -> int:
        """Return a mark that `rollback` goes back to."""
        return len(self._journal)

    def rollback(self, mark: int) -> None:
        """Take back every change since the mark, the newest first."""
        while len(self._journal) > mark:
            table, record_id, old = self._journal.pop()
            table.set(record_id, old)
            if old is None:
                self._born.discard(record_id)

    def commit(self) -> None:
        """Make every change final: nothing before this moment can be taken back."""
        self._journal.clear()
        self._born.clear()

    def is_fresh(self, record_id: str) -> bool:
        """Say whether a row was made in this transaction."""
        return record_id in self._born


def _folded(value: Any) -> str | None:
    return value.lower() if isinstance(value, str) else None


_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_POD: Final = "Hq0"
_FIRST: Final = 62**6
"""Counters start high, so that ids hold letters of both cases from the first on."""


class IdMint:
    """Makes ids that were never made before, in a fixed order for each object."""

    def __init__(self) -> None:
        """Start every counter anew."""
        self._last: dict[str, int] = {}

    def new(self, prefix: str) -> str:
        """Return the next 18-character id with a key prefix."""
        # A step that shares no factor with 62 lets neighbours differ in many places.
        number = self._last.get(prefix, _FIRST) + 4_241
        self._last[prefix] = number
        digits = []
        for _ in range(9):
            number, rest = divmod(number, 62)
            digits.append(_DIGITS[rest])
        id15 = prefix + _POD + "".join(reversed(digits))
        return id15 + checksum(id15)


class SandboxClock:
    """A clock with an offset, which can stand still."""

    def __init__(self, inner: Clock | None = None) -> None:
        """Start in step with the clock given, or the machine's."""
        self._inner: Clock = inner or SystemClock()
        self._offset = timedelta()
        self._stopped: datetime | None = None

    def now(self) -> datetime:
        """Return the sandbox's time in UTC."""
        return self._stopped or self._inner.now() + self._offset

    def boottime_s(self) -> float:
        """Return the inner clock's seconds since boot, which no test sets."""
        return self._inner.boottime_s()

    def set(self, moment: datetime, *, stopped: bool = False) -> None:
        """Go on from a moment, or stand still at it."""
        moment = moment.astimezone(UTC)
        self._offset = moment - self._inner.now()
        self._stopped = moment if stopped else None

    def shift(self, seconds: float) -> None:
        """Move forward, or back."""
        if self._stopped is not None:
            self._stopped += timedelta(seconds=seconds)
        self._offset += timedelta(seconds=seconds)


_WINDOW_HOURS: Final = 24
_KEPT_CALLS: Final = 200_000


class ApiUsage:
    """Counts calls by the hour, over the last 24."""

    def __init__(self, clock: Clock) -> None:
        """Start at nothing used."""
        self._clock = clock
        self._hours: dict[int, int] = {}

    def used(self) -> int:
        """Return the calls of the last 24 hours."""
        now = self._hour()
        self._hours = {
            hour: count
            for hour, count in self._hours.items()
            if now - _WINDOW_HOURS < hour <= now
        }
        return sum(self._hours.values())

    def add(self, calls: int) -> None:
        """Count calls."""
        hour = self._hour()
        self._hours[hour] = self._hours.get(hour, 0) + calls

    def set(self, calls: int) -> None:
        """Pretend that so many calls were made."""
        self._hours = {self._hour(): calls}

    def _hour(self) -> int:
        return int(self._clock.now().timestamp()) // 3_600


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call as `GET /sandbox/calls` shows it.

    `status` is 0 where the connection was cut without an answer; `done` says whether
    the call was processed all the same. `subrequests` counts what a composite or batch
    held, `records` the records of collections in it; `counted` what it cost. `at` has
    milliseconds; `urls` are the addresses of subrequests.
    """

    at: str
    method: str
    path: str
    kind: str
    status: int
    subrequests: int
    records: int
    counted: int
    done: bool
    user: str
    queries: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


class CallLog:
    """The calls, oldest first."""

    def __init__(self) -> None:
        """Start empty."""
        self._calls: deque[LoggedCall] = deque(maxlen=_KEPT_CALLS)

    def add(self, call: LoggedCall) -> None:
        """Add a call."""
        self._calls.append(call)

    def clear(self) -> None:
        """Forget all calls."""
        self._calls.clear()

    def as_json(self) -> list[dict[str, Any]]:
        """Return the calls as JSON objects."""
        return [asdict(call) for call in self._calls]


class Sessions:
    """The tokens that are valid now."""

    def __init__(self, state: OrgState) -> None:
        """Start without any."""
        self._state = state
        self._used: dict[str, tuple[str, datetime]] = {}

    def open(self, user_id: str) -> str:
        """Return a fresh token for a user."""
        token = f"00DHq0000000000!{secrets.token_urlsafe(48)}"
        self._used[token] = (user_id, self._state.clock.now())
        return token

    def user_of(self, token: str) -> str | None:
        """Return the user of a token, or None; each use makes it last longer."""
        user_id, used_at = self._used.get(token, ("", None))
        now = self._state.clock.now()
        if used_at is None:
            return None
        if now - used_at > timedelta(seconds=self._state.config.session_s):
            del self._used[token]
            return None
        user = self._state.rows.get("User", user_id)
        if user is None or not user["IsActive"]:
            return None
        self._used[token] = (user_id, now)
        return user_id

    def revoke_all(self) -> None:
        """End every session."""
        self._used.clear()
