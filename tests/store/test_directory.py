"""Users, addresses, exclusions and settings: edits, their revision and their audit."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest

from relay.core.directory import Exclusion, Role, SkipKind
from relay.core.errors import Conflict, NotFound


async def test_a_new_user_may_send_at_once(store, clock):
    """`user_add` makes an active user, a relay address, and accepts the own address."""
    user = await store.user_add("Ada", "Ada@Corp.example", Role.ADMIN, "005x", "root")
    assert re.fullmatch(r"log-[a-z2-7]{20}", user.relay_token)
    directory = await store.directory()
    assert directory.users == {user.id: user}
    assert directory.by_token == {user.relay_token: user.id}
    assert directory.accepted == {user.id: frozenset({"ada@corp.example"})}
    (address,) = await store.addresses(user.id)
    assert (address.added_at, address.added_by) == (clock.now(), "root")


async def test_an_address_belongs_to_one_user(store, user):
    """A second user with the same address is a Conflict, in any spelling."""
    with pytest.raises(Conflict):
        await store.user_add("Other", "ADA@corp.example", Role.REP, None, "root")
    assert await store.users() == [user]


async def test_users_are_found_by_address_or_unique_name(store, user):
    """A name finds its user only where nobody else has it; the error says why."""
    assert await store.user_find("ADA@corp.example") == user
    assert await store.user_find("ada") == user
    await store.user_add("Ada", "ada2@corp.example", Role.REP, None, "root")
    with pytest.raises(NotFound, match=r"2 users.*ada2@corp\.example"):
        await store.user_find("Ada")
    with pytest.raises(NotFound, match="address"):
        await store.user_find("nobody@corp.example")
    with pytest.raises(NotFound, match="named"):
        await store.user_find("Nobody")


async def test_every_edit_raises_the_revision_and_is_audited(store, user):
    """Each edit raises the revision once and leaves who, what, old and new."""
    edits = [
        (store.user_set_active(user.id, False, "eve"), "user_active", True, False),
        (store.user_set_salesforce_id(user.id, "005A", "eve"),
         "user_salesforce_id", None, "005A"),
        (store.user_set_time_zone(user.id, "Europe/Berlin"),
         "user_time_zone", None, "Europe/Berlin"),
        (store.address_add(user.id, "*@corp.example", "eve"),
         "address_add", None, "*@corp.example"),
        (store.address_remove(user.id, "*@corp.example", "eve"),
         "address_remove", "*@corp.example", None),
        (store.exclude_add("*@news.example", None, SkipKind.MAIL, "eve"),
         "exclude_add", None, ["*@news.example", "mail"]),
        (store.exclude_remove("*@news.example", None, "eve"),
         "exclude_remove", "*@news.example", None),
        (store.setting_set("match.several", "oldest", "eve"),
         "setting_set", None, "oldest"),
        (store.setting_set("match.several", None, "eve"),
         "setting_set", "oldest", None),
    ]  # fmt: skip
    for edit, action, old, new in edits:
        before = await store.revision()
        await edit
        assert await store.revision() == before + 1
        (row,) = await store.audit(1)
        assert (row["action"], row["old"], row["new"]) == (action, old, new)


async def test_edits_that_change_nothing_leave_no_trace(store, user):
    """Adding what is there or setting the same value raises no revision."""
    before = await store.revision()
    assert not await store.address_add(user.id, "ada@corp.example", "eve")
    await store.user_set_active(user.id, True, "eve")
    await store.exclude_add("a@b.example", user.id, SkipKind.ADDRESS, "eve")
    assert not await store.exclude_add("a@b.example", user.id, SkipKind.ADDRESS, "eve")
    assert await store.revision() == before + 1


async def test_what_does_not_exist_is_not_found(store, user):
    """Edits of unknown users, addresses and exclusions raise NotFound."""
    calls = [
        store.user_set_active(1 << 40, True, "x"),
        store.user_rotate(1 << 40, timedelta(0), "x"),
        store.address_add(1 << 40, "a@b.example", "x"),
        store.address_remove(user.id, "a@b.example", "x"),
        store.exclude_add("a@b.example", 1 << 40, SkipKind.MAIL, "x"),
        store.exclude_remove("a@b.example", None, "x"),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            await call


async def test_a_rotated_address_works_for_its_grace_time(store, user, clock):
    """After a rotation both addresses work, then only the new one, unasked."""
    rotated = await store.user_rotate(user.id, timedelta(days=30), "eve")
    (old,) = rotated.old_tokens
    assert (old.token, old.until) == (
        user.relay_token,
        clock.now() + timedelta(days=30),
    )
    assert rotated.relay_token != user.relay_token
    assert set((await store.directory()).by_token) == {
        user.relay_token,
        rotated.relay_token,
    }
    before = await store.revision()
    clock.move(30 * 86400 + 1)
    assert await store.revision() > before
    assert set((await store.directory()).by_token) == {rotated.relay_token}


async def test_a_rotation_without_grace_ends_every_old_address(store, user):
    """An address that an earlier rotation left working ends as well."""
    await store.user_rotate(user.id, timedelta(days=30), "eve")
    last = await store.user_rotate(user.id, timedelta(0), "eve")
    assert last.old_tokens == ()
    assert set((await store.directory()).by_token) == {last.relay_token}


async def test_a_later_rotation_lengthens_no_grace_time(store, user, clock):
    """What was to end in a day ends in a day."""
    first = await store.user_rotate(user.id, timedelta(days=1), "eve")
    second = await store.user_rotate(user.id, timedelta(days=30), "eve")
    assert [old.until - clock.now() for old in second.old_tokens] == [
        timedelta(days=1),
        timedelta(days=30),
    ]
    assert second.old_tokens[0] == first.old_tokens[0]


async def test_tokens_are_not_in_the_audit(store, user):
    """The audit of a rotation names no relay address: they are secrets."""
    rotated = await store.user_rotate(user.id, timedelta(days=1), "eve")
    told = str(await store.audit())
    assert user.relay_token not in told
    assert rotated.relay_token not in told


async def test_another_store_sees_the_edits(store, other, user):
    """What one process edits, another sees by the revision."""
    assert await other.revision() == await store.revision()
    await other.exclude_add("x@y.example", user.id, SkipKind.ADDRESS, "eve")
    directory = await store.directory()
    assert directory.exclusions == (
        Exclusion("x@y.example", user.id, SkipKind.ADDRESS),
    )
    assert await store.exclusions() == list(directory.exclusions)


async def test_concurrent_edits_all_count(store, other, user):
    """Twenty edits from two stores at once raise the revision by twenty."""
    before = await store.revision()
    await asyncio.gather(
        *(
            (store, other)[i % 2].address_add(user.id, f"a{i}@b.example", "eve")
            for i in range(20)
        )
    )
    assert await store.revision() == before + 20
    assert len(await store.addresses()) == 21


async def test_notes_are_remembered_without_audit(store):
    """The relay's own notes survive and are no edit."""
    before = await store.revision()
    assert await store.note_get("write_as") is None
    await store.note_set("write_as", {"mode": "task"})
    await store.note_set("write_as", {"mode": "email_message"})
    assert await store.note_get("write_as") == {"mode": "email_message"}
    assert await store.revision() == before
    assert await store.audit() == []


async def test_settings_hold_any_json(store):
    """A setting comes back as it was set; unset ones are None."""
    await store.setting_set("a", {"b": [1, None, "ü"]}, "eve")
    assert await store.setting_get("a") == {"b": [1, None, "ü"]}
    assert await store.setting_get("c") is None
    assert (await store.directory()).settings == {"a": {"b": [1, None, "ü"]}}
