"""Questions of an admin: command line, API and page have one answer to each.

The command line is asked at the store and over `--url`; the pages are asked as an
administrator sees them.
"""

from __future__ import annotations

import asyncio
import csv
import functools
import io
import re
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote_plus

import pytest

from relay.app import replaying
from relay.config import load
from relay.console.replays import Replays
from relay.core.clock import SystemClock
from relay.core.directory import Role
from relay.core.ids import first_id
from relay.core.model import Envelope, RawMail, Recipient, Step
from relay.core.queue import LeaseOwner, Settlement
from relay.core.states import Event
from relay.store import Store
from tests.cli.test_sender import HELD, keep
from tests.fakes.served import served as org_served
from tests.web.conftest import EVERY, make_served, path, with_people
from tests.web.pages.conftest import Console, person

pytestmark = pytest.mark.timeout(180)

OWNER = LeaseOwner("host", "boot", 10, "1")
DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
TEN = DAY - timedelta(hours=14)
"""Yesterday at ten."""
LIST_MAIL = (
    "From: ada@corp.example\r\nTo: kim@customer.example\r\nSubject: News\r\n"
    "Date: {date}\r\nMessage-ID: <news@corp.example>\r\nList-Id: <n.corp.example>\r\n"
    "\r\nHello\r\n"
)


def put(relay, user, at, subject, *, event=None, reason="", raw="", number=0):
    """Store a message that came at a time; let its first attempt end so."""

    async def job(store):
        found = await store.directory.find_user(user)
        id_ = first_id(at, timedelta(microseconds=number))
        whole = (raw or f"Subject: {subject}\r\n\r\nHello\r\n").encode()
        rcpt = f"{found.relay_token}@in.relay.example"
        await store.messages.put(
            Envelope(
                mail_from=found.email,
                peer="127.0.0.1",
                helo="test",
                tls=False,
                received_at=at,
                recipients=(Recipient(id_, rcpt, found.id),),
                header_from=found.email,
                header_to="kim@customer.example",
                subject=subject,
                rfc_message_id=f"<{id_}@test>",
                trace=(Step(at, "rcpt", "accepted", rcpt),),
            ),
            RawMail(len(whole), "0" * 64, data=whole),
        )
        if event is not None:
            (claimed,) = await store.queue.claim(OWNER, 1, 60)
            assert claimed.id == id_
            await store.mails.join(OWNER, [(id_, id_, id_ + "2", "")])
            ended = Settlement(claimed.id, claimed.attempt, event, reason)
            await store.ledger.advance(OWNER, settlements=[ended])
        return id_

    return relay.in_store(job)


