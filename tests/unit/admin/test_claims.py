"""Claiming an address: only who reads its mail lets it send."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from relay.admin.claims import CODE_LIFE, ClaimCode, claim, new_code, verify
from relay.core.directory import Claim, Role, User
from relay.core.errors import InvalidInput, NotFound, StoreUnavailable

ADA = User(1, "Ada", "ada@corp.example", Role.REP, True, None, "log-a")
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


class Store:
    """Keeps claims as the store does, in memory."""

    def __init__(self):
        self.claims = self
        self.kept = []
        self.proven = []
        self.tries = 0

    async def begin(self, user_id, key, hashed, expires_at, actor):
        number = len(self.kept)
        self.kept.append(Claim(number, user_id, key, hashed, expires_at, 5))
        return number

    async def open(self, user_id):
        return [one for one in self.kept if one.user_id == user_id]

    async def try_code(self, number):
        self.tries += 1
        return self.tries <= 5

    async def prove(self, one, actor):
        self.proven.append((one.address, actor))


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def mailed():
    return []


async def claimed(store, mailed, key="a@home.example"):
    """Claim an address; return the code that its mailbox got."""

    async def send(code):
        mailed.append(code)

    assert await claim(store, ADA, key, send, now=NOW, actor="x") == NOW + CODE_LIFE
    return mailed[-1].code


async def test_the_code_goes_to_the_address_alone(store, mailed):
    """What is kept is a slow hash; the code is in no log."""
    code = await claimed(store, mailed)
    assert mailed == [ClaimCode(0, "a@home.example", ADA, code, NOW + CODE_LIFE)]
    assert re.fullmatch(r"[a-hjkmnp-z2-9]{4}-[a-hjkmnp-z2-9]{4}", code)
    (kept,) = store.kept
    assert code not in str(kept.hash)
    assert kept.hash.startswith("scrypt$")
    assert code not in repr(mailed)
    assert kept.hash not in repr(kept)


async def test_the_right_code_lets_it_send(store, mailed):
    """In whatever case and grouping it is typed; the right one of several claims."""
    await claimed(store, mailed, "one@home.example")
    code = await claimed(store, mailed, "two@home.example")
    typed = code.upper().replace("-", " ")
    assert await verify(store, ADA, typed, actor="cli:ada") == "two@home.example"
    assert store.proven == [("two@home.example", "cli:ada")]


async def test_a_wrong_code_costs_an_attempt(store, mailed):
    """It says how many are left; after the last, the right one comes too late."""
    code = await claimed(store, mailed)
    with pytest.raises(NotFound, match="4 tries are left"):
        await verify(store, ADA, "aaaa-aaaa", actor="x")
    for _ in range(4):
        with pytest.raises(NotFound):
            await verify(store, ADA, "", actor="x")
    with pytest.raises(NotFound):
        await verify(store, ADA, code, actor="x")
    assert store.proven == []


async def test_without_a_claim_there_is_no_code(store):
    """The error says how to begin."""
    with pytest.raises(NotFound, match="relay address claim"):
        await verify(store, ADA, "aaaa-aaaa", actor="x")


async def test_a_domain_cannot_be_claimed(store, mailed):
    """Only an admin lets a whole domain send."""
    with pytest.raises(InvalidInput, match="an admin may"):
        await claim(store, ADA, "*@home.example", None, now=NOW, actor="x")
    assert store.kept == []


async def test_a_mail_that_was_not_sent_is_no_success(store):
    """Who asked is told why; the code is known to nobody."""

    async def send(_):
        raise StoreUnavailable("down")

    with pytest.raises(StoreUnavailable):
        await claim(store, ADA, "a@home.example", send, now=NOW, actor="x")


def test_codes_differ():
    """Some 40 bits each."""
    assert len({new_code() for _ in range(200)}) == 200
