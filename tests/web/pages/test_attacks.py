"""What strangers and other sites send, tried on every page that there is.

Every field that mail, an import or the org can fill holds the same hostile text. The
pages are then read as a browser reads them, from link to link: whatever page is added,
it is tried, too.
"""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from relay.core.directory import Role, SkipKind
from relay.core.ids import new_message_id
from relay.core.model import Refusal, Step
from relay.core.reminders import By, NewReminder, Source
from relay.core.states import Event
from relay.web.pages.guard import OPEN, ROUTES
from tests.web.pages import people, test_reminders
from tests.web.pages.conftest import put
from tests.web.pages.test_guard import path_of
from tests.web.pages.test_sign_in import FORM, OURS, browser, relay

__all__ = ["browser", "relay"]

pytestmark = pytest.mark.timeout(240)

MEAN = (
    "'\"></title></textarea></option></script></style>--><mean onmean=1 x='"
    '" onmean="1" href="javascript:mean()"><img src=//evil.example/x>'
    "{{ 7 * 7 }}\u202egnp.exe"
)
"""Leaves each place that a text may stand in; the last part turns what follows."""
VOID = frozenset({"input", "br", "meta", "link", "img", "path", "rect", "hr", "base"})
LEADING = frozenset({"href", "src", "action", "formaction", "hx-get", "hx-post"})
HOLDS = frozenset({"bdi", "title", "pre", "textarea", "option", "code"})
"""In these, marks of direction stay inside; in attributes they are not drawn so."""


