"""API tokens: kept as digests, found again, gone when removed."""

from __future__ import annotations

import pytest

from relay.core.errors import Conflict, NotFound


async def test_a_token_is_found_by_its_digest(store, user):
    """It says for whom it is; another digest finds nothing."""
    await store.credentials.add_api_token("crm", "a" * 64, user.id, "test")
    await store.credentials.add_api_token("any", "b" * 64, None, "test")
    found = await store.credentials.find_api_token("a" * 64)
    assert (found.name, found.user_id, found.added_by) == ("crm", user.id, "test")
    assert (await store.credentials.find_api_token("b" * 64)).user_id is None
    assert await store.credentials.find_api_token("c" * 64) is None


async def test_its_use_is_noted_once_an_hour(store, clock):
    """So that a token that nobody needs shows."""
    await store.credentials.add_api_token("crm", "a" * 64, None, "test")
    (token,) = await store.credentials.api_tokens()
    assert token.used_at is None
    first = clock.now()
    for seconds in (0, 60, 7200):
        clock.move(seconds)
        await store.credentials.find_api_token("a" * 64)
        (token,) = await store.credentials.api_tokens()
        assert token.used_at == (first if seconds < 7200 else clock.now())


async def test_names_are_single_and_removal_is_final(store):
    """A second token of one name, or the removal of none, is refused."""
    await store.credentials.add_api_token("crm", "a" * 64, None, "test")
    with pytest.raises(Conflict, match="crm"):
        await store.credentials.add_api_token("crm", "b" * 64, None, "test")
    await store.credentials.remove_api_token("crm", "test")
    assert await store.credentials.find_api_token("a" * 64) is None
    with pytest.raises(NotFound, match="crm"):
        await store.credentials.remove_api_token("crm", "test")
