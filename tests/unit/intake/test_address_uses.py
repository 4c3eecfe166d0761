"""Uses of relay addresses are gathered, and written without holding up a mail."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from relay.core.errors import StoreUnavailable
from relay.intake import address_uses
from relay.intake.address_uses import AddressUses
from tests.fakes.intake import PEOPLE, SetClock


class Kept:
    """A store that keeps counts, or fails as often as it is told."""

    def __init__(self, failures=0):
        self.directory = self
        self.failures = failures
        self.written = []
        self.first = asyncio.Event()

    async def count_uses(self, uses):
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("down")
        self.written.append({t: (u.accepted, u.refused) for t, u in uses.items()})
        self.first.set()


async def test_uses_are_written_together_after_a_while(monkeypatch):
    """One write for many mails; the address is read as RCPT reads it."""
    monkeypatch.setattr(address_uses, "_WRITE_AFTER_S", 0)
    store = Kept()
    uses = AddressUses(store, SetClock(), lambda: PEOPLE)
    named = "log-ada+006Hs00001LTtvpIAD@in.example"
    for rcpt in (named, "LOG-Ada@log.example"):
        uses.accepted(rcpt)
    uses.refused("log-cleo@in.example")
    uses.accepted("guess@in.example")
    uses.refused("postmaster")
    async with asyncio.timeout(3):
        await store.first.wait()
    await uses.close()
    assert store.written == [{"log-ada": (2, 0), "log-cleo": (0, 1)}]


async def test_what_was_not_written_is_written_at_the_end():
    """A store that was down loses no count."""
    store = Kept(failures=1)
    clock = SetClock()
    uses = AddressUses(store, clock, lambda: PEOPLE)
    uses.accepted("log-ada@in.example")
    await uses._write()
    uses.refused("log-ada@in.example")
    await uses.close()
    assert store.written == [{"log-ada": (1, 1)}]


async def test_what_comes_while_a_write_fails_is_added_to_it():
    """Neither what was under way nor what came beside it is lost."""
    store = Kept()
    uses = AddressUses(store, SetClock(), lambda: PEOPLE)

    async def fail(_):
        uses.accepted("log-ada@in.example")
        uses.accepted("log-cleo@in.example")
        store.directory = store
        raise StoreUnavailable("down")

    store.directory = SimpleNamespace(count_uses=fail)
    uses.accepted("log-ada@in.example")
    await uses._write()
    await uses.close()
    assert store.written == [{"log-ada": (2, 0), "log-cleo": (1, 0)}]


@pytest.mark.parametrize("ended", [True, False])
async def test_ended_addresses_are_counted_too(ended):
    """Mail to a leaked address is seen after its end."""
    people = PEOPLE
    if ended:
        people = type(PEOPLE)(
            2, PEOPLE.users, {}, PEOPLE.accepted, (), ended_tokens={"log-ada": 1}
        )
    store = Kept()
    uses = AddressUses(store, SetClock(), lambda: people)
    uses.refused("log-ada@in.example")
    await uses.close()
    assert store.written == [{"log-ada": (0, 1)}]
