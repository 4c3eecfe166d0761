"""The history of edits, and taking one back, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.core.directory import Role, SkipKind, Source
from relay.core.errors import Conflict, NotFound
from relay.store.history import can_undo


async def last(store):
    """Return the newest change."""
    (row,) = await store.history.find(limit=1)
    return row


async def state(store):
    """Return everything that an edit can change, but for the revision."""
    directory = await store.directory.load()
    return (
        directory.users,
        directory.accepted,
        directory.delegates,
        directory.exclusions,
        directory.settings,
    )


EDITS = {
    "user_name": lambda d, u: d.rename(u.id, "Countess", "eve"),
    "user_active": lambda d, u: d.set_active(u.id, False, "eve"),
    "user_role": lambda d, u: d.set_role(u.id, Role.ADMIN, "eve"),
    "user_salesforce_id": lambda d, u: d.set_salesforce_id(u.id, "005B", "eve"),
    "user_time_zone": lambda d, u: d.set_time_zone(u.id, "Europe/Rome"),
    "user_language": lambda d, u: d.set_language(u.id, "sv", "eve"),
    "user_notify": lambda d, u: d.set_notify(u.id, "all", "eve"),
    "user_email": lambda d, u: d.set_email(u.id, "al@corp.example", "eve"),
    "address_add": lambda d, u: d.add_address(u.id, "*@corp.example", "eve"),
    "address_add by a delegate": lambda d, u: d.add_address(
        u.id, "carol@corp.example", "eve", delegate="Carol"
    ),
    "address_add of another delegate": lambda d, u: d.add_address(
        u.id, "old@corp.example", "eve", delegate="Dan"
    ),
    "address_remove": lambda d, u: d.remove_address(u.id, "old@corp.example", "eve"),
    "exclude_add": lambda d, u: d.add_exclusion(
        "*@news.example", u.id, SkipKind.MAIL, "eve"
    ),
    "exclude_add in another way": lambda d, _: d.add_exclusion(
        "*@law.example", None, SkipKind.MAIL, "eve"
    ),
    "exclude_remove": lambda d, _: d.remove_exclusion("*@law.example", None, "eve"),
    "setting_set": lambda d, _: d.set_setting("match.several", "oldest", "eve"),
    "user_remove": lambda d, u: d.remove_user(u.id, "eve"),
}


@pytest.fixture
async def begun(store, user):
    """Return Ada with an address of a delegate and an exclusion beside it."""
    await store.directory.add_address(
        user.id, "old@corp.example", "root", delegate="Carol"
    )
    await store.directory.add_exclusion("*@law.example", None, SkipKind.ADDRESS, "root")
    return user


@pytest.mark.parametrize("name", EDITS)
async def test_each_change_can_be_taken_back(store, begun, name):
    """Everything is as it was, and the history has both, each with its author."""
    before = await state(store)
    await EDITS[name](store.directory, begun)
    change = await last(store)
    assert change["action"] == name.split()[0]
    assert await state(store) != before
    revision = await store.directory.revision()
    assert await store.history.undo(change["id"], "root")
    assert await state(store) == before
    assert await store.directory.revision() == revision + 1
    undo = await last(store)
    assert (undo["actor"], undo["undoes"]) == ("root", change["id"])
    rows = await store.history.find()
    (row,) = (one for one in rows if one["id"] == change["id"])
    assert row["undone_by"] == undo["id"]
    with pytest.raises(Conflict, match=f"by change {undo['id']}"):
        await store.history.undo(change["id"], "root")


@pytest.mark.parametrize("name", [n for n in EDITS if n != "user_remove"])
async def test_an_undo_can_be_taken_back(store, begun, name):
    """It is a change like any other."""
    await EDITS[name](store.directory, begun)
    after = await state(store)
    for _ in range(2):
        await store.history.undo((await last(store))["id"], "root")
    assert await state(store) == after


async def test_a_new_user_is_removed_by_an_undo(store, user):
    """And a user who was brought back is removed again."""
    await store.history.undo((await last(store))["id"], "root")
    assert await store.directory.users() == []
    await store.history.undo((await last(store))["id"], "root")
    assert [one.name for one in await store.directory.users()] == ["Ada"]
    await store.history.undo((await last(store))["id"], "root")
    assert await store.directory.users() == []


async def test_a_user_who_was_changed_since_is_not_undone(store, user):
    """What was taken back does not count; the error names what does."""
    (added,) = await store.history.find()
    await store.directory.rename(user.id, "Countess", "eve")
    renamed = await last(store)
    await store.directory.rotate_address(user.id, timedelta(0), "eve")
    rotated = await last(store)
    await store.history.undo(renamed["id"], "root")
    with pytest.raises(Conflict, match=f"change {rotated['id']}, user rotate"):
        await store.history.undo(added["id"], "root")
    ben = await store.directory.add_user("Ben", "b@corp.example", Role.REP, None, "x")
    added = await last(store)
    await store.directory.rename(ben.id, "Benjamin", "eve")
    await store.history.undo((await last(store))["id"], "root")
    assert "removed" in await store.history.undo(added["id"], "root")


async def test_who_comes_back_has_the_newest_relay_address(store, user, clock):
    """An address that was rotated away stays ended: it may have leaked."""
    clock.move(60)
    rotated = await store.directory.rotate_address(user.id, timedelta(days=9), "eve")
    await store.directory.remove_user(user.id, "eve")
    await store.history.undo((await last(store))["id"], "root")
    back = await store.directory.find_user("Ada")
    assert back.relay_token == rotated.relay_token
    assert back.old_tokens == ()
    directory = await store.directory.load()
    assert directory.ended_tokens == {user.relay_token: user.id}


MOVED_ON = [
    ("rename", ("First",), ("Second",)),
    ("set_role", (Role.ADMIN,), (Role.MONITOR,)),
    ("set_email", ("a1@corp.example",), ("a2@corp.example",)),
]


@pytest.mark.parametrize(("edit", "first", "second"), MOVED_ON)
async def test_what_was_changed_since_is_left_alone(store, user, edit, first, second):
    """The error names what is there now; nothing is changed."""
    await getattr(store.directory, edit)(user.id, *first, "eve")
    change = await last(store)
    await getattr(store.directory, edit)(user.id, *second, "eve")
    before = await state(store)
    with pytest.raises(Conflict, match=f"is {second[0]} now.*changed since"):
        await store.history.undo(change["id"], "root")
    assert await state(store) == before


async def test_addresses_and_rules_that_moved_on_are_left_alone(store, user):
    """An address that went, another exclusion and another setting since."""
    add, remove = store.directory.add_address, store.directory.remove_address
    await add(user.id, "x@corp.example", "eve")
    added = (await last(store))["id"]
    await remove(user.id, "x@corp.example", "eve")
    removed = (await last(store))["id"]
    with pytest.raises(Conflict, match="not accepted now"):
        await store.history.undo(added, "root")
    await add(user.id, "x@corp.example", "eve", delegate="Carol")
    with pytest.raises(Conflict, match="Carol"):
        await store.history.undo(removed, "root")
    await store.directory.add_exclusion("*@x.example", None, SkipKind.MAIL, "eve")
    excluded = (await last(store))["id"]
    await store.directory.remove_exclusion("*@x.example", None, "eve")
    with pytest.raises(Conflict, match="not left out now"):
        await store.history.undo(excluded, "root")
    await store.directory.set_setting("match.several", "oldest", "eve")
    setting = (await last(store))["id"]
    await store.directory.set_setting("match.several", "all", "eve")
    with pytest.raises(Conflict, match="is all now, and not oldest"):
        await store.history.undo(setting, "root")


async def test_an_address_that_another_user_has_by_now_is_not_given_back(store, user):
    """Neither by an undone change of address, nor with a user who comes back."""
    await store.directory.set_email(user.id, "al@corp.example", "eve")
    moved = (await last(store))["id"]
    await store.directory.add_user("Ben", "ada@corp.example", Role.REP, None, "eve")
    with pytest.raises(Conflict, match=r"another user has the address ada@corp"):
        await store.history.undo(moved, "root")
    await store.directory.remove_user(user.id, "eve")
    gone = (await last(store))["id"]
    await store.directory.add_user("Cy", "al@corp.example", Role.REP, None, "eve")
    with pytest.raises(Conflict, match="another user has the address al@"):
        await store.history.undo(gone, "root")


async def test_an_address_that_sends_for_another_by_now_is_not_given_back(
    store, user, clock
):
    """Neither alone, nor as the user's own, nor with a user who comes back."""
    directory = store.directory
    ben = await directory.add_user("Ben", "ben@corp.example", Role.REP, None, "eve")
    await directory.add_address(user.id, "box@corp.example", "eve")
    await directory.remove_address(user.id, "box@corp.example", "eve")
    alone = (await last(store))["id"]
    await directory.set_email(user.id, "al@corp.example", "eve")
    own = (await last(store))["id"]
    clock.move(1)
    await directory.add_address(ben.id, "box@corp.example", "eve")
    await directory.add_address(ben.id, "ada@corp.example", "eve")
    before = await state(store)
    for change in (alone, own):
        with pytest.raises(Conflict, match="sends for another user by now"):
            await store.history.undo(change, "root")
    assert await state(store) == before
    await directory.remove_user(user.id, "eve")
    gone = (await last(store))["id"]
    clock.move(1)
    await directory.add_address(ben.id, "al@corp.example", "eve")
    with pytest.raises(Conflict, match="sends for another user by now"):
        await store.history.undo(gone, "root")


