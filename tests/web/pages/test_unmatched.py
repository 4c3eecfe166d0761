"""The pages of unmatched mail, over a real store and a sandbox org."""

from __future__ import annotations

import re

import pytest

from relay.config import load
from relay.core.clock import SystemClock
from relay.core.directory import Role
from relay.core.states import Event
from relay.store import Store
from tests.cli.conftest import CONFIG
from tests.cli.test_unmatched import SALESFORCE
from tests.fakes.served import served
from tests.web.pages.conftest import Console
from tests.web.pages.people import HOSTILE, MARA, add, end, person

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def console(tmp_path):
    """Pages of a relay that knows an org."""
    with served() as org:
        config = tmp_path / "relay.toml"
        text = CONFIG.format(folder=tmp_path) + SALESFORCE.format(url=org.url)
        config.write_text(text, "utf-8")
        settings = load(config, {})
        store = await Store.open(settings.store, SystemClock())
        made = Console(store, settings)
        made.org = org
        yield made
        await made.close()
        await store.close()


async def unmatched(console, who, *people, subject="The offer"):
    """Store a mail that fits no record."""
    people = people or (MARA,)
    return await end(
        *(console.store, who.user, Event.NO_MATCH, "no_record"),
        subject=subject,
        people=people,
    )


async def state(console, id_):
    return (await console.store.log.show(id_))["state"]


async def test_a_monitor_learns_no_relay_address_from_a_subject(console):
    """Whatever page shows what a person has written; their own one they know."""
    ada = await add(console.store, "Ada")
    mona = await add(console.store, "Mona", Role.MONITOR)
    secret, own = ada.user.relay_token, mona.user.relay_token
    id_ = await unmatched(console, ada, subject=f"To {secret}@in.example, not {own}")
    for path in ("/unmatched", f"/unmatched/{id_}", f"/log/{id_}"):
        shown = await console.get(path, mona)
        assert secret not in shown.text, path
        assert "To log-…@in.example" in shown.text, path
        assert secret in (await console.get(path, ada)).text, path
    assert own in (await console.get("/unmatched", mona)).text


async def test_a_rep_resolves_own_mail_and_takes_it_back(console):
    """Candidates with scores; what was chosen is undone by one form, own alone."""
    store = console.store
    ada, bob = await add(store, "Ada"), await add(store, "Bob")
    mine, theirs = await unmatched(console, ada), await unmatched(console, bob)
    listed = await console.get("/unmatched", ada)
    assert f'/unmatched/{mine}"' in listed.text
    assert theirs not in listed.text
    shown = await console.get(f"/unmatched/{mine}", ada)
    assert "Mara Lindqvist" in shown.text
    assert "same domain as Acme Tools" in shown.text
    record = re.search(r'name="record" value="(003\w{15})"', shown.text)[1]
    assert f"{console.org.url}/{record}" in shown.text
    assert (await console.get(f"/unmatched/{theirs}", ada)).status_code == 404
    form = {"id": theirs, "record": record}
    assert (await console.post("/unmatched/resolve", ada, data=form)).status_code == 404
    assert await state(console, theirs) == "unmatched"
    nothing = await console.post("/unmatched/resolve", ada, data={"id": mine})
    assert nothing.headers["location"] == f"/unmatched/{mine}"
    assert await state(console, mine) == "unmatched"

    form = {"id": mine, "record": record}
    done = await console.post("/unmatched/resolve", ada, data=form)
    assert (done.status_code, done.headers["location"]) == (303, "/unmatched")
    assert await state(console, mine) == "queued"
    told = await console.get("/unmatched", ada)
    assert "to be logged on Contact Mara Lindqvist" in told.text
    undo = re.search(r'action="(/unmatched/undo/\d+)"', told.text)[1]
    assert (await console.post(undo, bob, data={})).status_code == 404
    assert (await console.post(undo, ada, data={})).status_code == 303
    assert await store.history.find(change="unmatched_unresolve")
    forbidden = await console.post(
        "/unmatched/resolve", bob, data={"id": theirs, "record": record, "remember": 1}
    )
    assert forbidden.status_code == 403


async def test_records_are_found_by_a_text(console):
    """Contacts, Leads, Accounts and what else a mail may be about."""
    ada = await add(console.store, "Ada")
    id_ = await unmatched(console, ada, person("x@nowhere.example"))
    found = await console.get(f"/unmatched/{id_}", ada, params={"find": "Acme"})
    assert re.search(r'id="h-001\w+"', found.text)
    assert re.search(r'id="h-006\w+"', found.text) or "Opportunity" in found.text
    short = await console.get(f"/unmatched/{id_}", ada, params={"find": "a"})
    assert "too short" in short.text
    odd = await console.get(f"/unmatched/{id_}", ada, params={"find": "O'Neil %_\\"})
    assert "Nothing found" in odd.text


async def test_many_are_decided_by_a_filter_with_their_number(console):
    """The number is shown first; where it is another by then, nothing is done."""
    store = console.store
    admin, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    ids = [await unmatched(console, ada, subject=f"Offer {n}") for n in range(3)]
    other = await unmatched(console, ada, person("z@other.example"))
    asked = {"address": MARA.key, "all": "on"}
    shown = await console.get("/unmatched/decide", admin, params=asked)
    assert "3 messages" in shown.text
    form = asked | {"count": "2", "what": "address"}
    wrong = await console.post("/unmatched/ignore", admin, data=form)
    assert wrong.status_code == 303
    assert {await state(console, id_) for id_ in ids} == {"unmatched"}
    form = asked | {"count": "3", "what": "address", "everybody": "on"}
    done = await console.post("/unmatched/ignore", admin, data=form)
    assert done.headers["location"] == "/unmatched"
    assert {await state(console, id_) for id_ in ids} == {"queued"}
    assert await state(console, other) == "unmatched"
    (rule,) = await store.directory.exclusions()
    assert (rule.pattern, rule.user_id) == (MARA.key, None)
    undo = re.search(
        r'action="(/unmatched/undo/[\d-]+)"',
        (await console.get("/unmatched", admin)).text,
    )[1]
    await console.post(undo, admin, data={})
    assert await store.directory.exclusions() == []


