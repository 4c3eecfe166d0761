"""Claims: one code for a while, for few attempts, and never for another's address."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.core.directory import Role, Source
from relay.core.errors import Conflict, NotFound
from relay.store import claims as module

KEY = "ada@home.example"


@pytest.fixture
def begin(store, user, clock):
    """Claim an address, with a hash that is the code itself."""

    async def claim(key=KEY, hashed="hash", *, who=user.id, life=1800):
        until = clock.now() + timedelta(seconds=life)
        await store.claims.begin(who, key, hashed, until, "cli:ada")

    return claim


async def test_a_proven_address_may_send(store, user, begin):
    """It is known by the claim, the history says so, and the claim is over."""
    await begin()
    (claim,) = await store.claims.open(user.id)
    assert (claim.address, claim.hash, claim.attempts_left) == (KEY, "hash", 5)
    assert KEY not in (await store.directory.load()).accepted[user.id]
    assert await store.claims.try_code(claim.id)
    await store.claims.prove(claim, "cli:ada")
    sources = {a.address: a.source for a in await store.directory.addresses(user.id)}
    assert sources[KEY] is Source.CLAIM
    assert await store.claims.open() == []
    actions = [row["action"] for row in await store.history.find(user.id)]
    assert actions == ["user_add", "address_claim", "address_add"]
    with pytest.raises(Conflict, match="claim it again"):
        await store.claims.prove(claim, "cli:ada")


async def test_attempts_are_counted_before_they_are_made(store, begin):
    """Five, whoever breaks off in between; then the claim is over."""
    await begin()
    (claim,) = await store.claims.open()
    assert [await store.claims.try_code(claim.id) for _ in range(7)] == [
        *(True,) * 5,
        *(False,) * 2,
    ]
    assert await store.claims.open() == []


async def test_a_claim_expires(store, user, begin, clock):
    """A code of yesterday is no code, even for who saw it open."""
    await begin()
    (claim,) = await store.claims.open()
    clock.move(1801)
    assert await store.claims.open() == []
    assert not await store.claims.try_code(claim.id)
    with pytest.raises(Conflict):
        await store.claims.prove(claim, "cli:ada")


async def test_a_new_code_replaces_the_old_one(store, user, begin):
    """With its attempts anew; codes for other addresses stay."""
    await begin()
    (old,) = await store.claims.open()
    await store.claims.try_code(old.id)
    await begin("two@home.example")
    await begin(hashed="new")
    found = {one.address: one for one in await store.claims.open(user.id)}
    assert (found[KEY].hash, found[KEY].attempts_left) == ("new", 5)
    assert set(found) == {KEY, "two@home.example"}
    with pytest.raises(Conflict):
        await store.claims.prove(old, "cli:ada")


async def test_addresses_of_others_cannot_be_claimed(store, user, begin):
    """Neither the own one of another user, nor one that sends for them."""
    ben = await store.directory.add_user("Ben", "b@corp.example", Role.REP, None, "x")
    await store.directory.add_address(ben.id, "b@home.example", "x")
    await store.directory.remove_address(ben.id, "b@corp.example", "x")
    for key, part in (
        ("b@corp.example", "the address of another user"),
        ("b@home.example", "sends for another user"),
        ("ada@corp.example", "may send for ada@corp.example already"),
    ):
        with pytest.raises(Conflict, match=part):
            await begin(key)
    assert await store.claims.open() == []
    with pytest.raises(NotFound):
        await begin(who=1 << 40)


async def test_who_got_the_address_meanwhile_keeps_it(store, user, begin):
    """An admin added it for another user while the code was under way."""
    ben = await store.directory.add_user("Ben", "b@corp.example", Role.REP, None, "x")
    await begin()
    (claim,) = await store.claims.open()
    await store.directory.add_address(ben.id, KEY, "x")
    with pytest.raises(Conflict, match="by now"):
        await store.claims.prove(claim, "cli:ada")
    assert KEY not in (await store.directory.load()).accepted[user.id]


async def test_codes_are_bounded_for_a_day(store, begin, clock, monkeypatch):
    """Nobody can flood a mailbox with codes."""
    monkeypatch.setattr(module, "MOST_A_DAY", 3)
    for number in range(3):
        await begin(f"n{number}@home.example")
    with pytest.raises(Conflict, match="tomorrow"):
        await begin("n4@home.example")
    clock.move(86_401)
    await begin("n4@home.example")


async def test_a_removed_user_has_no_claims(store, user, begin):
    """Whoever reads the mail later lets nothing in."""
    await begin()
    await store.directory.remove_user(user.id, "eve")
    assert await store.claims.open() == []
