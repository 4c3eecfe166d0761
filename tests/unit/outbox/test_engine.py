"""The engine carries any client: a small third one, with every outcome.

`Reminders` below stands for what comes next: Tasks with a reminder, rows in a table of
their own. Everything that is promised about sending once is shown with it; nothing in
the engine knows about it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import SalesforceUnavailable, StoreUnavailable
from relay.core.states import ACTIVITY_TRANSITIONS, ActivityState
from relay.outbox.backoff import LOOK_UP_AFTER_S
from relay.outbox.engine import (
    NEXT,
    SEND_WITHIN_S,
    Client,
    OnceClient,
    Outbox,
    Result,
)
from relay.salesforce import WriteOutcome, WriteState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.outbox.engine import Change, Mark

START = datetime(2026, 3, 4, 12, tzinfo=UTC)
LONGEST_S = 630


class Clock:
    """A clock that is moved by hand."""

    moved_s = 0.0

    def now(self) -> datetime:
        """Return the time."""
        return START + timedelta(seconds=self.moved_s)

    def boottime_s(self) -> float:
        """Return seconds since the start."""
        return self.moved_s


@dataclass(frozen=True)
class Reminder:
    """A row of the table of reminders."""

    key: str
    state: ActivityState = ActivityState.PLANNED
    sent_at: datetime | None = None
    lookups: int = 0
    due_in_s: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Event:
    """A record that Salesforce holds."""

    is_deleted: bool = False


class Reminders(OnceClient[Reminder]):
    """The third client: a table, a call, a look-up, and what is true of this kind."""

    def __init__(self, *keys: str, clock: Clock) -> None:
        """Have these planned."""
        self.rows = {key: Reminder(key) for key in keys}
        self.clock = clock
        self.answers: dict[str, WriteState] = {}
        self.error: Exception | None = None
        self.there: dict[str, Event] = {}
        self.lost: set[str] = set()
        self.store_down = False
        self.unique = False
        self.unfindable = ""
        self.invisible: set[str] = set()
        self.calls: list[list[str]] = []
        self.asked: list[str] = []
        self.not_after_s = 0.0

    async def mark_sent(self, marks: Sequence[Mark[Reminder]]) -> list[Reminder]:
        """Commit the marks."""
        if self.store_down:
            raise StoreUnavailable("down")
        for mark in marks:
            self.put(
                mark.row.key,
                state=ActivityState.SENT,
                sent_at=mark.sent_at,
                lookups=mark.lookups,
            )
        keys = [mark.row.key for mark in marks]
        return [self.rows[key] for key in keys if key not in self.lost]

    async def request(
        self, rows: Sequence[Reminder], *, not_after_boottime_s: float
    ) -> list[WriteOutcome]:
        """Answer as the test says; each row must be marked before."""
        self.not_after_s = not_after_boottime_s
        assert {self.rows[row.key].state for row in rows} == {ActivityState.SENT}
        if self.error:
            raise self.error
        self.calls.append([row.key for row in rows])
        outcomes = [
            WriteOutcome(
                row.key,
                self.answers.get(row.key, WriteState.WRITTEN),
                code="CODE",
                retry_after_s=7.0,
            )
            for row in rows
        ]
        return outcomes[::-1]  # In no particular order.

    async def take(self, changes: Sequence[Change[Reminder]]) -> None:
        """Commit the changes; each must be one that the table of states has."""
        for change in changes:
            self.put(
                change.row.key,
                state=change.state,
                lookups=change.lookups,
                due_in_s=change.wait_s,
                error=change.error,
            )

    async def find(self, rows: Sequence[Reminder]) -> Mapping[str, Event]:
        """Look up by key."""
        self.asked += [row.key for row in rows]
        return {row.key: self.there[row.key] for row in rows if row.key in self.there}

    def longest_call(self, row: Reminder) -> timedelta:
        """Return the time after which no call can write any more."""
        return timedelta(seconds=LONGEST_S)

    def refuses_twice(self, row: Reminder) -> bool:
        """Say whether the org has a unique field."""
        return self.unique

    def cannot_find(self, row: Reminder) -> str:
        """Say why the key cannot be asked for."""
        return self.unfindable

    async def hidden(self, rows: Sequence[Reminder]) -> Mapping[str, str]:
        """Return what may be there without being visible."""
        return {row.key: "hidden" for row in rows if row.key in self.invisible}

    def put(self, key: str, **values: object) -> None:
        """Change a row as a store does."""
        row = self.rows[key]
        new = replace(row, **values)  # type: ignore[arg-type]
        if new.state is not row.state:
            assert new.state in ACTIVITY_TRANSITIONS[row.state]
        self.rows[key] = new

    def is_(self, key: str = "a") -> tuple[str, float | None]:
        """Return the state of a row, and its wait."""
        return str(self.rows[key].state), self.rows[key].due_in_s


class Gentle(Client[Reminder]):
    """A kind of request that may be repeated without harm: nothing can be marked."""

    def __init__(self, answer: WriteState) -> None:
        """Answer every request so."""
        self.answer = answer
        self.taken: list[Change[Reminder]] = []

    async def request(
        self, rows: Sequence[Reminder], *, not_after_boottime_s: float
    ) -> list[WriteOutcome]:
        """Answer as the test says."""
        return [WriteOutcome(row.key, self.answer) for row in rows]

    async def take(self, changes: Sequence[Change[Reminder]]) -> None:
        """Keep the changes."""
        self.taken += changes


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


@pytest.fixture
def outbox(clock: Clock) -> Outbox:
    """Return the engine."""
    return Outbox(clock)


@pytest.fixture
def client(clock: Clock) -> Reminders:
    """Return the client with two rows."""
    return Reminders("a", "b", clock=clock)


async def send(outbox: Outbox, client: Reminders) -> None:
    """Send everything that is planned."""
    rows = client.rows.values()
    planned = [row for row in rows if row.state is ActivityState.PLANNED]
    await outbox.send(client, planned)


async def recover(outbox: Outbox, client: Reminders) -> list[str]:
    """Recover everything that is sent; return the keys to be sent again."""
    rows = client.rows.values()
    sent = [row for row in rows if row.state is ActivityState.SENT]
    again = await outbox.recover(client, sent)
    return [row.key for row in again]


# ------------------------------------------------------------ send


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (WriteState.WRITTEN, ("written", 7.0)),
        (WriteState.REFUSED, ("refused", 7.0)),
        (WriteState.RETRY, ("planned", 7.0)),
        (WriteState.NOT_SENT, ("planned", 1.0)),
        (WriteState.UNKNOWN, ("sent", 2.0)),
    ],
)
async def test_each_outcome_has_its_state_and_wait(
    outbox: Outbox,
    client: Reminders,
    answer: WriteState,
    end: tuple[str, float],
) -> None:
    """One row's outcome leaves its neighbour alone; one call carries both."""
    client.answers["a"] = answer
    await send(outbox, client)
    assert client.calls == [["a", "b"]]
    assert client.is_() == end
    assert client.is_("b") == ("written", 7.0)
    assert client.rows["a"].sent_at == START