async def test_an_address_that_is_shared_can_be_given_back(store, user, clock):
    """It sent for both before the change."""
    directory = store.directory
    ben = await directory.add_user("Ben", "ben@corp.example", Role.REP, None, "eve")
    for one in (user, ben):
        await directory.add_address(one.id, "box@corp.example", "eve")
    clock.move(1)
    before = await state(store)
    await directory.remove_address(user.id, "box@corp.example", "eve")
    assert await store.history.undo((await last(store))["id"], "root")
    assert await state(store) == before


async def test_an_alias_that_became_the_own_address_stays_an_alias(store, user):
    """It was on the list before the change that is taken back."""
    await store.directory.add_address(user.id, "al@corp.example", "eve")
    before = await state(store)
    await store.directory.set_email(user.id, "al@corp.example", "eve")
    words = await store.history.undo((await last(store))["id"], "root")
    assert words.endswith("al@corp.example may send on")
    assert await state(store) == before


async def test_changes_of_a_removed_user_wait_for_them(store, user):
    """The error says what to take back first; a second return finds nothing to do."""
    await store.directory.rename(user.id, "Countess", "eve")
    renamed = (await last(store))["id"]
    await store.directory.remove_user(user.id, "eve")
    removed = (await last(store))["id"]
    with pytest.raises(Conflict, match="removed since"):
        await store.history.undo(renamed, "root")
    await store.history.undo(removed, "root")
    assert await store.history.undo(renamed, "root")


