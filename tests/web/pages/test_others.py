"""What is another's stays theirs: a rep asks for each id of somebody else's things.

A page that takes an id and is not named here fails the test, so that a new one is
thought of. Nothing of the other's may be shown, and no row of the store may change.
"""

from __future__ import annotations

import re
import sqlite3
from datetime import timedelta

import pytest

from relay.console.feed import Feed
from relay.core.access import OF_ROLE
from relay.core.directory import Role
from relay.core.reminders import NewReminder
from relay.web.pages.app import create_pages
from relay.web.pages.context import Context
from relay.web.pages.guard import OPEN, ROUTES, Needs
from tests.web.pages.people import add, put
from tests.web.pages.test_reminders import BY

pytestmark = pytest.mark.timeout(120)

SECRET = "Of Bob alone"
MESSAGE = frozenset(
    {
        "log_one",
        "log_source",
        "log_raw",
        "log_act",
        "unmatched_one",
        "diagnostics_retry_one_do",
    }
)
OF_NOBODY = frozenset({"log_undo", "unmatched_undo_do"})
"""Pages whose part is no id of a thing: a word, or numbers of changes."""
_PASSED_OVER = frozenset({"audit", "sign_in_tries", "notes", "sessions"})


def rows(folder):
    """Return every row of the store, but what is only written down."""
    connection = sqlite3.connect(folder / "relay.db")
    try:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
        return {
            name: sorted(map(repr, connection.execute(f'SELECT * FROM "{name}"')))
            for (name,) in names.fetchall()
            if name not in _PASSED_OVER
        }
    finally:
        connection.close()


def ids_of(name, things):
    """Return what stands for the parts of a path, by the name of its route."""
    if name in MESSAGE:
        return {"id": things["message"], "act": "discard"}
    if name.startswith("people_"):
        return {"id": things["user"], "session": things["session"]}
    if name.startswith("reminders_"):
        return {"id": things["reminder"], "version": "1", "number": "1"}
    if name == "history_one":
        return {"id": things["change"]}
    if name == "account_passkey_remove":
        return {"id": things["passkey"]}
    if name == "account_session_end":
        return {"id": things["session"]}
    return None


async def test_a_rep_gets_nothing_of_another(console, tmp_path):
    """Each page with an id, by GET and by POST."""
    store = console.store
    ada, bob = await add(store, "Ada"), await add(store, "Bob")
    theirs = {"owner_user_id": bob.user.id, "assignee_user_id": bob.user.id}
    reminder = await store.reminders.add(NewReminder(name=SECRET, **theirs), BY)
    await store.factors.add_passkey(bob.user.id, "id", "key", 0, SECRET, "test")
    await store.accounts.begin(
        bob.user.id,
        "secret",
        method="password",
        strong=True,
        life=timedelta(days=1),
        address="192.0.2.1",
        agent=SECRET,
    )
    (session,) = await store.accounts.sessions(bob.user.id)
    (key,) = (await store.factors.of(bob.user.id)).passkeys
    things = {
        "message": await put(store, bob.user, SECRET),
        "user": str(bob.user.id),
        "reminder": reminder.id,
        "change": str((await store.history.find(bob.user.id))[0]["id"]),
        "passkey": str(key.id),
        "session": str(session.id),
    }
    context = Context(store, console.settings, console.clock, Feed(store))
    asked = []
    for route in create_pages(context):
        needs = ROUTES.get(route.name, OPEN)
        mine = needs is not OPEN and (needs in Needs or needs in OF_ROLE[Role.REP])
        if "{" not in route.path or not mine or route.name in OF_NOBODY:
            continue
        values = ids_of(route.name, things)
        assert values is not None, f"{route.name}: whose is what its id names?"
        path = re.sub(r"\{(\w+)[^}]*\}", lambda part, v=values: v[part[1]], route.path)
        before = rows(tmp_path)
        method = "POST" if "POST" in route.methods else "GET"
        sent = {"data": {"address": "x@home.example", "code": "1", "name": "Mine"}}
        answer = await console._ask(
            method, path, ada, **(sent if method == "POST" else {})
        )
        asked.append(route.name)
        assert SECRET not in answer.text, route.name
        assert rows(tmp_path) == before, route.name
        if method == "GET":
            assert answer.status_code in {403, 404}, route.name
        else:
            assert answer.status_code in {303, 403, 404, 409, 422}, route.name
    assert {"log_raw", "reminders_one", "people_one", "history_one"} <= set(asked)
    assert await store.accounts.sessions(bob.user.id)