async def test_a_request_has_five_seconds_to_leave(
    outbox: Outbox, client: Reminders, clock: Clock
) -> None:
    """The limit counts from before the mark, by the clock that counts sleep."""
    clock.moved_s = 100
    await send(outbox, client)
    assert client.not_after_s == 100 + SEND_WITHIN_S


async def test_what_another_worker_holds_does_not_leave(
    outbox: Outbox, client: Reminders
) -> None:
    """Only rows whose mark was committed by us are in the call."""
    client.lost = {"a"}
    await send(outbox, client)
    assert client.calls == [["b"]]
    client.lost = {"a", "b"}
    client.put("b", state=ActivityState.GONE)
    await outbox.send(client, [client.rows["a"]])
    assert client.calls == [["b"]]


async def test_without_the_mark_nothing_leaves(
    outbox: Outbox, client: Reminders
) -> None:
    """The store is down: no call is made."""
    client.store_down = True
    with pytest.raises(StoreUnavailable):
        await send(outbox, client)
    assert client.calls == []


async def test_a_call_that_is_refused_as_a_whole_plans_its_rows_again(
    outbox: Outbox, client: Reminders
) -> None:
    """Nothing was written: every row may be sent again, and the error is raised."""
    client.error = SalesforceUnavailable("down", retry_after_s=9.0)
    with pytest.raises(SalesforceUnavailable):
        await send(outbox, client)
    assert client.is_() == client.is_("b") == ("planned", 9.0)
    assert client.rows["a"].error == "down"


# ------------------------------------------------------------ recover


@pytest.mark.parametrize(("deleted", "end"), [(False, "written"), (True, "gone")])
async def test_found_settles(
    outbox: Outbox, client: Reminders, *, deleted: bool, end: str
) -> None:
    """A record in the recycle bin was somebody's wish."""
    client.answers["a"] = WriteState.UNKNOWN
    await send(outbox, client)
    client.there["a"] = Event(deleted)
    assert await recover(outbox, client) == []
    assert client.is_()[0] == end
    assert client.asked == ["a"]