class Asked:
    """One relay, and four who ask it."""

    def __init__(self, relay, folder):
        self.relay = relay
        self.token = relay.token("asks", *EVERY)
        file = folder / "token"
        secret = self.token["Authorization"].removeprefix("Bearer ")
        file.write_text(secret, "utf-8")
        url = f"http://127.0.0.1:{relay.port}"
        self.there = ["--url", url, "--token-file", str(file)]

    def api(self, *where, **query):
        """Return all items of a listing of the API."""
        found, more = [], {}
        while True:
            answer = self.relay.call("GET", path(*where), self.token, **query, **more)
            assert answer.status == 200, answer.data
            found += answer.json["items"]
            if answer.json["next"] is None:
                return found
            more = {"cursor": answer.json["next"]}

    def pages(self, job):
        """Do something with the pages, as an administrator."""

        async def work(store):
            console = Console(store, load(self.relay.config, {}))
            try:
                return await job(console, person("Root", Role.ADMIN, 99))
            finally:
                await console.close()

        return self.relay.in_store(work)

    def page(self, where, **query):
        """Return the text of a page."""

        async def job(console, root):
            answer = await console.get(where, root, params=query)
            assert answer.status_code == 200, answer.text
            return answer.text

        return self.pages(job)

    def log(self, wanted):
        """Return what each of the four finds by a filter: sets of ids."""
        return {
            "cli": {row["id"] for row in self.relay.json("log", wanted)},
            "--url": {r["id"] for r in self.relay.json("log", wanted, *self.there)},
            "api": {row["id"] for row in self.api("messages", q=wanted)},
            "page": set(re.findall(r'<tr id="row-(\w+)"', self.page("/log", q=wanted))),
        }


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A relay of which something is to be asked."""
    folder = tmp_path_factory.mktemp("relay")
    relay = with_people(make_served(folder))
    relay.ids = {
        "before": put(relay, "Ada Byron", TEN - timedelta(minutes=1), "Early"),
        "first": put(relay, "Ada Byron", TEN, "An offer"),
        "last": put(relay, "Ada Byron", TEN + timedelta(minutes=59), "Order"),
        "after": put(relay, "Ada Byron", TEN + timedelta(hours=1), "Late"),
        "bob": put(relay, "Bob", TEN + timedelta(minutes=30), "An offer to all"),
        "held": keep(relay, HELD),
        "refused": relay.refuse(),
    }
    relay("hold", *(relay.ids[n] for n in ("before", "first", "last", "after", "bob")))
    for number in range(3):
        relay.ids[f"dead {number}"] = put(
            *(relay, "Bob", TEN + timedelta(minutes=40 + number), "Contract"),
            event=Event.PERMANENT,
            reason="INVALID_FIELD" if number == 2 else "REQUIRED_FIELD_MISSING",
        )
    relay("address", "add", "ada@corp.example", "ada@home.example")
    relay("address", "add", "bob@corp.example", "bob@home.example")
    relay("address", "remove", "ada@corp.example", "ada@home.example")
    relay("user", "rename", "bob@corp.example", "Robert")
    yield Asked(relay, folder)
    relay.stop()


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (
            "user:ada@corp.example since:yesterdayT10:00 until:yesterdayT11:00",
            {"first", "last"},
        ),
        ("state:dead reason:REQUIRED_FIELD_MISSING", {"dead 0", "dead 1"}),
        ("state:dead,refused", {"dead 0", "dead 1", "dead 2", "refused"}),
        ("state:dead state:refused", {"dead 0", "dead 1", "dead 2", "refused"}),
        ("user:Robert contract", {"dead 0", "dead 1", "dead 2"}),
        ("address:guess@in.relay.example", {"refused"}),
        ("domain:elsewhere.example", {"refused"}),
        ("domain:acme.com", {"held"}),
        ("cause:S215", {"held"}),
        ("reason:forward_not_proven,unknown_recipient", {"held", "refused"}),
        ('"an offer"', {"first", "bob"}),
        ("user:ada@corp.example since:yesterday until:yesterday", None),
        ("since:1h", {"held", "refused"}),
    ],
)
def test_what_happened_to_which_mails(asked, wanted, names):
    """By state, user, address, domain, text, reason, cause, and between two times."""
    ids = asked.relay.ids
    if names is None:
        names = {"before", "first", "last", "after"}
    found = asked.log(wanted)
    assert found == {who: {ids[name] for name in names} for who in found}


def test_one_mail_by_its_message_id_and_by_its_own(asked):
    """The field that its program wrote; the id that the relay gave it, shortened."""
    one = asked.relay.ids["last"]
    for wanted in (f"message-id:<{one}@test>", f"id:{one}", one):
        found = asked.log(wanted)
        assert found == {who: {one} for who in found}, wanted


def test_who_changed_whose_accepted_addresses(asked):
    """By kind, person and time; the sheet of the page has every row of it."""
    for options, query in (
        (["--change", "address"], {"change": "address"}),
        (["ada@corp.example", "--change", "address"], None),
        (["--by", "cli:", "--since", "1h"], {"by": "cli:", "since": "1h"}),
        (
            ["--change", "address", "--until", "1h"],
            {"change": "address", "until": "1h"},
        ),
    ):
        asks = query or {"user": "ada@corp.example", "change": "address"}
        ours = [row["id"] for row in asked.relay.json("history", *options)]
        assert [row["id"] for row in asked.api("history", **asks)][::-1] == ours
        if "until" in asks:
            assert ours == []
            continue
        rows = csv.DictReader(io.StringIO(asked.page("/history/export.csv", **asks)))
        exports = {"history_export"}
        shown = [r for r in rows if r["action"] not in exports]
        assert {int(row["id"]) for row in shown} == set(ours)
        assert "address" in asked.page("/history", **asks)


def test_how_many_wait_for_what_since_when(asked):
    """By state and reason, with the oldest and the next try."""
    (ours,) = asked.relay.json("status")
    (there,) = asked.relay.json("status", *asked.there)
    api = asked.relay.call("GET", path("status"), asked.token).json
    assert ours | {"at": ""} == there | {"at": ""} == api | {"at": ""}
    counted = {
        (one["state"], one["reason"]): (one["count"], one["oldest_at"])
        for one in ours["waiting"]
    }
    home = asked.page("/")
    shown = {}
    for row in re.findall(r"<tr><td data-label=\"State\">.*?</tr>", home, re.DOTALL):
        (where, count) = re.search(r'href="/log\?q=([^"]+)">(\d+)</a>', row).groups()
        wanted = dict(part.split(":", 1) for part in unquote_plus(where).split())
        (oldest,) = re.findall(r'datetime="([^"]+)"', row)[:1]
        key = wanted["state"], wanted.get("reason", "")
        shown[key] = (int(count), datetime.fromisoformat(oldest))
        # The number leads to the mails that it counts.
        found = asked.log(" ".join(f"{k}:{v}" for k, v in wanted.items()))
        assert {len(ids) for ids in found.values()} == {int(count)}
    assert {key: count for key, (count, _) in shown.items()} == {
        key: count for key, (count, _) in counted.items()
    }
    for key, (_, oldest) in counted.items():
        asked_at = datetime.fromisoformat(oldest)
        assert abs(shown[key][1] - asked_at) < timedelta(minutes=1)


def test_all_that_failed_with_one_cause_are_counted_and_retried(asked):
    """The same number in all three before; who acts does it to those alone."""
    wanted = "state:dead reason:REQUIRED_FIELD_MISSING"
    said = asked.relay.error("retry", wanted, status=1)
    counted = asked.relay.call(
        "GET", path("messages", "count"), asked.token, action="retry", q=wanted
    ).json["count"]
    page = asked.page("/log/many", q=wanted, act="retry")
    assert "fits 2 messages" in said
    assert counted == 2
    assert "2 messages will be tried again." in page
    rows = asked.relay.json("retry", wanted, "--yes")
    assert {r["id"] for r in rows} == {asked.relay.ids[f"dead {n}"] for n in (0, 1)}
    assert list(asked.log(wanted).values()) == [set()] * 4


def test_which_reps_have_logged_nothing(asked):
    """For so long; nobody is named who has had no time to."""
    for silent, names in (("0s", {"ada", "bob", "mona"}), ("14d", set())):
        every = {f"{name}@corp.example" for name in names}
        rows = asked.relay.json("user", "list", "--silent", silent)
        assert {row["email"] for row in rows} == every
        assert {one["email"] for one in asked.api("users", silent=silent)} == every
        page = asked.page("/people", silent=silent)
        assert {
            address
            for address in ("ada", "bob", "mona")
            if f"{address}@corp.example" in page
        } == names


def test_what_a_rule_would_have_done_last_week(tmp_path):
    """Command line, API and page try it on the same mail, and find the same."""
    with org_served() as org:
        relay = make_served(tmp_path)
        text = relay.config.read_text("utf-8")
        text += (
            f'\n[salesforce]\ninstance_url = "{org.url}"\nclient_id = "relay-sandbox"\n'
            'client_secret = "relay-sandbox-secret"\n'
        )
        relay.config.write_text(text, "utf-8")
        with_people(relay)
        try:
            _compare_trials(Asked(relay, tmp_path))
        finally:
            relay.stop()


def _compare_trials(asked):
    relay = asked.relay
    raw = LIST_MAIL.format(date=TEN.strftime("%a, %d %b %Y %H:%M:%S +0000"))
    news = put(
        *(relay, "Ada Byron", TEN, "News"),
        event=Event.RULED_OUT,
        reason="list_mail",
        raw=raw,
    )
    *rows, last = relay.json(
        "settings", "set", "automatic.list_mail", "log", "--preview", "--since", "7d"
    )
    assert [row["id"] for row in rows] == [news]
    body = {"settings": {"automatic.list_mail": "log"}, "since": "7d"}
    begun = relay.call("POST", path("replays"), asked.token, body)
    assert begun.status == 202
    where = begun.headers["Location"]
    deadline = time.monotonic() + 60
    while (found := relay.call("GET", where, asked.token).json)[
        "progress"
    ] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found["progress"] == "done"
    answer = relay.call("GET", f"{where}/differences", asked.token).json
    assert answer["items"] == rows
    assert {"row": "summary"} | found["summary"] == last
    text = _trial_of_the_page(relay)
    assert f"/log/{news}" in text


def _trial_of_the_page(relay):
    """Try the rule on the page; return the text of what was found."""

    async def work():
        settings = load(relay.config, {})
        store = await Store.open(settings.store, SystemClock())
        replays = Replays(functools.partial(replaying, settings), SystemClock())
        console = Console(store, settings, replays=replays)
        root = person("Root", Role.ADMIN, 99)
        form = {"key": "automatic.list_mail", "value": "log"}
        try:
            answer = await console.post("/settings/rules/try", root, data=form)
            place = answer.headers["location"]
            for _ in range(600):
                shown = (await console.get(place, root)).text
                # While it runs the page says how many there are up to then.
                if "1 would change" in shown:
                    return shown
                await asyncio.sleep(0.05)
            raise AssertionError(shown)
        finally:
            await console.close()
            await store.close()

    return asyncio.run(work())