async def test_secrets_cannot_be_brought_back(store, user):
    """The error says what helps instead."""
    await store.directory.rotate_address(user.id, timedelta(days=1), "eve")
    with pytest.raises(Conflict, match="relay user rotate"):
        await store.history.undo((await last(store))["id"], "root")
    await store.credentials.add_app_password(user.id, "phone", "hash", "eve")
    assert "phone" in await store.history.undo((await last(store))["id"], "root")
    assert await store.credentials.app_passwords() == []
    with pytest.raises(Conflict, match="digest"):
        await store.history.undo((await last(store))["id"], "root")
    await store.credentials.add_app_password(user.id, "phone", "hash", "eve")
    made = (await last(store))["id"]
    await store.credentials.remove_app_password(user.id, "phone", "eve")
    with pytest.raises(Conflict, match="no app password 'phone' any more"):
        await store.history.undo(made, "root")
    await store.credentials.add_api_token("crm", "digest", None, "eve")
    with pytest.raises(Conflict, match="relay token remove"):
        await store.history.undo((await last(store))["id"], "root")


async def test_unknown_changes_are_not_found(store):
    """And nothing is written for them."""
    before = await store.directory.revision()
    with pytest.raises(NotFound, match="no change 77"):
        await store.history.undo(77, "root")
    assert await store.directory.revision() == before