async def test_what_speaks_against_a_domain_is_asked_first(console):
    """The page sends the same form again, confirmed."""
    store = console.store
    ada = await add(store, "Ada")
    id_ = await unmatched(console, ada, person("kim@gmail.com"))
    form = {"id": id_, "what": "domain"}
    asked = await console.post("/unmatched/ignore", ada, data=form)
    assert asked.status_code == 200
    assert "gmail.com is free mail" in asked.text.lower().replace(
        "free mail", "free mail"
    )
    assert 'name="what" value="domain"' in asked.text
    assert await store.directory.exclusions() == []
    everybody = await console.post(
        "/unmatched/ignore", ada, data=form | {"everybody": "on", "confirm": "on"}
    )
    assert everybody.status_code == 403
    await console.post("/unmatched/ignore", ada, data=form | {"confirm": "on"})
    (rule,) = await store.directory.exclusions()
    assert (rule.pattern, rule.user_id) == ("*@gmail.com", ada.user.id)


async def test_a_record_is_made_where_an_admin_allows_it(console):
    """As the command line does; without the setting there is no form."""
    store = console.store
    ada = await add(store, "Ada")
    id_ = await unmatched(console, ada, person("kim@new.example", "Kim New"))
    form = {"id": id_, "object": "Lead"}
    assert "/unmatched/create" not in (await console.get(f"/unmatched/{id_}", ada)).text
    assert (await console.post("/unmatched/create", ada, data=form)).status_code == 403
    await store.directory.set_setting("match.unmatched_create", True, "test")
    assert "/unmatched/create" in (await console.get(f"/unmatched/{id_}", ada)).text
    await console.post("/unmatched/create", ada, data=form)
    leads = console.org.dump("Lead")["Lead"]
    assert "kim@new.example" in {one["Email"] for one in leads}
    assert await state(console, id_) == "queued"


async def test_remembered_addresses_are_listed_and_forgotten(console):
    """An admin remembers, and forgets."""
    store = console.store
    admin = await add(store, "Root", Role.ADMIN)
    id_ = await unmatched(console, admin)
    shown = await console.get(f"/unmatched/{id_}", admin)
    record = re.search(r'name="record" value="(003\w{15})"', shown.text)[1]
    form = {"id": id_, "record": record, "remember": "on"}
    await console.post("/unmatched/resolve", admin, data=form)
    page = await console.get("/unmatched/remembered", admin)
    assert MARA.key in page.text
    await console.post("/unmatched/forget", admin, data={"address": MARA.key})
    assert await store.unmatched.aliases() == []


async def test_hostile_text_is_text(console):
    """Subjects, names and addresses of strangers stay what they are."""
    ada = await add(console.store, "Ada")
    mean = person('"><script>x</script>"@evil.example', HOSTILE)
    id_ = await unmatched(console, ada, mean, subject=HOSTILE)
    for path in ("/unmatched", f"/unmatched/{id_}", f"/unmatched/decide?id={id_}"):
        answer = await console.get(path, ada)
        assert answer.status_code == 200, path
        assert "<script>alert" not in answer.text
        assert "<script>x" not in answer.text
        assert "<img src=x" not in answer.text
        assert "W" * 2000 not in re.sub(r'title="[^"]*"', "", answer.text)


async def test_a_filter_that_cannot_be_read_is_told(console):
    """The page stays, and says what fits."""
    ada = await add(console.store, "Ada")
    answer = await console.get("/unmatched", ada, params={"since": "soon"})
    assert answer.status_code == 200
    assert "is no time" in answer.text
    nothing = await console.get("/unmatched/decide", ada, params={"all": "on"})
    assert nothing.status_code == 303


async def test_users_and_addresses_come_from_salesforce(console):
    """The plan first; who is known is not added again, and addresses follow."""
    store = console.store
    root = await add(store, "Root", Role.ADMIN)
    shown = await console.post(
        "/people/import/plan", root, data={"source": "salesforce"}
    )
    active = [one for one in console.org.dump("User")["User"] if one["IsActive"]]
    assert f"{len(active)} users would be added" in shown.text
    digest = re.search(r'name="digest" value="(\w+)"', shown.text)[1]
    form = {"source": "salesforce", "digest": digest}
    await console.post("/people/import", root, data=form)
    users = await store.directory.users()
    assert {one["Email"] for one in active} <= {one.email for one in users}
    assert not any(one.active for one in users if one.name != "Root")
    one = next(user for user in users if user.salesforce_id)
    await store.directory.remove_address(one.id, one.email, "test")
    plan = {"source": "addresses"}
    shown = await console.post("/people/import/plan", root, data=plan)
    assert "1 address would change" in shown.text
    await console.post("/people/import/follow", root, data={"count": "2"})
    assert await store.directory.addresses(one.id) == []
    await console.post("/people/import/follow", root, data={"count": "1"})
    (kept,) = await store.directory.addresses(one.id)
    assert kept.address == one.email


async def test_an_unknown_user_is_told_when_added(console):
    """The user is there all the same."""
    root = await add(console.store, "Root", Role.ADMIN)
    form = {"name": "Kim", "email": "kim@corp.example", "role": "rep"}
    done = await console.post("/people/new", root, data=form)
    told = await console.get(done.headers["location"], root)
    assert "Salesforce has no user with the address kim@corp.example" in told.text
    assert 'class="flash warning"' in told.text
