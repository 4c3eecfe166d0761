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
    user = await store.directory.add_user(
        "Ada", "Ada@Corp.example", Role.ADMIN, "005x", "root"
    )
    assert re.fullmatch(r"log-[a-z2-7]{20}", user.relay_token)
    directory = await store.directory.load()
    assert directory.users == {user.id: user}
    assert directory.by_token == {user.relay_token: user.id}
    assert directory.accepted == {user.id: frozenset({"ada@corp.example"})}
    (address,) = await store.directory.addresses(user.id)
    assert (address.added_at, address.added_by) == (clock.now(), "root")


async def test_an_address_belongs_to_one_user(store, user):
    """A second user with the same address is a Conflict, in any spelling."""
    with pytest.raises(Conflict):
        await store.directory.add_user(
            "Other", "ADA@corp.example", Role.REP, None, "root"
        )
    assert await store.directory.users() == [user]


async def test_users_are_found_by_address_or_unique_name(store, user):
    """A name finds its user only where nobody else has it; the error says why."""
    assert await store.directory.find_user("ADA@corp.example") == user
    assert await store.directory.find_user("ada") == user
    await store.directory.add_user("Ada", "ada2@corp.example", Role.REP, None, "root")
    with pytest.raises(NotFound, match=r"2 users.*ada2@corp\.example"):
        await store.directory.find_user("Ada")
    with pytest.raises(NotFound, match="address"):
        await store.directory.find_user("nobody@corp.example")
    with pytest.raises(NotFound, match="named"):
        await store.directory.find_user("Nobody")


async def test_every_edit_raises_the_revision_and_is_audited(store, user):
    """Each edit raises the revision once and leaves who, what, old and new."""
    edits = [
        (store.directory.set_active(user.id, False, "eve"), "user_active", True, False),
        (store.directory.set_salesforce_id(user.id, "005A", "eve"),
         "user_salesforce_id", None, "005A"),
        (store.directory.set_time_zone(user.id, "Europe/Berlin"),
         "user_time_zone", None, "Europe/Berlin"),
        (store.directory.add_address(user.id, "*@corp.example", "eve"),
         "address_add", None, "*@corp.example"),
        (store.directory.remove_address(user.id, "*@corp.example", "eve"),
         "address_remove", "*@corp.example", None),
        (store.directory.add_exclusion("*@news.example", None, SkipKind.MAIL, "eve"),
         "exclude_add", None, ["*@news.example", "mail"]),
        (store.directory.remove_exclusion("*@news.example", None, "eve"),
         "exclude_remove", "*@news.example", None),
        (store.directory.set_setting("match.several", "oldest", "eve"),
         "setting_set", None, "oldest"),
        (store.directory.set_setting("match.several", None, "eve"),
         "setting_set", "oldest", None),
    ]  # fmt: skip
    for edit, action, old, new in edits:
        before = await store.directory.revision()
        await edit
        assert await store.directory.revision() == before + 1
        (row,) = await store.directory.audit(1)
        assert (row["action"], row["old"], row["new"]) == (action, old, new)


async def test_edits_that_change_nothing_leave_no_trace(store, user):
    """Adding what is there or setting the same value raises no revision."""
    before = await store.directory.revision()
    assert not await store.directory.add_address(user.id, "ada@corp.example", "eve")
    await store.directory.set_active(user.id, True, "eve")
    await store.directory.add_exclusion("a@b.example", user.id, SkipKind.ADDRESS, "eve")
    assert not await store.directory.add_exclusion(
        "a@b.example", user.id, SkipKind.ADDRESS, "eve"
    )
    assert await store.directory.revision() == before + 1