async def test_the_history_of_one_user(store, user, clock):
    """It follows the user, whatever their address was and is; names are stable."""
    await store.directory.set_email(user.id, "al@corp.example", "eve")
    ben = await store.directory.add_user("Ben", "b@corp.example", Role.REP, None, "x")
    await store.directory.set_setting("match.several", "oldest", "eve")
    rows = await store.history.find(user.id)
    assert [row["action"] for row in rows] == ["user_add", "user_email"]
    assert {row["user"] for row in rows} == {"al@corp.example"}
    assert list(rows[1]) == [
        *("id", "at", "actor", "action", "user"),
        *("before", "after", "undoes", "undone_by", "undoable"),
    ]
    assert [row["user"] for row in await store.history.find(ben.id)] == [ben.email]
    assert (await last(store))["user"] == "match.several"
    clock.move(60)
    await store.directory.rename(user.id, "Countess", "eve")
    rows = await store.history.find(since=clock.now())
    assert [row["after"] for row in rows] == ["Countess"]
    assert [row["id"] for row in await store.history.find(limit=2)] == [
        row["id"] for row in (await store.history.find())[-2:]
    ]


# ---------------------------------------------------------------- Salesforce


async def test_addresses_follow_salesforce_in_one_edit(store, user):
    """What came from there goes; what an admin added stays, whatever is asked."""
    d = store.directory
    steps = [(user.id, "a@sf.example", True), (user.id, "b@sf.example", True)]
    assert await d.follow_salesforce(steps, "timer") == 2
    assert await d.follow_salesforce(steps, "timer") == 0
    sources = {one.address: one.source for one in await d.addresses(user.id)}
    assert sources["a@sf.example"] is Source.SALESFORCE
    await d.add_address(user.id, "mine@corp.example", "eve")
    steps = [
        (user.id, "a@sf.example", False),
        (user.id, "mine@corp.example", False),
        (user.id, "ada@corp.example", False),
        (user.id, "never@corp.example", False),
    ]
    assert await d.follow_salesforce(steps, "timer") == 1
    assert (await last(store))["before"] == {
        "address": "a@sf.example",
        "source": "salesforce",
        "delegate": "",
    }
    assert (await store.directory.load()).accepted[user.id] == {
        *("ada@corp.example", "b@sf.example", "mine@corp.example"),
    }
    await store.history.undo((await last(store))["id"], "root")
    sources = {one.address: one.source for one in await d.addresses(user.id)}
    assert sources["a@sf.example"] is Source.SALESFORCE


async def test_of_an_import_all_or_nothing_is_done(store, user):
    """A user who was removed meanwhile undoes the whole."""
    steps = [(user.id, "a@sf.example", True), (1 << 40, "b@sf.example", True)]
    with pytest.raises(NotFound):
        await store.directory.follow_salesforce(steps, "timer")
    assert "a@sf.example" not in (await store.directory.load()).accepted[user.id]


# ---------------------------------------------------------------- delegates, rules


async def test_delegates_are_known_by_their_address(store, user):
    """An exact entry names them; who is not named is the user."""
    await store.directory.add_address(
        user.id, "office@gmail.com", "eve", delegate="Carol"
    )
    directory = await store.directory.load()
    assert directory.delegates == {user.id: {"office@gmail.com": "Carol"}}
    assert directory.delegate_of(user.id, "off.ice+x@gmail.com") == "Carol"
    assert directory.delegate_of(user.id, "ada@corp.example") == ""
    assert directory.delegate_of(1 << 40, "office@gmail.com") == ""


async def test_rules_for_addresses_are_a_setting(store, user):
    """A running relay reads lists by the new rules with its next look."""
    key = "ada+crm@corp.example"
    accepted = (await store.directory.load()).accepted[user.id]
    assert accepted.rules.mailbox(key) == key
    await store.directory.set_setting(
        "user.address_rules", ["corp.example: plus"], "eve"
    )
    directory = await store.directory.load()
    assert directory.accepted[user.id].rules.mailbox(key) == "ada@corp.example"


def test_what_can_be_taken_back_is_known_before():
    """Each edit that has an undo; neither secrets nor what is in Salesforce."""
    for name in ("user_name", "user_add", "address_remove", "unmatched_resolve"):
        assert can_undo(name)
    for name in (
        "user_rotate",
        "record_create",
        "history_export",
        "app_password_remove",
    ):
        assert not can_undo(name)
