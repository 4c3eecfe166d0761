"""Accounts: sessions that end when they must, links that work once, counted tries."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from relay.core.accounts import WayIn, digest
from relay.core.directory import Role
from relay.core.errors import NotFound
from relay.core.notices import NoticeDraft, NoticeKind, NoticeUpdate
from relay.core.queue import LeaseOwner
from relay.core.states import ActivityState

IDLE = timedelta(hours=8)
LIFE = timedelta(days=7)
WINDOW = timedelta(minutes=15)


async def begin(store, user, secret, *, strong=False, agent="Firefox"):
    await store.accounts.begin(
        user.id,
        secret,
        method="password",
        strong=strong,
        life=LIFE,
        address="192.0.2.7",
        agent=agent,
    )


async def found(store, secret, idle=IDLE):
    one = await store.accounts.session(secret, idle)
    return one and one[0]


async def actions(store):
    return [row["action"] for row in await store.history.find()][1:]


async def test_a_session_is_found_by_its_secret_alone(store, user):
    """The store has a digest; the digest itself opens nothing."""
    await begin(store, user, "secret")
    session = await found(store, "secret")
    assert (session.user.id, session.strong, session.role) == (user.id, False, Role.REP)
    assert (session.address, session.agent) == ("192.0.2.7", "Firefox")
    assert await found(store, "other") is None
    assert await found(store, digest("secret")) is None
    assert "secret" not in repr(session)


async def test_it_ends_by_disuse_and_by_age(store, user, clock):
    """Use keeps it alive, but not beyond its end."""
    await begin(store, user, "idle")
    await begin(store, user, "used")
    for _ in range(14):
        clock.move(7 * 3600)
        assert await found(store, "used")
    assert await found(store, "idle") is None
    clock.move(100 * 3600)
    assert await found(store, "used") is None
    assert await store.accounts.sessions(user.id) == []


async def test_it_shows_the_user_as_they_are_now(store, user):
    """A role that was changed holds at once; who is disabled or removed is out."""
    await begin(store, user, "secret")
    await store.directory.set_role(user.id, Role.MONITOR, "test")
    session = await found(store, "secret")
    assert (session.user.role, session.role) == (Role.MONITOR, Role.REP)
    await store.directory.set_active(user.id, False, "test")
    assert await found(store, "secret") is None
    await store.directory.set_active(user.id, True, "test")
    assert await found(store, "secret") is None
    await begin(store, user, "again")
    await store.directory.remove_user(user.id, "test")
    assert await found(store, "again") is None


async def test_undoing_an_activation_signs_out(store):
    """However a user becomes disabled, the cookie is refused."""
    user = await store.directory.add_user(
        "Bob", "bob@corp.example", Role.REP, None, "test"
    )
    await store.directory.set_active(user.id, False, "test")
    await store.directory.set_active(user.id, True, "test")
    await begin(store, user, "secret")
    (*_, change) = [
        row["id"]
        for row in await store.history.find(user.id)
        if row["action"] == "user_active"
    ]
    await store.history.undo(change, "test")
    assert await found(store, "secret") is None


async def test_who_may_not_sign_in_gets_no_session(store, user):
    """One who is disabled, or is not there."""
    await store.directory.set_active(user.id, False, "test")
    with pytest.raises(NotFound, match="disabled"):
        await begin(store, user, "secret")
    await store.directory.remove_user(user.id, "test")
    with pytest.raises(NotFound):
        await begin(store, user, "secret")


async def test_a_renewed_session_has_a_new_secret(store, user, clock):
    """The old one works for the requests under way, then no more; one renews alone."""
    await begin(store, user, "old")
    session = await found(store, "old")
    done = await asyncio.gather(
        *(
            store.accounts.renew(session.id, "old", secret, Role.ADMIN)
            for secret in ("one", "two")
        )
    )
    assert sorted(done) == [False, True]
    fresh = "one" if done[0] else "two"
    assert (await found(store, fresh)).role is Role.ADMIN
    assert (await found(store, "old")).id == session.id
    clock.move(31)
    assert await found(store, "old") is None
    assert await found(store, fresh)


async def test_the_second_factor_ends_the_first_cookie_at_once(store, user):
    """What had half a sign-in before has none after; only the whole one is noted."""
    await store.factors.add_passkey(user.id, "id", "key", 0, "phone", "test")
    await begin(store, user, "half")
    assert await actions(store) == ["factor_add"]
    session = await found(store, "half")
    assert session.has_factor
    assert not session.strong
    assert await store.accounts.renew(
        session.id, "half", "whole", user.role, shown="passkey"
    )
    assert await found(store, "half") is None
    whole = await found(store, "whole")
    assert (whole.strong, whole.method) == (True, "password, passkey")
    assert await actions(store) == ["factor_add", "sign_in"]
    assert not await store.accounts.renew(
        session.id, "half", "thief", user.role, shown="passkey"
    )
    assert await found(store, "thief") is None


async def test_sessions_end_one_by_one_and_all(store, user):
    """Those of another user stay, and cannot be named."""
    other = await store.directory.add_user(
        "Bob", "bob@corp.example", Role.REP, None, "test"
    )
    for secret in ("a", "b", "c"):
        await begin(store, user, secret)
    await begin(store, other, "bob")
    ids = {secret: (await found(store, secret)).id for secret in "abc"}
    with pytest.raises(NotFound):
        await store.accounts.end_session(other.id, ids["a"], "test")
    await store.accounts.end_session(user.id, ids["a"], "test")
    assert await found(store, "a") is None
    assert await store.accounts.end_sessions(user.id, "test", keep=ids["b"]) == 1
    assert [one.id for one in await store.accounts.sessions(user.id)] == [ids["b"]]
    assert await found(store, "bob")
    assert (await actions(store))[-2:] == ["session_end", "session_end_all"]
    await store.accounts.sign_out(user.id, "bob", "test")
    assert await found(store, "bob")
    await store.accounts.sign_out(other.id, "bob", "test")
    assert await found(store, "bob") is None
    await store.accounts.sign_out(other.id, "bob", "test")
    assert (await actions(store))[-1] == "sign_out"


async def test_the_oldest_of_too_many_ends(store, user, clock, monkeypatch):
    """A script that signs in for ever fills no table."""
    monkeypatch.setattr("relay.store.accounts.MOST_SESSIONS", 3)
    for number in range(5):
        clock.move(1)
        await begin(store, user, f"s{number}")
    assert len(await store.accounts.sessions(user.id)) == 3
    assert await found(store, "s1") is None
    assert await found(store, "s2")


async def test_a_password_ends_other_sessions(store, user):
    """Who has stolen a session is out when the password changes."""
    await begin(store, user, "mine")
    await begin(store, user, "thief")
    mine = await found(store, "mine")
    await store.accounts.set_password(user.id, "hash 1", "test", keep=mine.id)
    assert await store.accounts.password(user.id) == "hash 1"
    assert await found(store, "mine")
    assert await found(store, "thief") is None
    await store.accounts.replace_hash(user.id, "hash 0", "hash 9")
    assert await store.accounts.password(user.id) == "hash 1"
    await store.accounts.replace_hash(user.id, "hash 1", "hash 2")
    assert await store.accounts.password(user.id) == "hash 2"


async def test_a_link_works_once(store, other, user):
    """Of two who use it in one moment, one alone succeeds."""
    await begin(store, user, "before")
    await store.accounts.add_link(user.id, digest("link"), timedelta(days=1), "test")
    assert (await store.accounts.link("link")).user.id == user.id
    assert await store.accounts.link(digest("link")) is None
    used = await asyncio.gather(
        store.accounts.use_link("link", "hash a"),
        other.accounts.use_link("link", "hash b"),
    )
    assert sorted(one is None for one in used) == [False, True]
    kept = await store.accounts.password(user.id)
    assert kept == ("hash a" if used[0] else "hash b")
    assert await store.accounts.link("link") is None
    assert await found(store, "before") is None
    assert await actions(store) == ["sign_in", "sign_in_link", "password_set"]


async def test_a_link_ends(store, user, clock):
    """After its time, with the next one, and with its user."""
    day = timedelta(days=1)
    ends = await store.accounts.add_link(user.id, digest("1"), day, "test")
    assert ends == clock.now() + day
    await store.accounts.add_link(user.id, digest("2"), day, "test")
    assert await store.accounts.link("1") is None
    clock.move(86_400)
    assert await store.accounts.link("2") is None
    assert await store.accounts.use_link("2", "hash") is None
    await store.accounts.add_link(user.id, digest("3"), day, "test")
    await store.directory.set_active(user.id, False, "test")
    assert await store.accounts.link("3") is None
    with pytest.raises(NotFound):
        await store.accounts.add_link(99, digest("4"), day, "test")


async def test_tries_are_counted_by_all_together(store, other, clock):
    """Two processes share one count; it begins anew after the window."""
    limits = {"account": 4, "peer": 9}
    counted = await asyncio.gather(
        *((store, other)[n % 2].accounts.take_try(limits, WINDOW) for n in range(6))
    )
    passed = sorted(number for wait, number in counted if not wait)
    assert passed == [1, 2, 3, 4]
    assert {wait for wait, number in counted if wait} == {901}
    # What was refused did not count for the peer.
    wait, _ = await other.accounts.take_try({"peer": 5}, WINDOW)
    assert not wait
    clock.move(901)
    assert await store.accounts.take_try(limits, WINDOW) == (0, 1)


async def test_a_right_try_is_given_back(store):
    """Who signs in often is no guesser."""
    for _ in range(5):
        assert (await store.accounts.take_try({"a": 2}, WINDOW))[0] == 0
        await store.accounts.give_back(["a", "b"])


async def test_a_failure_is_in_the_history(store, user):
    """With from where it came, and no word of what was tried."""
    await store.accounts.note_failure(user.id, "password", "192.0.2.9")
    (row,) = await store.history.find(user.id, change="sign_in_failed")
    assert row["after"] == {"by": "password", "from": "192.0.2.9"}


async def test_what_has_ended_is_removed(store, user, clock):
    """Rows of sessions, links and tries do not pile up."""
    await begin(store, user, "secret")
    await store.accounts.add_link(user.id, digest("1"), LIFE, "test")
    await store.accounts.take_try({"a": 1}, LIFE)
    assert await store.accounts.purge() == 0
    clock.move(7 * 86_400)
    assert await store.accounts.purge() == 1
    assert (await store.accounts.take_try({"a": 1}, WINDOW)) == (0, 1)


async def way(store, user):
    found = (await store.accounts.invitations(user.id)).get(user.id)
    return found and found.state.value


def mail_of(user):
    """Return what makes the notice with a link, as an invitation does."""
    return lambda ends: NoticeDraft(
        NoticeKind.SIGN_IN_LINK, user.email, user_id=user.id, facts={"url": f"{ends}"}
    )


async def test_how_far_a_user_is_on_the_way_in(store, user, clock):
    """Not invited, invited, the link expired, invited again, signed in for good."""
    day = timedelta(days=1)
    assert await way(store, user) is None
    ends = await store.accounts.add_link(user.id, digest("1"), day, "root")
    (one,) = (await store.accounts.invitations()).values()
    assert (one.state, one.invited_by, one.mail) == (WayIn.INVITED, "root", None)
    assert (one.invited_at, one.link_ends_at) == (clock.now(), ends)
    clock.move(86_401)
    assert await way(store, user) == "link_expired"
    await store.accounts.purge()
    assert await way(store, user) == "link_expired"
    await store.accounts.add_link(user.id, digest("2"), day, "root")
    assert await way(store, user) == "invited"
    await store.directory.set_active(user.id, False, "root")
    assert await way(store, user) == "link_expired"
    await store.directory.set_active(user.id, True, "root")
    await begin(store, user, "secret")
    (one,) = (await store.accounts.invitations()).values()
    assert (one.state, one.signed_in_at) == (WayIn.SIGNED_IN, clock.now())
    clock.move(86_400 * 30)
    await store.accounts.purge()
    await store.accounts.add_link(user.id, digest("3"), day, "root")
    assert await way(store, user) == "signed_in"
    await store.directory.remove_user(user.id, "root")
    assert await store.accounts.invitations() == {}


async def test_a_link_and_its_mail_are_kept_together(store, user, clock):
    """The mail is a notice, whose way to the smarthost shows; the history names it."""
    day = timedelta(days=1)
    await store.accounts.add_link(user.id, digest("1"), day, "root", mail_of(user))
    one = (await store.accounts.invitations(user.id))[user.id]
    assert (one.state, one.mail, one.mail_error) == (WayIn.INVITED, "planned", "")
    (notice,) = await store.notices.find()
    assert (notice.recipient, notice.kind) == (user.email, NoticeKind.SIGN_IN_LINK)
    owner = LeaseOwner("host", "boot", 1, "1")
    (claimed,) = await store.notices.claim(owner, 5, 60)
    refused = NoticeUpdate(claimed.key, ActivityState.REFUSED, "550 no such mailbox")
    await store.notices.settle(owner, [refused])
    one = (await store.accounts.invitations(user.id))[user.id]
    assert (one.mail, one.mail_error) == ("refused", "550 no such mailbox")
    (row,) = await store.history.find(user.id, change="sign_in_link")
    assert row["after"] == {"mailed_to": user.email}
    with pytest.raises(NotFound):
        await store.accounts.add_link(99, digest("2"), day, "root", mail_of(user))
    assert len(await store.notices.find()) == 1
