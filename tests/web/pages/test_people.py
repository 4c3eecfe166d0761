"""The pages of people: who sees whom, edits, addresses, undo."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from relay.config import load
from relay.core.clock import SystemClock
from relay.core.directory import Role, Source
from relay.store import Store
from tests.cli.conftest import CONFIG
from tests.cli.test_user_import import MAIL
from tests.web.pages.conftest import Console
from tests.web.pages.people import HOSTILE, add

pytestmark = pytest.mark.timeout(60)


async def user(console, number):
    """Return a user as the store has them."""
    every = await console.store.directory.users(removed=True)
    return next(one for one in every if one.id == number)


async def undo(console, who, path):
    """Press the button of the page that follows an edit."""
    told = await console.get(path, who)
    where = re.search(r'action="(/history/[\d-]+/undo)"', told.text)[1]
    answer = await console.post(where, who, data={})
    assert answer.status_code == 303
    return told


def form_of(one, **more):
    """Return the form of a user as the page shows it."""
    return {
        "name": one.name,
        "email": one.email,
        "role": one.role.value,
        "salesforce_id": "",
        "time_zone": "",
        "notify": "",
        "language": "",
    } | more


async def test_who_sees_whom(console):
    """A rep the own page alone, by number or address; the team everybody."""
    store = console.store
    root = await add(store, "Root", Role.ADMIN)
    mona = await add(store, "Mona", Role.MONITOR)
    ada, bob = await add(store, "Ada"), await add(store, "Bob")
    own = await console.get("/people", ada)
    assert own.headers["location"] == f"/people/{ada.user.id}"
    mine = await console.get(f"/people/{ada.user.id}", ada)
    assert ada.user.relay_token in mine.text
    assert 'id="edit"' not in mine.text
    for ident in (bob.user.id, "bob@corp.example", 4711):
        assert (await console.get(f"/people/{ident}", ada)).status_code == 403
    assert (await console.get("/people/4711", root)).status_code == 404
    seen = await console.get(f"/people/{bob.user.id}", mona)
    assert bob.user.relay_token not in seen.text
    assert 'id="edit"' not in seen.text
    edited = await console.get(f"/people/{bob.user.id}", root)
    assert bob.user.relay_token in edited.text
    assert 'id="edit"' in edited.text
    for path in ("claims", "claims/prove"):
        where = f"/people/{bob.user.id}/{path}"
        form = {"address": "x@y.example", "code": "x"}
        assert (await console.post(where, ada, data=form)).status_code == 403
        assert (await console.post(where, mona, data=form)).status_code == 403


async def test_the_list_filters(console):
    """By text, role, state and silence; what is no time is told."""
    store = console.store
    root, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    bob = await add(store, "Bob")
    await store.directory.set_active(bob.user.id, False, "test")
    gone = await add(store, "Gone")
    await store.directory.remove_user(gone.user.id, "test")

    async def listed(**asked):
        page = await console.get("/people", root, params=asked)
        return {int(one) for one in re.findall(r'href="/people/(\d+)"', page.text)}

    everybody = {root.user.id, ada.user.id, bob.user.id}
    assert await listed() == everybody
    assert await listed(q="AD") == {ada.user.id}
    assert await listed(role="admin") == {root.user.id}
    assert await listed(state="disabled") == {bob.user.id}
    assert await listed(removed="on") == everybody | {gone.user.id}
    assert await listed(silent="14d") == set()
    told = await console.get("/people", root, params={"silent": "soon"})
    assert 'role="alert"' in told.text


async def test_a_user_is_added_and_taken_back(console):
    """What speaks against the address is asked first, with the form kept."""
    store = console.store
    root = await add(store, "Root", Role.ADMIN)
    form = {"name": "Kim", "email": "kim@corp.example", "role": "rep", "activate": "on"}
    added = await console.post("/people/new", root, data=form)
    (kim,) = [u for u in await store.directory.users() if u.name == "Kim"]
    assert added.headers["location"] == f"/people/{kim.id}"
    assert kim.active
    await undo(console, root, f"/people/{kim.id}")
    assert (await user(console, kim.id)).removed_at
    twice = await console.post("/people/new", root, data=form | {"email": "x"})
    assert twice.headers["location"] == "/people/new"
    told = await console.get("/people/new", root)
    assert 'role="alert"' in told.text
    odd = form | {"email": "kim@c\u043erp.example"}
    asked = await console.post("/people/new", root, data=odd)
    assert asked.status_code == 200
    assert "speaks against it" in asked.text
    assert 'name="name" value="Kim"' in asked.text
    assert len(await store.directory.users()) == 1
    await console.post("/people/new", root, data=odd | {"confirm": "on"})
    assert len(await store.directory.users()) == 2


async def test_a_user_is_edited_in_place(console):
    """What is as it was stays; several edits are taken back together."""
    store = console.store
    root, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    where, one = f"/people/{ada.user.id}", ada.user
    nothing = await console.post(where, root, data=form_of(one))
    assert nothing.status_code == 303
    assert await store.history.find(by=root.name) == []
    change = form_of(one, name="Ada B.", time_zone="Europe/Madrid", role="monitor")
    await console.post(where, root, data=change | {"language": "es"})
    now = await user(console, one.id)
    assert (now.name, now.time_zone, now.role) == ("Ada B.", "Europe/Madrid", "monitor")
    assert now.language == "es"
    await undo(console, root, where)
    now = await user(console, one.id)
    assert (now.name, now.time_zone, now.role) == ("Ada", None, "rep")
    for wrong in ({"time_zone": "Mars/Base"}, {"role": "king"}, {"notify": "much"}):
        await console.post(where, root, data=form_of(one, **wrong))
        assert 'role="alert"' in (await console.get(where, root)).text
    assert (await user(console, one.id)).time_zone is None


async def test_disabling_and_removing_say_what_follows(console):
    """Removing asks first; nobody removes themselves."""
    store = console.store
    root, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    where = f"/people/{ada.user.id}"
    await console.post(f"{where}/active", root, data={"active": "off"})
    assert not (await user(console, ada.user.id)).active
    await console.post(f"{where}/active", root, data={"active": "on"})
    asked = await console.post(f"{where}/remove", root, data={})
    assert "app passwords and API tokens of the user end" in asked.text
    assert (await user(console, ada.user.id)).removed_at is None
    await console.post(f"{where}/remove", root, data={"confirm": "on"})
    assert (await user(console, ada.user.id)).removed_at
    await undo(console, root, where)
    assert (await user(console, ada.user.id)).removed_at is None
    await console.post(f"{where}/remove", root, data={"confirm": "on"})
    again = await console.post(f"{where}/remove", root, data={"confirm": "on"})
    assert again.status_code == 404
    own = await console.post(
        f"/people/{root.user.id}/remove", root, data={"confirm": "on"}
    )
    assert own.status_code == 303
    assert (await user(console, root.user.id)).removed_at is None


async def test_accepted_addresses_and_delegates(console):
    """Concerns are asked, states and sources shown, each edit taken back."""
    store = console.store
    root, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    bob = await add(store, "Bob")
    where = f"/people/{ada.user.id}"
    form = {"address": "assistant@corp.example", "delegate": "Sam"}
    await console.post(f"{where}/addresses", root, data=form)
    shown = await console.get(where, root)
    assert "assistant@corp.example" in shown.text
    assert "Sam" in shown.text
    again = await console.post(f"{where}/addresses", root, data=form)
    assert "already" in (await console.get(again.headers["location"], root)).text
    asked = await console.post(
        f"{where}/addresses", root, data={"address": "bob@corp.example"}
    )
    assert "is the address of Bob" in asked.text
    assert bob.user.email not in {
        one.address for one in await store.directory.addresses(ada.user.id)
    }
    await console.post(
        f"{where}/addresses/remove", root, data={"address": "ada@corp.example"}
    )
    kept = [one.address for one in await store.directory.addresses(ada.user.id)]
    assert kept == ["assistant@corp.example"]
    await undo(console, root, where)
    kept = {one.address for one in await store.directory.addresses(ada.user.id)}
    assert kept == {"ada@corp.example", "assistant@corp.example"}
    wrong = await console.post(f"{where}/addresses", root, data={"address": "x"})
    assert wrong.status_code == 303


async def test_a_new_relay_address(console):
    """The old one works on, or ends at once."""
    store = console.store
    root, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    where = f"/people/{ada.user.id}"
    await console.post(f"{where}/rotate", root, data={})
    one = await user(console, ada.user.id)
    assert one.relay_token != ada.user.relay_token
    assert [old.token for old in one.old_tokens] == [ada.user.relay_token]
    await console.post(f"{where}/rotate", root, data={"at_once": "on"})
    assert (await user(console, ada.user.id)).old_tokens == ()


async def test_exclusions_of_one_and_of_everybody(console):
    """Added, removed, taken back; twice is told."""
    store = console.store
    root, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    form = {"pattern": "*@news.example", "skip": "mail"}
    await console.post("/people/exclusions", root, data=form)
    mine = form | {"user": str(ada.user.id), "pattern": "mum@home.example"}
    await console.post("/people/exclusions", root, data=mine)
    shown = await console.get(f"/people/{ada.user.id}", root)
    assert "mum@home.example" in shown.text
    assert "*@news.example" in shown.text
    twice = await console.post("/people/exclusions", root, data=form)
    told = await console.get(twice.headers["location"], root)
    assert "already" in told.text
    await console.post("/people/exclusions/remove", root, data=form)
    assert len(await store.directory.exclusions()) == 1
    await undo(console, root, "/people/exclusions")
    assert len(await store.directory.exclusions()) == 2
    wrong = await console.post("/people/exclusions", root, data=form | {"skip": "x"})
    assert wrong.status_code == 303


async def test_a_rep_proves_an_address_by_a_code(console, monkeypatch):
    """The own page alone; without a smarthost it says why not."""
    store = console.store
    ada = await add(store, "Ada")
    where = f"/people/{ada.user.id}"
    shown = await console.get(where, ada)
    assert "cannot mail a code yet" in shown.text
    cannot = await console.post(
        f"{where}/claims", ada, data={"address": "ada@home.example"}
    )
    assert cannot.status_code == 303
    codes = []

    async def send(made):
        codes.append(made.code)

    monkeypatch.setattr("relay.console.claims.code_sender", lambda *_: send)
    await console.post(f"{where}/claims", ada, data={"address": "ada@home.example"})
    assert "ada@home.example" in (await console.get(where, ada)).text
    wrong = await console.post(f"{where}/claims/prove", ada, data={"code": "x"})
    assert wrong.headers["location"] == where
    assert "this is not the code" in (await console.get(where, ada)).text.lower()
    await console.post(f"{where}/claims/prove", ada, data={"code": codes[0]})
    sources = {
        one.address: one.source for one in await store.directory.addresses(ada.user.id)
    }
    assert sources["ada@home.example"] is Source.CLAIM


async def test_hostile_names_are_text(console):
    """Names of users and delegates."""
    store = console.store
    root, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    name = HOSTILE.replace("\u202e", "")[:190]
    await store.directory.rename(ada.user.id, name, "test")
    await store.directory.add_address(ada.user.id, "x@y.example", "t", delegate=name)
    for path in ("/people", f"/people/{ada.user.id}"):
        answer = await console.get(path, root)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text


async def test_users_come_from_a_csv_file(console):
    """The plan first; the same plan is carried out, and no other."""
    store = console.store
    root = await add(store, "Root", Role.ADMIN)
    csv = "name;email\nKim;kim@corp.example\nRoot;root@corp.example\n"
    shown = await console.post(
        "/people/import/plan",
        root,
        data={"source": "csv"},
        files={"file": ("users.csv", csv.encode())},
    )
    assert "1 user would be added" in shown.text
    assert "there is a user with this address" in shown.text
    assert len(await store.directory.users()) == 1
    digest = re.search(r'name="digest" value="(\w+)"', shown.text)[1]
    form = {"source": "csv", "csv": csv, "digest": digest, "activate": "on"}
    other = form | {"csv": csv.replace("kim@", "tim@")}
    wrong = await console.post("/people/import", root, data=other)
    assert wrong.headers["location"] == "/people/import"
    assert len(await store.directory.users()) == 1
    done = await console.post("/people/import", root, data=form)
    assert done.headers["location"] == "/people"
    assert {one.name for one in await store.directory.users()} == {"Kim", "Root"}
    for bad in ({"source": "csv"}, {"source": "x"}, {"source": "salesforce"}):
        answer = await console.post("/people/import/plan", root, data=bad)
        assert answer.status_code == 303
    latin = {"file": ("users.csv", "name;email\nJos\xe9;j@x.example".encode("latin-1"))}
    answer = await console.post(
        "/people/import/plan", root, data={"source": "csv"}, files=latin
    )
    assert "UTF-8" in (await console.get(answer.headers["location"], root)).text


# ------------------------------------------------------------------ the console


@pytest.fixture
async def mailing(tmp_path):
    """Pages of a relay that can mail links."""
    config = tmp_path / "relay.toml"
    config.write_text(CONFIG.format(folder=tmp_path) + MAIL, "utf-8")
    settings = load(config, {})
    store = await Store.open(settings.store, SystemClock())
    made = Console(store, settings)
    yield made
    await made.close()
    await store.close()


async def test_a_user_is_invited_from_the_own_page(mailing):
    """The state is shown; resent three times, then one has to wait; monitors look."""
    store = mailing.store
    root, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    mona = await add(store, "Mona", Role.MONITOR)
    where = f"/people/{ada.user.id}"
    assert "not invited" in (await mailing.get("/people", root)).text
    told = await mailing.post(f"{where}/invite", root, data={})
    assert told.headers["location"] == where
    shown = (await mailing.get(where, root)).text
    assert "A link to sign in is mailed to ada@corp.example." in shown
    assert "Mail a new link" in shown
    assert "waits" in shown
    assert "/sign-in/link/" not in shown
    (notice,) = await store.notices.find()
    assert notice.recipient == "ada@corp.example"
    assert notice.facts["name"] == "Ada"
    for _ in range(3):
        await mailing.post(f"{where}/invite", root, data={})
    assert len(await store.notices.find()) == 3
    assert "several links just now" in (await mailing.get(where, root)).text
    found = await mailing.get("/people?console=invited", root)
    assert "Ada" in found.text
    assert "Mona" not in found.text
    for who in (mona, ada):
        assert (await mailing.post(f"{where}/invite", who, data={})).status_code == 403
        assert (await mailing.post(f"{where}/link", who, data={})).status_code == 403
        assert 'id="console"' not in (await mailing.get(where, who)).text


async def test_a_link_is_shown_once(mailing):
    """In the answer to the button alone."""
    console, store = mailing, mailing.store
    root, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    where = f"/people/{ada.user.id}"
    made = await console.post(f"{where}/link", root, data={})
    (link,) = set(re.findall(r"https://\S+?/sign-in/link/[\w-]+", made.text))
    assert made.headers["Cache-Control"] == "no-store"
    assert link not in (await console.get(where, root)).text
    assert (await store.accounts.link(link.rpartition("/")[2])).user.id == ada.user.id
    await store.directory.set_active(ada.user.id, False, "test")
    off = (await console.get(where, root)).text
    assert "Who is disabled cannot sign in" in off
    assert f"{where}/link" not in off


async def test_without_a_smarthost_the_pages_name_it(console):
    """And nothing can be ticked; what is sent all the same adds nobody."""
    root, ada = (
        await add(console.store, "Root", Role.ADMIN),
        await add(console.store, "Ada"),
    )
    for path in (f"/people/{ada.user.id}", "/people/new"):
        shown = (await console.get(path, root)).text
        assert "does not have notices.smarthost" in shown
        assert 'name="invite"' not in shown
        assert "/invite" not in shown
    form = {"name": "Kim", "email": "kim@corp.example", "role": "rep", "invite": "on"}
    await console.post("/people/new", root, data=form)
    assert len(await console.store.directory.users()) == 2
    for act in ("invite", "link"):
        await console.post(f"/people/{ada.user.id}/{act}", root, data={})
    assert await console.store.notices.find() == []
    assert await console.store.accounts.invitations() == {}


async def test_a_new_user_and_an_import_are_invited(mailing):
    """Where the box was ticked; the new user can still be taken back."""
    store = mailing.store
    root = await add(store, "Root", Role.ADMIN)
    form = {"name": "Kim", "email": "kim@corp.example", "role": "rep"}
    form |= {"salesforce_id": "", "activate": "on"}
    made = await mailing.post("/people/new", root, data=form | {"invite": "on"})
    kim = made.headers["location"]
    told = await undo(mailing, root, kim)
    assert "A link to sign in is mailed to kim@corp.example." in told.text
    assert {one.name for one in await store.directory.users()} == {"Root"}
    csv = "name,email,role\nLee,lee@corp.example,\nRoot Keys,root@corp.example,\n"
    shown = await mailing.post(
        "/people/import/plan",
        root,
        data={"source": "csv", "csv": csv, "update": "on"},
    )
    assert "1 user would be added" in shown.text
    assert "1 user would be changed." in shown.text
    assert "name: Root → Root Keys" in shown.text
    digest = re.search(r'name="digest" value="(\w+)"', shown.text)[1]
    form = {"source": "csv", "csv": csv, "digest": digest, "update": "on"}
    done = await mailing.post("/people/import", root, data=form | {"invite": "on"})
    told = (await mailing.get(done.headers["location"], root)).text
    for text in ("1 user is added.", "1 user is changed.", "1 invitation is mailed."):
        assert text in told
    assert {one.name for one in await store.directory.users()} == {"Root Keys", "Lee"}
    notices = await store.notices.find()
    assert [one.recipient for one in notices][-1] == "lee@corp.example"


async def test_an_admin_signs_others_out(console):
    """One browser or all; a monitor sees no sessions of others."""
    store = console.store
    root, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    mona = await add(store, "Mona", Role.MONITOR)
    for number in range(3):
        await store.accounts.begin(
            ada.user.id,
            f"secret {number}",
            method="password",
            strong=False,
            life=timedelta(days=7),
            address=f"192.0.2.{number}",
            agent="Firefox/1 (Windows)",
        )
    where = f"/people/{ada.user.id}"
    shown = (await console.get(where, root)).text
    assert "Firefox on Windows" in shown
    assert "Sign out of 3 browsers" in shown
    assert "192.0.2.1" not in (await console.get(where, mona)).text
    first, *_ = await store.accounts.sessions(ada.user.id)
    end = f"{where}/sessions/{first.id}/end"
    for path in (end, f"{where}/sessions/end"):
        assert (await console.post(path, mona, data={})).status_code == 403
    assert len(await store.accounts.sessions(ada.user.id)) == 3
    await console.post(end, root, data={})
    assert len(await store.accounts.sessions(ada.user.id)) == 2
    await console.post(f"{where}/sessions/end", root, data={})
    assert await store.accounts.sessions(ada.user.id) == []
    assert "2 browsers are signed out." in (await console.get(where, root)).text
