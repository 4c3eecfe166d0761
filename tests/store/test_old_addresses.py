"""Addresses that an older relay kept in another spelling, after `relay db upgrade`."""

from __future__ import annotations

import secrets

import pytest
from alembic import command
from sqlalchemy import text

from relay.config import Settings
from relay.core.directory import Exclusion, Role, SkipKind, Source
from relay.core.errors import Conflict, StoreUnavailable
from relay.diagnose import people
from relay.diagnose.machine import StoreAccess
from relay.store import Store, migrate
from relay.store.schema import HEAD

STRASSE, STRAE = "eva@strasse.example", "eva@xn--strae-oqa.example"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Return the URL of a database of its own: migrations want an empty one."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/relay.db"
    return request.getfixturevalue("postgres").create("t" + secrets.token_hex(8))


class Old:
    """A store of revision 0001, while it is filled."""

    def __init__(self, connection):
        self.connection = connection

    def sql(self, statement, **values):
        self.connection.execute(text(statement), values)

    def user(self, number, email, key, *addresses):
        self.sql(
            "INSERT INTO users (id, name, email, email_key, role, active, created_at) "
            "VALUES (:id, 'Eva', :email, :key, 'rep', :yes, 0)",
            id=number, email=email, key=key, yes=True,
        )  # fmt: skip
        self.sql(
            "INSERT INTO relay_addresses (token, user_id, created_at) "
            "VALUES (:token, :id, 0)",
            token=f"log-{number}", id=number,
        )  # fmt: skip
        for address in addresses or [key]:
            self.sql(
                "INSERT INTO accepted_addresses (user_id, address, added_at, added_by) "
                "VALUES (:id, :address, 0, 'admin')",
                id=number, address=address,
            )  # fmt: skip

    def exclude(self, pattern):
        self.sql(
            "INSERT INTO exclusions (pattern, skip, added_at, added_by) "
            "VALUES (:pattern, 'mail', 0, 'admin')",
            pattern=pattern,
        )

    def message(self, user, author):
        self.sql("INSERT INTO blobs (id, size_bytes, sha256, chunks) "
                 "VALUES (:id, 1, '', 0)", id=f"b{user}{author}"[:26])  # fmt: skip
        self.sql(
            "INSERT INTO messages (id, blob_id, user_id, size_bytes, received_at, peer,"
            " helo, tls, mail_from, rcpt, header_from, header_to, subject,"
            " rfc_message_id, trace, state, reason, next_attempt_at) "
            "VALUES (:id, :id, :user, 1, 0, '', '', :no, '', '', :author, '', '', '',"
            " '[]', 'logged', '', 0)",
            id=f"b{user}{author}"[:26], user=user, no=False, author=author,
        )  # fmt: skip

    def refusal(self, user, author):
        self.sql(
            "INSERT INTO refusals (id, at, last_at, peer, mail_from, rcpt, header_from,"
            " reply, reason, user_id, detail, times, subject, rfc_message_id) "
            "VALUES (:id, 0, 0, '', '', '', :author, '', 'sender_not_accepted', :user,"
            " '', 1, '', '')",
            id=f"r{user}{author}"[:26], author=author, user=user,
        )  # fmt: skip


@pytest.fixture
async def upgraded(settings, clock, monkeypatch):
    """Return a function that fills a store of revision 0001, upgrades and opens it."""

    stores = []

    async def make(fill):
        def first(connection):
            config = migrate._config()
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
            fill(Old(connection))

        with monkeypatch.context() as patched:
            patched.setattr(migrate, "upgrade", first)
            await Store.upgrade(settings)
        assert await Store.upgrade(settings) == ("0001", HEAD)
        stores.append(await Store.open(settings, clock))
        return stores[-1]

    yield make
    for store in stores:
        await store.close()


async def edits(store):
    """Return the audit, but for the policy that an upgrade keeps."""
    rows = await store.directory.audit()
    return [row for row in rows if row["subject"] != "sender.policy"]


async def accepted(store, number=1):
    return {
        one.address: one.confirmed for one in await store.directory.addresses(number)
    }


async def test_a_typed_address_that_is_still_known_is_corrected(upgraded):
    """The user's e-mail says what was meant: the key and the list follow it."""
    store = await upgraded(
        lambda old: old.user(1, "eva@straße.example", STRASSE, STRASSE, "e@x.example")
    )
    assert await accepted(store) == {STRAE: True, "e@x.example": True}
    directory = await store.directory.load()
    assert directory.accepted[1] == {STRAE, "e@x.example"}
    assert directory.revision == 2
    setting, row = await edits(store)
    assert setting["action"] == "setting_set"
    assert (row["actor"], row["old"], row["new"]) == ("relay", STRASSE, STRAE)
    with pytest.raises(Conflict):
        await store.directory.add_user("Eva", STRAE, Role.REP, None, "admin")


