"""The live view over real HTTP: nothing is missed, and it ends when it must."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from urllib.parse import urlencode

import pytest

from relay.console import feed
from relay.console.feed import MOST_EACH
from relay.core.states import Event
from tests.web.conftest import path

pytestmark = pytest.mark.timeout(90)


class Stream:
    """One open stream, read event by event."""

    def __init__(self, relay, headers, **query):
        self.connection = http.client.HTTPConnection(
            "127.0.0.1", relay.port, timeout=60
        )
        self.connection.request(
            "GET", f"{path('events')}?{urlencode(query, doseq=True)}", None, headers
        )
        self.answer = self.connection.getresponse()
        self.last = None

    def event(self):
        """Return (name, data) of the next event; None at the end."""
        name, data = None, None
        while line := self.answer.readline():
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "id":
                self.last = value
            elif field == "event":
                name = value
            elif field == "data":
                data = value
            elif not field and name:
                return name, data
        return None

    def begun(self):
        """Wait for the first cursor, after which nothing is missed."""
        while self.last is None:
            line = self.answer.readline().decode()
            if line.startswith("id: "):
                self.last = line[4:].strip()
        return self

    def row(self):
        name, data = self.event()
        row = json.loads(data)
        return name, row["id"], row["state"]

    def close(self):
        self.connection.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Look and beat often."""
    monkeypatch.setattr(feed, "POLL_S", 0.02)
    monkeypatch.setattr(feed, "BEAT_S", 0.1)


@pytest.fixture
def open_stream(served):
    with contextlib.ExitStack() as stack:

        def make(headers, **query):
            stream = Stream(served, headers, **query)
            stack.callback(stream.close)
            return stream

        yield make


def test_what_comes_and_changes_is_told_and_nothing_is_missed(
    served, admin, open_stream
):
    """New mail, a change, a refusal; cut off, the reader goes on where it was."""
    stream = open_stream(admin).begun()
    assert stream.answer.getheader("Content-Type").startswith("text/event-stream")
    assert stream.answer.getheader("Cache-Control") == "no-store"
    (one,) = served.put("One")
    assert stream.row() == ("new", one, "queued")
    refused = served.refuse()
    assert stream.row() == ("new", refused, "refused")
    last = stream.last
    stream.close()

    served("hold", one)
    (two,) = served.put("Two")
    again = open_stream(admin | {"Last-Event-ID": last})
    assert again.row() == ("changed", one, "held")
    assert again.row() == ("new", two, "queued")
    as_parameter = open_stream(admin, after=last)
    assert as_parameter.row() == ("changed", one, "held")
    shown = served.call("GET", path("messages", one), admin).json
    name, data = open_stream(admin, after=last).event()
    row = json.loads(data)
    assert name == "changed"
    assert row.pop("changed_at")
    assert {key: shown[key] for key in row} == row


def test_a_filter_holds(served, admin, open_stream):
    """Only what fits comes; the cursor moves on without an event."""
    stream = open_stream(admin, q="state:held", text="two").begun()
    first = stream.last
    one, two = served.put("One", "Two")
    served("hold", one)
    served("hold", two)
    assert stream.row() == ("changed", two, "held")
    while True:  # The cursor alone, behind what did not fit.
        line = stream.answer.readline().decode()
        if line.startswith("id: "):
            assert line[4:].strip() != first
            break


def test_a_rep_sees_the_reps_own(served, admin, open_stream):
    """Bob hears nothing of Ada's mail, and a monitor no relay address."""
    bob = served.token("bob", "log:read", user="bob@corp.example")
    mona = served.token("mona", "log:read", user="mona@corp.example")
    whole = open_stream(admin).begun()
    his, hers = open_stream(bob).begun(), open_stream(mona).begun()
    (one,) = served.put("For Ada")
    name, data = whole.event()
    assert "log-" in json.loads(data)["rcpt"]
    name, data = hers.event()
    assert (name, json.loads(data)["id"]) == ("new", one)
    assert json.loads(data)["rcpt"].startswith("log-…")

    async def for_bob(store):
        users = await store.directory.users()
        (bob_id,) = [user.id for user in users if user.name == "Bob"]
        from sqlalchemy import update

        from relay.store.schema import messages

        change = update(messages).values(user_id=bob_id).where(messages.c.id == one)
        await store.context.write(lambda c: c.execute(change))
        await store.queue.apply(Event.HOLD, [one], None, "test")

    served.in_store(for_bob)
    assert his.row() == ("changed", one, "held")
    answer = served.call("GET", path("messages"), bob, user="ada@corp.example")
    assert answer.status == 403


def test_it_ends_with_the_token(served, admin, open_stream):
    """A token that is removed hears nothing more."""
    short = served.token("short", "log:read")
    stream = open_stream(short).begun()
    served("token", "remove", "short")
    served.put("Secret")
    assert stream.event() is None


def test_it_ends_when_the_relay_stops(served, admin, open_stream):
    """A server that stops does not wait for who watches."""
    stream = open_stream(admin).begun()
    begun = time.monotonic()
    served.stop()
    assert stream.event() is None
    # `smtp.drain_s` is what a server waits for answers that do not end.
    assert time.monotonic() - begun < 20
    served.start()


def test_there_are_only_so_many(served, admin, open_stream, monkeypatch):
    """Each token has some at a time; one that goes makes room."""
    monkeypatch.setattr(feed, "MOST_WATCHERS", MOST_EACH + 1)
    streams = [open_stream(admin).begun() for _ in range(MOST_EACH)]
    full = served.call("GET", path("events"), admin)
    assert (full.status, full.json["error"]) == (429, "too_many_requests")
    assert full.headers["Retry-After"]
    other = served.token("other", "log:read")
    last = open_stream(other).begun()
    third = served.token("third", "log:read")
    full = served.call("GET", path("events"), third)
    assert (full.status, full.json["error"]) == (503, "too_many_watchers")
    last.close()
    streams.pop().close()
    deadline = time.monotonic() + 30
    while True:
        stream = open_stream(admin)
        if stream.answer.status == 200 or time.monotonic() > deadline:
            break
    assert stream.answer.status == 200


def test_what_is_no_cursor_is_refused_and_an_old_one_is_lost(
    served, admin, open_stream
):
    """Nonsense is the reader's mistake; a cursor of elsewhere lists anew."""
    answer = served.call("GET", path("events"), admin, after="yesterday")
    assert (answer.status, answer.json["error"]) == (422, "invalid")
    headers = admin | {"Last-Event-ID": "9" * 60}
    assert served.call("GET", path("events"), headers).status == 422
    stream = open_stream(admin, after=f"{10**15}.7")
    name, _ = stream.event()
    assert name == "lost"
    (one,) = served.put("Then")
    assert stream.row() == ("new", one, "queued")