async def test_absent_counts_once_no_call_can_run(
    outbox: Outbox, client: Reminders, clock: Clock
) -> None:
    """Waits grow; then the row is planned, sent again, and written once."""
    client.answers["a"] = WriteState.UNKNOWN
    await send(outbox, client)
    for wait_s in LOOK_UP_AFTER_S[:4]:
        assert await recover(outbox, client) == []
        assert client.is_() == ("sent", wait_s)
        clock.moved_s += wait_s
    assert len(client.calls) == 1
    clock.moved_s = LONGEST_S
    await recover(outbox, client)
    assert client.is_()[0] == "planned"
    client.answers.clear()
    await send(outbox, client)
    assert client.is_()[0] == "written"
    assert client.calls == [["a", "b"], ["a"]]


async def test_what_may_be_hidden_is_not_absent(
    outbox: Outbox, client: Reminders, clock: Clock
) -> None:
    """Neither an invisible record, nor a key that cannot be asked for."""
    client.answers["a"] = WriteState.UNKNOWN
    await send(outbox, client)
    clock.moved_s = 10 * LONGEST_S
    client.invisible = {"a"}
    await recover(outbox, client)
    assert (client.is_()[0], client.rows["a"].error) == ("sent", "hidden")
    client.invisible, client.unfindable = set(), "no field"
    client.asked.clear()
    await recover(outbox, client)
    assert (client.is_()[0], client.rows["a"].error) == ("sent", "no field")
    assert client.asked == []


async def test_a_unique_field_needs_no_wait(
    outbox: Outbox, client: Reminders, clock: Clock
) -> None:
    """Sent again at once; a second time, or later, a look-up comes first."""
    client.unique = True
    client.answers["a"] = WriteState.UNKNOWN
    await send(outbox, client)
    assert await recover(outbox, client) == ["a"]
    assert client.asked == []
    await outbox.send(client, [client.rows["a"]])
    assert (client.is_(), client.rows["a"].lookups) == (("sent", 10.0), 1)
    assert await recover(outbox, client) == ["a"]
    assert client.asked == ["a"]
    client.put("a", lookups=0)
    clock.moved_s = 61
    client.there["a"] = Event()
    assert await recover(outbox, client) == []
    assert client.is_()[0] == "written"


# ------------------------------------------------------------ repeatable requests


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (WriteState.WRITTEN, "written"),
        (WriteState.REFUSED, "refused"),
        (WriteState.RETRY, "planned"),
        (WriteState.NOT_SENT, "planned"),
        (WriteState.UNKNOWN, "planned"),
    ],
)
async def test_what_may_be_repeated_is_never_marked(
    outbox: Outbox, answer: WriteState, end: str
) -> None:
    """An unknown outcome stays where it was, and is tried again."""
    client = Gentle(answer)
    await outbox.send(client, [Reminder("a")])
    assert [str(change.state) for change in client.taken] == [end]


def test_every_result_has_a_state() -> None:
    """Each follows from *sent*, as the table of states allows it."""
    assert set(NEXT) == set(Result)
    assert set(NEXT.values()) <= ACTIVITY_TRANSITIONS[ActivityState.SENT]
    assert {str(state) for state in WriteState} <= {str(result) for result in Result}


# ------------------------------------------------------------ a restored store

SINCE = START - timedelta(hours=3)
"""Of which moment the store is a backup."""


async def test_what_another_life_of_the_store_has_sent_is_not_sent_again(
    outbox: Outbox, client: Reminders
) -> None:
    """It is found by its key; what is absent is sent, at once and once."""
    client.there["a"] = Event()
    await outbox.send_unless_there(client, list(client.rows.values()), SINCE)
    assert client.asked == ["a", "b"]
    assert client.calls == [["b"]]
    assert (client.is_()[0], client.is_("b")[0]) == ("written", "written")
    assert client.rows["a"].sent_at == SINCE


async def test_a_second_record_that_is_refused_need_not_be_proven_absent(
    outbox: Outbox, client: Reminders
) -> None:
    """Where the org has a unique field it is looked for all the same, and then sent."""
    client.unique = True
    client.there["a"] = Event()
    await outbox.send_unless_there(client, list(client.rows.values()), START)
    assert (client.asked, client.calls) == (["a", "b"], [["b"]])


async def test_what_may_still_be_written_waits_after_a_restore(
    outbox: Outbox, client: Reminders, clock: Clock
) -> None:
    """The other life may have sent it a moment ago; later it is as any other row."""
    await outbox.send_unless_there(client, [client.rows["a"]], START)
    assert (client.calls, client.is_()[0]) == ([], "sent")
    clock.moved_s = LONGEST_S
    assert await recover(outbox, client) == []
    assert client.is_()[0] == "planned"


async def test_what_the_store_does_not_mark_is_not_looked_for(
    outbox: Outbox, client: Reminders
) -> None:
    """Nothing is asked, and nothing leaves."""
    client.store_down = True
    with pytest.raises(StoreUnavailable):
        await outbox.send_unless_there(client, [client.rows["a"]], SINCE)
    assert (client.asked, client.calls) == ([], [])
