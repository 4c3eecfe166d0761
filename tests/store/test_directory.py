"""Users, addresses, exclusions and settings: edits, their revision and their audit."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest

from relay.core.directory import AddressUse, Exclusion, Role, SkipKind
from relay.core.errors import Conflict, NotFound
from tests.store.conftest import PATIENT


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
        (store.directory.rename(user.id, "Ada Byron", "eve"),
         "user_name", "Ada", "Ada Byron"),
        (store.directory.set_email(user.id, "ab@corp.example", "eve"),
         "user_email", {"email": "ada@corp.example"},
         {"email": "ab@corp.example", "keep_old": False}),
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
         "exclude_remove", ["*@news.example", "mail"], None),
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
        store.directory.rename(1 << 40, "X", "x"),
        store.directory.set_email(1 << 40, "x@b.example", "x"),
        store.directory.remove_user(1 << 40, "x"),
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


async def test_an_ended_address_stays_known(store, user, clock):
    """Late mail to it is refused, and shown under the user it was for."""
    rotated = await store.directory.rotate_address(user.id, timedelta(days=1), "eve")
    assert (await store.directory.load()).ended_tokens == {}
    clock.move(86400)
    await store.directory.revision()
    directory = await store.directory.load()
    assert directory.ended_tokens == {user.relay_token: user.id}
    assert directory.users[user.id].old_tokens == ()
    assert set(directory.by_token) == {rotated.relay_token}
    before = directory.revision
    assert await store.directory.revision() == before, "it is ended once"


async def test_uses_of_relay_addresses_add_up(store, other, user, clock):
    """Of several processes, for each address; a count is no edit."""
    rotated = await store.directory.rotate_address(user.id, timedelta(days=1), "eve")
    before = await store.directory.revision()
    first, second = clock.now(), clock.now() + timedelta(minutes=5)
    await store.directory.count_uses(
        {
            user.relay_token: AddressUse(2, 1, first, first),
            rotated.relay_token: AddressUse(refused=1, refused_at=first),
            "log-unknown": AddressUse(accepted=1, accepted_at=first),
        }
    )
    await other.directory.count_uses({user.relay_token: AddressUse(1, 0, second)})
    current, old = await store.directory.relay_addresses(user.id)
    assert (current.token, current.until, current.ended) == (
        rotated.relay_token,
        None,
        False,
    )
    assert (current.accepted, current.refused) == (0, 1)
    assert (old.accepted, old.refused) == (3, 1)
    assert (old.accepted_at, old.refused_at) == (second, first)
    assert old.until == first + timedelta(days=1)
    assert await store.directory.revision() == before


async def test_a_user_gets_another_address_of_their_own(store, user):
    """The new one may send, the former one no longer, unless it is kept."""
    changed = await store.directory.set_email(user.id, "ab@corp.example", "eve")
    assert changed.email == "ab@corp.example"
    assert changed.relay_token == user.relay_token
    assert (await store.directory.load()).accepted[user.id] == {"ab@corp.example"}
    await store.directory.set_email(user.id, "a@new.example", "eve", keep_old=True)
    directory = await store.directory.load()
    assert directory.accepted[user.id] == {"ab@corp.example", "a@new.example"}
    assert await store.directory.find_user("a@new.example")
    before = await store.directory.revision()
    await store.directory.set_email(user.id, "a@new.example", "eve")
    assert await store.directory.revision() == before


async def test_a_changed_spelling_keeps_the_accepted_address(store, user):
    """`Ada@` and `ada@` are one address, which must not be taken off the list."""
    await store.directory.set_email(user.id, "ADA@corp.example", "eve")
    directory = await store.directory.load()
    assert directory.users[user.id].email == "ADA@corp.example"
    assert directory.accepted[user.id] == {"ada@corp.example"}


async def test_an_address_of_another_user_is_not_taken_over(store, user):
    """Neither when it is changed to, in any spelling; nothing is changed."""
    ben = await store.directory.add_user("Ben", "b@corp.example", Role.REP, None, "x")
    with pytest.raises(Conflict):
        await store.directory.set_email(ben.id, "ADA@corp.example", "eve")
    directory = await store.directory.load()
    assert directory.users[ben.id] == ben
    assert directory.accepted[ben.id] == {"b@corp.example"}


async def test_a_removed_user_leaves_the_messages(store, user, put):
    """Everything that lets mail in ends; messages and their owner stay."""
    (message,) = await put()
    await store.directory.rotate_address(user.id, timedelta(days=9), "eve")
    await store.directory.add_exclusion("*@x.example", user.id, SkipKind.MAIL, "eve")
    await store.credentials.add_app_password(user.id, "phone", "hash", "eve")
    await store.credentials.add_api_token("crm", "digest", user.id, "eve")
    removed = await store.directory.remove_user(user.id, "eve")
    assert removed.email == user.email
    directory = await store.directory.load()
    gone = directory.users[user.id]
    assert (gone.name, gone.email, gone.active) == ("Ada", "ada@corp.example", False)
    assert gone.removed_at is not None
    assert gone.relay_token == ""
    assert gone.old_tokens == ()
    assert directory.by_token == {}
    assert set(directory.ended_tokens.values()) == {user.id}
    assert len(directory.ended_tokens) == 2
    assert directory.accepted == {user.id: frozenset()}
    assert directory.app_passwords == {}
    assert len(directory.exclusions) == 1, "they hold for mail that waits"
    assert await store.credentials.api_tokens() == []
    assert (await store.log.show(message))["user"] == "ada@corp.example"
    (row,) = await store.directory.audit(1)
    assert (row["action"], row["new"]) == ("user_remove", None)
    own = {"address": "ada@corp.example", "source": "own", "delegate": ""}
    assert row["old"]["accepted"] == [own]


async def test_a_removed_user_is_found_only_when_asked_for(store, user):
    """The address is free; who has it now comes before who had it."""
    await store.directory.remove_user(user.id, "eve")
    assert await store.directory.users() == []
    with pytest.raises(NotFound):
        await store.directory.find_user("Ada")
    assert (await store.directory.find_user("Ada", removed=True)).id == user.id
    for edit in (
        store.directory.remove_user(user.id, "eve"),
        store.directory.set_active(user.id, True, "eve"),
        store.directory.rotate_address(user.id, timedelta(0), "eve"),
    ):
        with pytest.raises(NotFound):
            await edit
    new = await store.directory.add_user("Ada", user.email, Role.REP, None, "eve")
    assert new.id != user.id
    assert await store.directory.find_user(user.email, removed=True) == new
    assert [one.id for one in await store.directory.users(removed=True)] == [
        user.id,
        new.id,
    ]


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


@pytest.mark.parametrize("settings", [PATIENT], indirect=True, ids=["patient"])
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


async def test_a_user_is_activated_once(store, clock):
    """Without `activate` the address accepts no mail; a later switch keeps the day."""
    user = await store.directory.add_user(
        "Ada", "ada@corp.example", Role.REP, None, "root", activate=False
    )
    assert (user.active, user.activated_at, user.state) == (
        False,
        None,
        "not activated",
    )
    first = clock.now()
    user = await store.directory.set_active(user.id, True, "root")
    assert (user.active, user.activated_at, user.state) == (True, first, "active")
    clock.move(60)
    user = await store.directory.set_active(user.id, False, "root")
    assert (user.activated_at, user.state) == (first, "disabled")
    user = await store.directory.set_active(user.id, True, "root")
    assert user.activated_at == first


async def test_who_changed_a_setting_last(store, clock):
    """Nobody yet, and then the latest; other settings do not count."""
    assert await store.directory.setting_changed("active") is None
    await store.directory.set_setting("active", False, "eve")
    clock.move(60)
    await store.directory.set_setting("active", True, "root")
    await store.directory.set_setting("match.several", "all", "eve")
    changed = await store.directory.setting_changed("active")
    assert changed == (clock.now(), "root")


async def test_the_switch_of_the_org_is_in_the_directory(store):
    """On until it is switched off: an upgrade stays on."""
    assert (await store.directory.load()).logging_is_on
    await store.directory.set_setting("active", False, "root")
    assert not (await store.directory.load()).logging_is_on
    await store.directory.set_setting("active", True, "root")
    assert (await store.directory.load()).logging_is_on
