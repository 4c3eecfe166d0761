"""Whatever workers, people and crashes do, the store keeps to the state table.

A model keeps what each message's state must be, by `core.states` alone; after every
step the store must agree with it, and no message may be missing.
"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
)

from relay.config import StoreSettings
from relay.core.directory import Role
from relay.core.errors import IllegalTransition
from relay.core.ids import new_message_id
from relay.core.model import Envelope, LogFilter, RawMail, Recipient
from relay.core.queue import LeaseOwner, Settlement
from relay.core.states import TRANSITIONS, Event, State, next_state
from relay.store import Store
from relay.store.queue import BY_PEOPLE

pytestmark = pytest.mark.timeout(120)

WORKERS = [LeaseOwner("host", "boot", pid, "1") for pid in (1, 2)]
OUTCOMES = sorted(set(TRANSITIONS[State.CLAIMED]) - {Event.LEASE_EXPIRED})
LEASE_S = 60


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.at = datetime(2026, 3, 1, tzinfo=UTC)

    def now(self):
        return self.at

    def boottime_s(self):
        return self.at.timestamp()


class StoreStates(RuleBasedStateMachine):
    """Drives one SQLite store beside a model of plain dictionaries."""

    messages = Bundle("messages")

    def __init__(self):
        super().__init__()
        self.clock = SetClock()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        url = f"sqlite:///{Path(self.folder.name) / 'relay.db'}"
        self.settings = StoreSettings(url=url, min_free_bytes=0)
        self.store = self.run(Store.open(self.settings, self.clock))
        self.user = self.run(
            self.store.directory.add_user("A", "a@b.example", Role.REP, None, "x")
        )
        self.state: dict[str, State] = {}
        self.held: dict[str, tuple[LeaseOwner, int, datetime]] = {}

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def teardown(self):
        self.run(self.store.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()

    @rule(target=messages, count=st.integers(1, 3))
    def put(self, count):
        """Mail comes in: queued."""
        ids = []
        for _ in range(count):
            self.clock.at += timedelta(milliseconds=1)
            message_id = new_message_id(self.clock)
            recipient = Recipient(message_id, "log-a@in.example", self.user.id)
            envelope = Envelope("", "p", "h", False, self.clock.now(), (recipient,))
            self.run(self.store.messages.put(envelope, RawMail(1, "0", b"x")))
            self.state[message_id] = State.QUEUED
            ids.append(message_id)
        return multiple(*ids)

    @rule(worker=st.sampled_from(WORKERS), limit=st.integers(1, 4))
    def claim(self, worker, limit):
        """A worker claims: only what was queued or whose lease had run out."""
        now = self.clock.now()
        for message_id, (_, _, until) in list(self.held.items()):
            if until < now:
                del self.held[message_id]
                state = State(self.run(self.store.log.show(message_id))["state"])
                assert state is State.CLAIMED
                self.state[message_id] = State.QUEUED
        claimed = self.run(self.store.queue.claim(worker, limit, LEASE_S))
        assert len(claimed) <= limit
        assert len(claimed) == 1 or not any(c.alone for c in claimed)
        for row in self.run(self.store.log.find(LogFilter(state=State.DEAD))):
            if row["reason"] == "exhausted" and self.state[row["id"]] is State.QUEUED:
                self.state[row["id"]] = State.DEAD
        for one in claimed:
            assert self.state[one.id] is State.QUEUED
            self.state[one.id] = State.CLAIMED
            until = now + timedelta(seconds=LEASE_S)
            self.held[one.id] = (worker, one.attempt, until)

    @rule(
        message=messages,
        worker=st.sampled_from(WORKERS),
        event=st.sampled_from(OUTCOMES),
        stale=st.booleans(),
    )
    def settle(self, message, worker, event, stale):
        """A settlement counts only from the holder of that attempt."""
        holder, attempt, _ = self.held.get(message, (None, 1, None))
        settlement = Settlement(message, attempt + stale, event)
        settled = self.run(self.store.ledger.advance(worker, settlements=[settlement]))
        rightful = holder == worker and not stale
        assert settled == ({message} if rightful else set())
        if rightful:
            del self.held[message]
            self.state[message] = next_state(State.CLAIMED, event)

    @rule(message=messages, event=st.sampled_from(sorted(Event)))
    def ask(self, message, event):
        """A person asks for something: done by the table, or refused."""
        old = self.state[message]
        try:
            ((_, was, now),) = self.run(
                self.store.queue.apply(event, [message], None, "person")
            )
        except IllegalTransition:
            assert event not in BY_PEOPLE or event not in TRANSITIONS[old]
        else:
            assert event in BY_PEOPLE
            assert (was, now) == (old, next_state(old, event))
            self.state[message] = now

    @rule(seconds=st.sampled_from([1, LEASE_S + 1]))
    def wait(self, seconds):
        """Time passes; leases may run out."""
        self.clock.at += timedelta(seconds=seconds)

    @precondition(lambda self: self.held)
    @rule(worker=st.sampled_from(WORKERS))
    def renew(self, worker):
        """A worker renews what it holds, and nothing else."""
        mine = {i for i, (holder, _, _) in self.held.items() if holder == worker}
        assert self.run(self.store.queue.renew(worker, self.held, LEASE_S)) == mine
        until = self.clock.now() + timedelta(seconds=LEASE_S)
        for message_id in mine:
            self.held[message_id] = (worker, self.held[message_id][1], until)

    @rule()
    def reopen(self):
        """The process ends and another opens the store: nothing changes."""
        self.run(self.store.close())
        self.store = self.run(Store.open(self.settings, self.clock))

    @invariant()
    def nothing_is_lost(self):
        """Every message is there, in the state that the table gives."""
        rows = self.run(self.store.log.find(LogFilter()))
        assert {row["id"]: State(row["state"]) for row in rows} == self.state


StoreStates.TestCase.settings = settings(
    max_examples=10,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
test_store_states = StoreStates.TestCase
