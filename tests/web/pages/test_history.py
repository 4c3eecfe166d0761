"""The page of changes."""

from __future__ import annotations

import csv
import io
import re

from relay.core.directory import Role
from tests.web.pages.people import HOSTILE, add


async def test_changes_are_listed_filtered_and_taken_back(console):
    """Who, what, before and after; an undo is a change of its own."""
    store = console.store
    root, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    await store.directory.rename(ada.user.id, "Ada B.", "web:mona")
    await store.directory.add_address(ada.user.id, "a@x.example", "web:root")
    listed = await console.get("/history", root)
    assert "Ada B." in listed.text
    fits = await console.get(
        "/history",
        root,
        params={"by": "mona", "user": "ada@corp.example", "since": "1h"},
    )
    assert "Ada B." in fits.text
    assert "a@x.example" not in fits.text
    undo = re.search(r'action="(/history/\d+/undo)"', fits.text)[1]
    assert "from “Ada B.” to “Ada” again" in fits.text
    one = await console.get(undo.removesuffix("/undo"), root)
    assert "Take it back" in one.text
    done = await console.post(undo, root, data={})
    assert (done.status_code, done.headers["location"]) == (303, "/history")
    (user,) = [u for u in await store.directory.users() if u.id == ada.user.id]
    assert user.name == "Ada"
    again = await console.post(undo, root, data={})
    told = await console.get(again.headers["location"], root)
    assert "taken back already" in told.text
    gone = await console.get("/history/99999", root)
    assert gone.status_code == 404
    for wrong in ({"since": "soon"}, {"user": "nobody@x.example"}):
        answer = await console.get("/history", root, params=wrong)
        assert 'role="alert"' in answer.text


async def test_a_rep_sees_own_changes_alone(console):
    """Others' are not there, neither in the list nor by number, nor in the CSV."""
    store = console.store
    ada, bob = await add(store, "Ada"), await add(store, "Bob")
    await store.directory.rename(bob.user.id, "Robert", "web:root")
    rows = await store.history.find()
    theirs = [row["id"] for row in rows if row["user"] == "bob@corp.example"]
    listed = await console.get("/history", ada)
    assert "ada@corp.example" in listed.text
    assert "Robert" not in listed.text
    assert "/undo" not in listed.text
    for number in theirs:
        assert (await console.get(f"/history/{number}", ada)).status_code == 404
    huge = "9" * 30
    assert (await console.get(f"/history/{huge}", ada)).status_code == 409
    assert (await console.get(f"/history?before={huge}", ada)).status_code == 200
    gone = await console.post(f"/account/sessions/{huge}/end", ada)
    assert gone.status_code == 404
    asked = await console.get("/history", ada, params={"user": "bob@corp.example"})
    assert asked.status_code == 403
    sheet = await console.get("/history/export.csv", ada)
    assert "Robert" not in sheet.text


async def test_pages_follow_and_the_csv_has_all(console):
    """Hostile names stay text, in HTML and in a spreadsheet."""
    store = console.store
    root, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    for number in range(60):
        name = HOSTILE[:150] if number == 58 else f"Name {number}"
        await store.directory.rename(ada.user.id, name, "=cmd()")
    first = await console.get("/history", root)
    assert "<script>alert" not in first.text
    older = re.search(r'rel="next" href="([^"]+)"', first.text)[1].replace("&amp;", "&")
    second = await console.get(older, root)
    assert "Name 2" in second.text
    sheet = await console.get("/history/export.csv?change=user_name", root)
    assert sheet.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(sheet.text, newline="")))
    assert len(rows) == 60
    assert {row["actor"] for row in rows} == {"'=cmd()"}
    (noted,) = await store.history.find(change="history_export")
    assert noted["actor"] == root.name
