"""The platform's Tasks go to the reps, and senders get their relation."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from relay.config import Settings
from relay.core.errors import SalesforceUnavailable
from relay.core.model import OwnerChange
from relay.core.queue import LeaseOwner
from relay.outbox.engine import Parts
from relay.outbox.owner_changes import MAX_CHANGES, OwnerChanges
from relay.salesforce import Filed, WriteOutcome, WriteState

ME = "005000000000009AAA"
REP = "005000000000001AAA"
STAND_IN = "00G000000000001EAA"


class Clock:
    """Stands still."""

    def now(self) -> datetime:
        """Return noon."""
        return datetime(2026, 3, 4, 12, tzinfo=UTC)

    def boottime_s(self) -> float:
        """Return anything."""
        return 1.0


class Store:
    """Gives out what is due, and keeps what was settled."""

    def __init__(self, *due: OwnerChange) -> None:
        """Have these due."""
        self.due = list(due)
        self.done: list[str] = []
        self.ledger = self

    async def claim_owner_changes(self, limit: int, hold_s: float) -> list[OwnerChange]:
        """Give out everything."""
        assert limit
        assert hold_s
        return self.due

    async def settle_owner_changes(self, keys: list[str]) -> None:
        """Keep the keys."""
        self.done += keys


class Org:
    """Answers writes as a test says, by the owner that is set."""

    def __init__(self, *filed: Filed, down: bool = False, **states: str) -> None:
        """Know these EmailMessages; `states` by owner, else all is written."""
        self._filed = {one.id: one for one in filed}
        self._down = down
        self.records = self.access = self
        self._states = states
        self.written: list[tuple[Any, ...]] = []

    async def me(self) -> str:
        """Return the integration user."""
        return ME

    async def filed(self, ids: list[str]) -> dict[str, Filed]:
        """Return what is known."""
        if self._down:
            raise SalesforceUnavailable("down")
        return self._filed

    async def update(self, records: list[Any]) -> list[WriteOutcome]:
        """Write each, or say what the test says."""
        self.written += records
        return [self._outcome(r[0], r[3]["OwnerId"]) for r in records]

    async def create(self, records: list[Any], **_: Any) -> list[WriteOutcome]:
        """Write each."""
        self.written += records
        return [self._outcome(r[0], "relation") for r in records]

    def _outcome(self, key: str, owner: str) -> WriteOutcome:
        code = self._states.get(owner, "")
        state = {"": "written", "LOCKED": "retry"}.get(code, "refused")
        return WriteOutcome(key, WriteState(state), code=code)


def due(key: str = "k", owner: str = REP) -> OwnerChange:
    """Return a handover of the EmailMessage `e`."""
    return OwnerChange(key, "e", owner, "ada@corp.example")


def filed(**changes: Any) -> Filed:
    """Return the EmailMessage `e` with its Task `t`."""
    known = {"is_deleted": False, "activity_id": "t", "has_sender": True}
    return Filed("e", **(known | changes))


async def handed_over(store: Store, org: Org, **keys: Any) -> list[str]:
    """Run once; return the keys that were settled."""
    settings = Settings(salesforce=keys)
    owner = LeaseOwner("h", "b", 1, "s")
    parts = Parts(settings, store, org, Clock(), owner, None)  # type: ignore[arg-type]
    assert not await OwnerChanges(parts, paused=lambda: False).turn()
    return store.done


async def test_the_task_is_given_to_the_rep() -> None:
    """One update, and the note is settled."""
    org = Org(filed())
    assert await handed_over(Store(due()), org) == ["k"]
    assert org.written == [("k", "Task", "t", {"OwnerId": REP})]


async def test_what_needs_nothing_is_settled() -> None:
    """Deleted, unknown, without a Task, or the integration user's own mail."""
    for store, org in (
        (Store(due()), Org(filed(is_deleted=True))),
        (Store(due()), Org()),
        (Store(due()), Org(filed(activity_id=None))),
        (Store(due(owner=ME)), Org(filed())),
    ):
        assert await handed_over(store, org) == ["k"]
        assert not org.written


async def test_a_sender_without_a_relation_gets_one() -> None:
    """Where FromId made none; a queue sends no mail."""
    org = Org(filed(has_sender=False, activity_id=None))
    assert await handed_over(Store(due()), org) == ["k"]
    ((_, sobject, fields),) = org.written
    assert sobject == "EmailMessageRelation"
    assert fields["RelationId"] == REP
    assert fields["RelationAddress"] == "ada@corp.example"
    org = Org(filed(has_sender=False, activity_id=None))
    await handed_over(Store(due(owner=STAND_IN)), org)
    assert not org.written


async def test_what_failed_comes_again() -> None:
    """A lock, or Salesforce down: nothing is settled."""
    assert not await handed_over(Store(due()), Org(filed(), **{REP: "LOCKED"}))
    assert not await handed_over(Store(due()), Org(filed(), down=True))
    assert not await handed_over(Store(), Org())


async def test_an_inactive_rep_has_a_stand_in() -> None:
    """Without one the Task stays where it is."""
    states = {REP: "INACTIVE_OWNER_OR_USER"}
    org = Org(filed(), **states)
    assert await handed_over(Store(due()), org) == ["k"]
    assert len(org.written) == 1
    org = Org(filed(), **states)
    assert await handed_over(Store(due()), org, fallback_owner=STAND_IN) == ["k"]
    assert org.written[-1] == ("k", "Task", "t", {"OwnerId": STAND_IN})


async def test_another_refusal_leaves_the_task_where_it_is() -> None:
    """The stand-in is for inactive users; what the org refuses is given up."""
    org = Org(filed(), **{REP: "INSUFFICIENT_ACCESS"})
    assert await handed_over(Store(due()), org, fallback_owner=STAND_IN) == ["k"]
    assert org.written == [("k", "Task", "t", {"OwnerId": REP})]


async def test_a_full_turn_is_followed_by_the_next_until_the_end() -> None:
    """A thousand at a time, without a wait between them."""
    stopping = asyncio.Event()
    org = Org()

    class Busy(Store):
        turns = 0

        async def claim_owner_changes(
            self, limit: int, hold_s: float
        ) -> list[OwnerChange]:
            self.turns += 1
            if self.turns == 3:
                stopping.set()
                return []
            return [due(f"{self.turns}-{number}") for number in range(limit)]

    store = Busy()
    settings = Settings(salesforce={"owner_after_s": 60})
    owner = LeaseOwner("h", "b", 1, "s")
    parts = Parts(settings, store, org, Clock(), owner, None)  # type: ignore[arg-type]
    changes = OwnerChanges(parts, paused=lambda: False)
    await asyncio.wait_for(changes.run(stopping), 10)
    assert len(set(store.done)) == 2 * MAX_CHANGES