class Reading(HTMLParser):
    """A page as a browser reads it, with what is wrong with it."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.problems, self.links = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        if tag in {"mean", "img", "iframe", "object", "embed", "base", "style"}:
            self.problems.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on") or name in {"style", "srcdoc"}:
                self.problems.append(f"{tag} {name}={value}")
            if name in LEADING:
                target = re.sub(r"[\x00-\x20]", "", value or "").lower()
                if target.startswith(("javascript:", "data:", "//", "/\\")):
                    self.problems.append(f"{tag} {name}={value}")
            if tag == "a" and name == "href":
                self.links.append(value)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        if "\u202e" in data and not HOLDS & set(self.open):
            self.problems.append(f"turned text in {self.open[-3:]}: {data[-60:]!r}")


async def filled(console):
    """Put the hostile text into every field that somebody else can fill."""
    store, now = console.store, datetime.now(UTC)
    root = await people.add(store, "Root", Role.ADMIN)
    mean = await store.directory.add_user(
        MEAN, "mean@corp.example", Role.REP, None, MEAN
    )
    ada = people.caller(mean)
    steps = tuple(
        Step(now, step, MEAN, MEAN)
        for step in ("rcpt", "connection", "parse", "sender", "people", "match")
    )
    fields = {"mail_from": MEAN, "peer": MEAN, "helo": MEAN, "header_from": MEAN}
    await put(
        store,
        mean.id,
        *(MEAN, "second"),
        **fields | {"header_to": MEAN, "rfc_message_id": MEAN, "trace": steps},
    )
    await people.end(
        *(store, mean, Event.NO_MATCH, "no_record"),
        subject=MEAN,
        detail=MEAN,
        people=(people.person(MEAN, MEAN), people.person("m@evil.example", MEAN)),
    )
    await people.end(
        store, mean, Event.PERMANENT, "REQUIRED_FIELD_MISSING", detail=MEAN
    )
    refusal = {"mail_from": MEAN, "rcpt": MEAN, "header_from": MEAN, "reply": MEAN}
    await store.refusals.record(
        [
            Refusal(
                *(new_message_id(console.clock), now, MEAN),
                **refusal,
                reason="unknown_recipient",
                user_id=mean.id,
                subject=MEAN,
            )
        ]
    )
    ids = {"owner_user_id": mean.id, "assignee_user_id": mean.id}
    texts = {"name": MEAN, "details": MEAN}
    one = await store.reminders.add(
        NewReminder(**ids, **texts, due=date(2020, 1, 1)), By(MEAN, Source.API)
    )
    await test_reminders.failing(console, one)
    await store.directory.add_exclusion(MEAN, mean.id, SkipKind.MAIL, MEAN)
    await store.directory.add_address(mean.id, "x@y.example", MEAN, delegate=MEAN)
    await store.history.note("log_exported", MEAN, MEAN, mean.id)
    return root, ada


async def crawled(console, who, most=150):
    """Return each page that links lead to, as it is read."""
    names = ("q", "user", "by", "since", "address", "text", "find", "name", "act")
    lists = ("log", "people", "history", "unmatched", "reminders/all")
    asked = [f"/{one}?{name}={quote(MEAN[:40])}" for one in lists for name in names]
    found, wanted = {}, ["/", *asked]
    while wanted and len(found) < most:
        path = wanted.pop(0)
        if path in found or "/export" in path or "/live" in path:
            continue
        answer = await console.get(path, who)
        kind = answer.headers.get("Content-Type", "")
        found[path] = Reading(answer.text) if kind.startswith("text/html") else None
        assert answer.status_code < 500, path
        links = found[path].links if found[path] else []
        wanted += [one for one in links if one.startswith("/") and one not in found]
    return found


@pytest.mark.parametrize("role", ["admin", "rep"])
async def test_what_strangers_write_is_text_on_every_page(console, role):
    """No tag, no handler, no address, and no turned text beyond its place."""
    root, ada = await filled(console)
    found = await crawled(console, root if role == "admin" else ada)
    problems = {path: page.problems for path, page in found.items() if page}
    assert {path: some for path, some in problems.items() if some} == {}
    kinds = (re.sub(r"[0-9A-Z]{8,}|\d+", "ID", path) for path in found)
    seen = {path.partition("?")[0] for path in kinds}
    assert len(seen) > (15 if role == "admin" else 9), seen


async def test_exports_hold_no_formula_and_their_names_are_ours(console):
    """Whatever was written into the log and the history."""
    root, _ = await filled(console)
    for path in ("/log/export.csv", "/history/export.csv"):
        answer = await console.get(path, root)
        assert answer.status_code == 200
        named = answer.headers["Content-Disposition"]
        assert re.fullmatch(r'attachment; filename="[\w.-]+"', named)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert MEAN[:20].replace('"', '""') in answer.text


def test_no_change_is_taken_from_another_site(relay, browser):
    """Each route that changes something: by site, by origin, and without the token."""
    browser.sign_in()
    browser.get("/account")
    (token,) = set(re.findall(r'name="csrf" value="([^"]*)"', browser.page))
    routes = [
        one for one in relay.routes if "POST" in (getattr(one, "methods", ()) or ())
    ]
    pages = [one for one in routes if one.name in ROUTES]
    assert len(pages) > 55
    before = relay.json("history")
    foreign = (
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {},
    )
    for route in pages:
        path = path_of(route)
        for headers in foreign:
            status = browser.ask("POST", path, f"csrf={token}", FORM | headers)
            assert status == 403, (route.name, headers)
        if ROUTES[route.name] is not OPEN:
            assert browser.ask("POST", path, "a=b", FORM | OURS) == 403, route.name
        assert set(route.methods) <= {"POST"}, route.name
    assert relay.json("history") == before


@pytest.mark.parametrize(
    "undo",
    ["//evil.example/", "/\\evil.example", "/\t/evil.example", "https://evil.example"],
)
async def test_a_planted_note_leads_nowhere_else(console, undo):
    """Another host of the domain can plant a cookie; its form would carry the token."""
    ada = await people.add(console.store, "Ada")
    value = json.dumps({"text": "x", "kind": "done", "undo": undo})
    cookie = base64.urlsafe_b64encode(value.encode()).decode()
    answer = await console.get("/", ada, headers={"Cookie": f"relay_said={cookie}"})
    assert "evil.example" not in answer.text
    kept = json.dumps({"text": "x", "kind": "done", "undo": "/log/undo/a-_b"})
    cookie = base64.urlsafe_b64encode(kept.encode()).decode()
    answer = await console.get("/", ada, headers={"Cookie": f"relay_said={cookie}"})
    assert 'action="/log/undo/a-_b"' in answer.text
