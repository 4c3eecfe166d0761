"""App passwords: edits of the directory that hold hashes alone."""

from __future__ import annotations

import pytest

from relay.core.errors import Conflict, NotFound
from relay.store.credentials import MOST


async def test_a_running_relay_sees_a_new_password(store, user, clock):
    """Adding raises the revision; the snapshot has the hash, the audit the name."""
    before = await store.directory.revision()
    await store.credentials.add_app_password(user.id, "phone", "scrypt$x", "root")
    assert await store.directory.revision() == before + 1
    (kept,) = (await store.directory.load()).app_passwords[user.id]
    assert (kept.name, kept.hash, kept.added_by) == ("phone", "scrypt$x", "root")
    assert (kept.added_at, kept.used_at) == (clock.now(), None)
    assert "scrypt" not in repr(kept)
    (entry, *_) = await store.directory.audit()
    assert (entry["action"], entry["new"]) == ("app_password_add", "phone")
    assert "scrypt" not in str(await store.directory.audit())


async def test_names_are_unique_for_a_user(store, user):
    """A second password of one name is a Conflict; so is one too many."""
    await store.credentials.add_app_password(user.id, "phone", "h", "root")
    with pytest.raises(Conflict, match="already"):
        await store.credentials.add_app_password(user.id, "phone", "h", "root")
    for number in range(MOST - 1):
        await store.credentials.add_app_password(user.id, f"n{number}", "h", "root")
    with pytest.raises(Conflict, match="remove one"):
        await store.credentials.add_app_password(user.id, "more", "h", "root")
    assert len(await store.credentials.app_passwords(user.id)) == MOST
    with pytest.raises(NotFound):
        await store.credentials.add_app_password(user.id + 1, "phone", "h", "root")


async def test_a_removed_password_is_gone(store, user):
    """Removing raises the revision; what is not there is NotFound."""
    await store.credentials.add_app_password(user.id, "phone", "h", "root")
    before = await store.directory.revision()
    await store.credentials.remove_app_password(user.id, "phone", "root")
    assert await store.directory.revision() == before + 1
    assert (await store.directory.load()).app_passwords == {}
    with pytest.raises(NotFound, match="phone"):
        await store.credentials.remove_app_password(user.id, "phone", "root")


async def test_use_is_noted_to_the_hour(store, user, clock):
    """The last use is kept, written once an hour, and is no edit."""
    await store.credentials.add_app_password(user.id, "phone", "h", "root")
    before = await store.directory.revision()
    first = clock.now()
    await store.credentials.app_password_used(user.id, "phone")
    clock.move(600)
    await store.credentials.app_password_used(user.id, "phone")
    assert (await store.credentials.app_passwords())[0].used_at == first
    clock.move(3600)
    await store.credentials.app_password_used(user.id, "phone")
    assert (await store.credentials.app_passwords())[0].used_at == clock.now()
    assert await store.directory.revision() == before