async def test_what_cannot_be_decided_is_named_and_stays_in_force(upgraded):
    """Nobody knows which domain was typed: an admin adds the address again, or not."""
    store = await upgraded(
        lambda old: old.user(
            1,
            STRASSE,
            STRASSE,
            STRASSE,
            "*@fussball.example",
            "*@xn--nxasmq6b.example",
            "*@xn--11b2ezc.example",
            "*@xn--bcher-kva.example",
            "jess@corp.example",
        )
    )
    assert await accepted(store) == {
        STRASSE: False,
        "*@fussball.example": False,
        "*@xn--nxasmq6b.example": False,
        "*@xn--11b2ezc.example": False,
        "*@xn--bcher-kva.example": True,
        "jess@corp.example": True,
    }
    directory = await store.directory.load()
    assert directory.accepted[1] == set(await accepted(store))
    assert await store.directory.add_address(1, STRASSE, "admin")
    assert not await store.directory.add_address(1, STRASSE, "admin")
    await store.directory.remove_address(1, "*@fussball.example", "admin")
    assert (await accepted(store))[STRASSE]
    directory = await store.directory.load()
    assert STRASSE in directory.accepted[1]


async def test_an_address_in_use_goes_on(upgraded):
    """Mail that was taken proves the spelling; one that came in both may not send."""

    def fill(old):
        old.user(1, STRASSE, STRASSE)
        old.message(1, "Eva@Strasse.Example")
        old.user(2, "a@strasse.example", "a@strasse.example", "*@strasse.example")
        old.message(2, "a@strasse.example")
        old.message(2, "b@straße.example")
        old.user(3, "b@strasse.example", "b@strasse.example")
        old.message(3, "b@strasse.example")
        old.refusal(3, "b@xn--strae-oqa.example")
        old.user(4, "c@strasse.example", "c@strasse.example")
        old.refusal(4, "c@strasse.example")
        old.message(1, "c@strasse.example")
        old.user(5, "weiss@x.example", "weiss@x.example")
        old.message(5, "weiß@x.example")
        old.user(6, "jürgen@x.example", "jürgen@x.example")
        old.message(6, "JÜRGEN@x.example")
        old.message(6, "no address")

    store = await upgraded(fill)
    assert [[*(await accepted(store, each)).values()] for each in range(1, 7)] == [
        [True],
        [False],
        [False],
        [False],
        [False],
        [True],
    ]
    directory = await store.directory.load()
    may_send = [bool(directory.accepted[each]) for each in range(1, 7)]
    assert may_send == [True, False, False, True, False, True]
    (finding,) = await people.addresses(StoreAccess(store))
    assert "*@strasse.example for a@strasse.example (may not send)" in finding.text
    assert await store.directory.add_address(2, "*@strasse.example", "admin")
    directory = await store.directory.load()
    assert directory.accepted[2] == {"*@strasse.example"}


async def test_two_users_with_one_address_stay(upgraded):
    """A key that another user has by now is not given twice."""

    def fill(old):
        old.user(1, "eva@straße.example", STRASSE)
        old.user(2, STRAE, STRAE)

    store = await upgraded(fill)
    assert await accepted(store, 1) == {STRASSE: False}
    assert await accepted(store, 2) == {STRAE: True}


async def test_a_key_that_is_there_already_is_enough(upgraded):
    """Both spellings were on the list; one row stays, and keys of old forms follow."""
    store = await upgraded(
        lambda old: old.user(
            1,
            "e@straße.example",
            "e@strasse.example",
            "e@strasse.example",
            "e@xn--strae-oqa.example",
            "E@x。example",
            "e@x.example",
        )
    )
    assert await accepted(store) == {
        "e@xn--strae-oqa.example": True,
        "e@x.example": True,
    }


async def test_exclusions_stay_in_force(upgraded):
    """Leaving too much out of the log harms nobody; `relay check` names them."""

    def fill(old):
        old.exclude("*@strasse.example")
        old.exclude("*@x。example")
        old.exclude("a@corp.example")

    store = await upgraded(fill)
    assert await store.directory.exclusions() == [
        Exclusion("*@strasse.example", None, SkipKind.MAIL, confirmed=False),
        Exclusion("*@x.example", None, SkipKind.MAIL),
        Exclusion("a@corp.example", None, SkipKind.MAIL),
    ]
    assert await store.directory.add_exclusion(
        "*@strasse.example", None, SkipKind.MAIL, "admin"
    )
    assert all(one.confirmed for one in await store.directory.exclusions())


