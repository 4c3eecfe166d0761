"""Second factors: codes that work once, keys of one owner, removal."""

from __future__ import annotations

import asyncio

import pytest

from relay.core.directory import Role
from relay.core.errors import Conflict, NotFound


async def actions(store):
    return [row["action"] for row in await store.history.find()][1:]


async def with_app(store, user, step=100, codes=("aaaa", "bbbb")):
    await store.factors.begin_app(user.id, "SECRET")
    assert await store.factors.confirm_app(user.id, step, codes, "test")


async def test_an_app_counts_once_it_is_confirmed(store, user):
    """Until then it may be begun anew; after that it has to be removed first."""
    await store.factors.begin_app(user.id, "FIRST")
    await store.factors.begin_app(user.id, "SECRET")
    assert not await store.factors.of(user.id)
    assert await store.factors.app_secret(user.id, confirmed=True) is None
    assert await store.factors.app_secret(user.id, confirmed=False) == "SECRET"
    assert not await store.factors.take_step(user.id, 1)
    assert await store.factors.confirm_app(user.id, 100, ["aaaa"], "test")
    assert not await store.factors.confirm_app(user.id, 101, ["bbbb"], "test")
    assert await store.factors.app_secret(user.id, confirmed=False) is None
    found = await store.factors.of(user.id)
    assert found
    assert found.recovery_left == 1
    with pytest.raises(Conflict):
        await store.factors.begin_app(user.id, "OTHER")
    await store.factors.remove_app(user.id, "test")
    assert not await store.factors.of(user.id)
    assert (await store.factors.of(user.id)).recovery_left == 0
    with pytest.raises(NotFound):
        await store.factors.remove_app(user.id, "test")
    assert await actions(store) == ["factor_add", "factor_remove"]
    assert "SECRET" not in str(await store.history.find())


async def test_a_code_of_an_app_works_once(store, other, user):
    """Of two who show it at a time one passes; an earlier one never does after."""
    await with_app(store, user, step=100)
    assert not await store.factors.take_step(user.id, 100)
    passed = await asyncio.gather(
        *(one.factors.take_step(user.id, 101) for one in (store, other))
    )
    assert sorted(passed) == [False, True]
    assert not await store.factors.take_step(user.id, 99)
    assert await store.factors.take_step(user.id, 102)


async def test_a_recovery_code_works_once(store, other, user):
    """And for its user alone; new ones end the old ones."""
    await with_app(store, user)
    bob = await store.directory.add_user(
        "Bob", "bob@corp.example", Role.REP, None, "test"
    )
    assert not await store.factors.use_code(bob.id, "aaaa", "test")
    used = await asyncio.gather(
        *(one.factors.use_code(user.id, "aaaa", "test") for one in (store, other))
    )
    assert sorted(used) == [False, True]
    assert (await store.factors.of(user.id)).recovery_left == 1
    await store.factors.replace_codes(user.id, ["cccc", "dddd", "eeee"], "test")
    assert not await store.factors.use_code(user.id, "bbbb", "test")
    assert (await store.factors.of(user.id)).recovery_left == 3
    assert "recovery_code_used" in await actions(store)


async def test_a_passkey_has_one_owner(store, user, clock):
    """It is found by its id, counts up, and goes when its user says so."""
    bob = await store.directory.add_user(
        "Bob", "bob@corp.example", Role.REP, None, "test"
    )
    await store.factors.add_passkey(user.id, "id", "key", 5, "laptop", "test")
    with pytest.raises(Conflict):
        await store.factors.add_passkey(bob.id, "id", "key", 5, "mine", "test")
    key = await store.factors.passkey("id")
    assert (key.user_id, key.sign_count, key.used_at) == (user.id, 5, None)
    assert await store.factors.passkey("other") is None
    assert await store.factors.passkey_used(key.id, 5, 6)
    assert not await store.factors.passkey_used(key.id, 5, 6)
    assert (await store.factors.passkey("id")).used_at == clock.now()
    with pytest.raises(NotFound):
        await store.factors.remove_passkey(bob.id, key.id, "test")
    await store.factors.remove_passkey(user.id, key.id, "test")
    assert await store.factors.passkey("id") is None


async def test_nobody_has_passkeys_without_end(store, user, monkeypatch):
    """A script must not fill the table."""
    monkeypatch.setattr("relay.store.factors.MOST_PASSKEYS", 2)
    for number in range(2):
        await store.factors.add_passkey(user.id, f"{number}", "k", 0, "n", "test")
    with pytest.raises(Conflict, match="2 passkeys"):
        await store.factors.add_passkey(user.id, "more", "k", 0, "n", "test")


async def test_all_factors_go_at_once(store, user):
    """For who lost the phone, and with a user who is removed."""
    assert not await store.factors.remove_all(user.id, "test")
    await with_app(store, user)
    await store.factors.add_passkey(user.id, "id", "key", 5, "laptop", "test")
    assert await store.factors.remove_all(user.id, "test")
    assert not await store.factors.of(user.id)
    await with_app(store, user)
    await store.directory.remove_user(user.id, "test")
    assert not await store.factors.of(user.id)