async def test_what_does_not_exist_is_not_found(store, user):
    """Edits of unknown users, addresses and exclusions raise NotFound."""
    calls = [
        store.directory.set_active(1 << 40, True, "x"),
        store.directory.rotate_address(1 << 40, timedelta(0), "x"),
        store.directory.add_address(1 << 40, "a@b.example", "x"),
        store.directory.remove_address(user.id, "a@b.example", "x"),
        store.directory.add_exclusion("a@b.example", 1 << 40, SkipKind.MAIL, "x"),
        store.directory.remove_exclusion("a@b.example", None, "x"),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            await call


async def test_a_rotated_address_works_for_its_grace_time(store, user, clock):
    """After a rotation both addresses work, then only the new one, unasked."""
    rotated = await store.directory.rotate_address(user.id, timedelta(days=30), "eve")
    (old,) = rotated.old_tokens
    assert (old.token, old.until) == (
        user.relay_token,
        clock.now() + timedelta(days=30),
    )
    assert rotated.relay_token != user.relay_token
    assert set((await store.directory.load()).by_token) == {
        user.relay_token,
        rotated.relay_token,
    }
    before = await store.directory.revision()
    clock.move(30 * 86400 + 1)
    assert await store.directory.revision() > before
    assert set((await store.directory.load()).by_token) == {rotated.relay_token}


async def test_a_rotation_without_grace_ends_every_old_address(store, user):
    """An address that an earlier rotation left working ends as well."""
    await store.directory.rotate_address(user.id, timedelta(days=30), "eve")
    last = await store.directory.rotate_address(user.id, timedelta(0), "eve")
    assert last.old_tokens == ()
    assert set((await store.directory.load()).by_token) == {last.relay_token}


async def test_a_later_rotation_lengthens_no_grace_time(store, user, clock):
    """What was to end in a day ends in a day."""
    first = await store.directory.rotate_address(user.id, timedelta(days=1), "eve")
    second = await store.directory.rotate_address(user.id, timedelta(days=30), "eve")
    assert [old.until - clock.now() for old in second.old_tokens] == [
        timedelta(days=1),
        timedelta(days=30),
    ]
    assert second.old_tokens[0] == first.old_tokens[0]


async def test_tokens_are_not_in_the_audit(store, user):
    """The audit of a rotation names no relay address: they are secrets."""
    rotated = await store.directory.rotate_address(user.id, timedelta(days=1), "eve")
    told = str(await store.directory.audit())
    assert user.relay_token not in told
    assert rotated.relay_token not in told


async def test_another_store_sees_the_edits(store, other, user):
    """What one process edits, another sees by the revision."""
    assert await other.directory.revision() == await store.directory.revision()
    await other.directory.add_exclusion("x@y.example", user.id, SkipKind.ADDRESS, "eve")
    directory = await store.directory.load()
    assert directory.exclusions == (
        Exclusion("x@y.example", user.id, SkipKind.ADDRESS),
    )
    assert await store.directory.exclusions() == list(directory.exclusions)


async def test_concurrent_edits_all_count(store, other, user):
    """Twenty edits from two stores at once raise the revision by twenty."""
    before = await store.directory.revision()
    await asyncio.gather(
        *(
            (store, other)[i % 2].directory.add_address(
                user.id, f"a{i}@b.example", "eve"
            )
            for i in range(20)
        )
    )
    assert await store.directory.revision() == before + 20
    assert len(await store.directory.addresses()) == 21


async def test_notes_are_remembered_without_audit(store):
    """The relay's own notes survive and are no edit."""
    before = await store.directory.revision()
    assert await store.shared.get("write_as") is None
    await store.shared.set("write_as", {"mode": "task"})
    await store.shared.set("write_as", {"mode": "email_message"})
    assert await store.shared.get("write_as") == {"mode": "email_message"}
    assert await store.directory.revision() == before
    assert await store.directory.audit() == []


async def test_settings_hold_any_json(store):
    """A setting comes back as it was set; unset ones are None."""
    await store.directory.set_setting("a", {"b": [1, None, "ü"]}, "eve")
    assert await store.directory.setting("a") == {"b": [1, None, "ü"]}
    assert await store.directory.setting("c") is None
    assert (await store.directory.load()).settings == {"a": {"b": [1, None, "ü"]}}