async def test_a_store_without_such_addresses_is_left_as_it_is(upgraded):
    """Nothing of them is written; what is internal becomes a setting."""
    store = await upgraded(lambda old: old.user(1, "ada@x.example", "ada@x.example"))
    assert await accepted(store) == {"ada@x.example": True}
    (row,) = await edits(store)
    assert row["subject"] == "match.internal_domains"
    assert await store.directory.revision() == 1


async def test_check_names_what_an_admin_is_to_decide(upgraded):
    """Each is named with the command that confirms it; then there is nothing to say."""

    def fill(old):
        old.user(1, STRASSE, STRASSE, STRASSE, "*@fussball.example")
        old.exclude("*@strasse.example")

    store = await upgraded(fill)
    access = StoreAccess(store)
    senders, left_out = await people.addresses(access)
    assert f"{STRASSE} for {STRASSE}, *@fussball.example for {STRASSE}" in senders.text
    assert f"relay address add {STRASSE} {STRASSE};" in senders.hint
    assert "*@strasse.example" in left_out.text
    assert "relay exclude add '*@strasse.example'" in left_out.hint
    await store.directory.add_address(1, STRASSE, "admin")
    await store.directory.remove_address(1, "*@fussball.example", "admin")
    await store.directory.remove_exclusion("*@strasse.example", None, "admin")
    assert await people.addresses(access) == []
    assert await people.addresses(StoreAccess(None)) == []
    assert await people.addresses(StoreAccess(None, StoreUnavailable("down"))) == []


# ---------------------------------------------------------------- internal domains


async def test_an_upgrade_keeps_what_was_internal_less_the_faults(upgraded):
    """Domains of our own stay; free mail and a former user's partner go, audited."""

    def fill(old):
        old.user(1, "ada@corp.example", "ada@corp.example", "*@corp.example")
        old.user(2, "ben@gmail.com", "ben@gmail.com", "*@gmail.com", "*@own.example")
        old.user(3, "cy@agency.example", "cy@agency.example", "*@agency.example",
                 "*@corp.example")  # fmt: skip
        old.sql("UPDATE users SET active = :no WHERE id = 3", no=False)

    store = await upgraded(fill)
    kept = ["corp.example", "own.example"]
    assert await store.directory.setting("match.internal_domains") == kept
    (row,) = await edits(store)
    assert (row["actor"], row["action"]) == ("relay", "setting_set")
    assert row["old"] == ["agency.example", "corp.example", "gmail.com", "own.example"]
    assert row["new"] == kept
    assert "*@gmail.com" in await accepted(store, 2), "who may send stays as it was"


async def test_an_upgrade_without_wildcards_makes_nobody_internal(upgraded):
    """Colleagues were looked up, and are: `auto` would have ended that unasked."""
    store = await upgraded(lambda old: old.user(1, "ada@x.example", "ada@x.example"))
    assert await store.directory.setting("match.internal_domains") == []


async def test_an_upgrade_that_changes_nothing_sets_nothing(upgraded):
    """Where the default says what held so far, the default is left in force."""
    store = await upgraded(
        lambda old: old.user(1, "ada@x.example", "ada@x.example", "*@x.example")
    )
    assert set(await store.directory.settings()) == {"sender.policy"}
    assert await edits(store) == []


async def test_an_upgrade_of_an_empty_store_sets_nothing(upgraded):
    """A new relay has the default."""
    store = await upgraded(lambda _: None)
    assert await store.directory.settings() == {}


async def test_a_store_in_use_keeps_its_rule(upgraded):
    """The list alone decided until now: the setting says so, and the audit by whom."""
    store = await upgraded(lambda old: old.user(1, STRASSE, STRASSE))
    assert await store.directory.setting("sender.policy") == "listed"
    (row,) = [
        row
        for row in await store.directory.audit()
        if row["subject"] == "sender.policy"
    ]
    assert (row["actor"], row["old"], row["new"]) == (
        "relay db upgrade",
        None,
        "listed",
    )
    (finding,) = await people.policy(Settings(), StoreAccess(store))
    assert finding.word == "warn"
    assert "relay settings set sender.policy aligned" in finding.hint


async def test_a_store_without_users_begins_with_the_settings_file(upgraded):
    """Nobody's mail is refused for it; so does a new store."""
    store = await upgraded(lambda old: None)
    assert await store.directory.settings() == {}
    (finding,) = await people.policy(Settings(), StoreAccess(store))
    assert (finding.text, finding.hint) == ("aligned", "")


async def test_an_upgrade_tells_own_addresses_from_others(upgraded):
    """What an admin added must not go when a user gets another address."""
    store = await upgraded(
        lambda old: old.user(
            1, "ada@x.example", "ada@x.example", "ada@x.example", "*@x.example"
        )
    )
    sources = {a.address: a.source for a in await store.directory.addresses(1)}
    assert sources == {"ada@x.example": Source.OWN, "*@x.example": Source.ADMIN}
