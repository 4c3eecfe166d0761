"""The link that releases a held mail, over real HTTP on a real store."""

from __future__ import annotations

import asyncio
import http.client
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from relay.config import HostPort, Settings, StoreSettings
from relay.core.authentication import Outcome, Verdict
from relay.core.directory import Role
from relay.core.ids import new_message_id
from relay.core.model import Envelope, RawMail, Recipient
from relay.core.states import Event
from relay.sender.release import PATH, LinkExpired, LinkInvalid, ReleaseLinks, is_button
from relay.store import Store
from relay.web import ReleasePages, WebServer
from tests.fakes.intake import SetClock

KEY = "k" * 32
HELD = Verdict(
    Outcome.HOLD,
    "aligned",
    "forwarded",
    cause="S215",
    reason="forward_not_proven",
    text="This mail was passed on by a list <b>or</b> a forwarder.",
    address="ada@corp.example",
)


class Site:
    """A store with one held mail, and the pages over it."""

    def __init__(self, store, clock, user):
        self.store = store
        self.clock = clock
        self.user = user
        self.links = ReleaseLinks("http://127.0.0.1", KEY, clock, days=7)
        self.people = None

    async def refresh(self):
        self.people = await self.store.directory.load()

    async def hold(self, **fields):
        """Store a held mail; return its id."""
        id_ = new_message_id(self.clock)
        raw = b"Subject: x\r\n\r\nHi\r\n"
        envelope = Envelope(
            mail_from="ada@corp.example",
            peer="192.0.2.1",
            helo="",
            tls=False,
            received_at=self.clock.now(),
            recipients=(
                Recipient(id_, "log@x", self.user.id, HELD.reason, HELD.as_json()),
            ),
            header_from="ada@corp.example",
            header_to="Mara <mara@acme.example>",
            subject="The <offer>\u202e",
        )
        await self.store.messages.put(
            replace(envelope, **fields), RawMail(len(raw), "0" * 64, raw)
        )
        return id_

    async def state(self, id_):
        return (await self.store.log.show(id_))["state"]

    async def ask(self, method, link, body=None, headers=None):
        """Return status, headers and text of one request."""

        def work():
            connection = http.client.HTTPConnection(*self.listening, timeout=5)
            try:
                path = urlsplit(link).path
                connection.request(method, path, body, headers or {})
                answer = connection.getresponse()
                return answer.status, answer.headers, answer.read().decode()
            finally:
                connection.close()

        return await asyncio.to_thread(work)

    async def press(self, link):
        """Open the page, and press its button; return status and text."""
        _, _, page = await self.ask("GET", link)
        (value,) = re.findall(r'name="button" value="([0-9a-f]+)"', page)
        status, _, text = await self.ask(
            "POST",
            link,
            f"button={value}",
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        return status, text


@pytest.fixture
async def site(tmp_path):
    """Serve the pages over a store with one user."""
    clock = SetClock()
    settings = StoreSettings(url=f"sqlite:///{tmp_path}/relay.db", min_free_bytes=0)
    store = await Store.open(settings, clock)
    user = await store.directory.add_user(
        "Ada", "ada@corp.example", Role.REP, None, "test"
    )
    made = Site(store, clock, user)
    await made.refresh()
    pages = ReleasePages(made.links, store, lambda: made.people)
    server = WebServer(
        HostPort("127.0.0.1", 0),
        Settings(),
        store,
        None,  # no mail comes in
        clock,
        pages=pages.routes(),
    )
    await server.start()
    made.listening = server.listening
    yield made
    await server.stop()
    await store.close()


async def test_the_owner_releases_with_one_click(site):
    """The page says what is held and why; its button puts the mail into the queue."""
    id_ = await site.hold()
    link = site.links.url(id_, "ada@corp.example")
    status, _, page = await site.ask("GET", link)
    assert status == 200
    for words in (
        "The &lt;offer&gt;</dd>",
        "Mara &lt;mara@acme.example&gt;",
        "list &lt;b&gt;or&lt;/b&gt; a forwarder",
        "2026-03-11 12:00",
        '<form method="post">',
    ):
        assert words in page
    assert "<script" not in page
    assert "\u202e" not in page
    assert await site.state(id_) == "held"
    status, text = await site.press(link)
    assert (status, "is released" in text) == (200, True)
    assert await site.state(id_) == "queued"
    last = (await site.store.log.show(id_))["trace"][-1]
    assert "ada@corp.example by link" in last["detail"]


async def test_a_scanner_that_opens_links_releases_nothing(site):
    """GET, HEAD, and POST without the value of the page, change nothing."""
    id_ = await site.hold()
    link = site.links.url(id_, "ada@corp.example")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for method, body, status in (
        ("GET", None, 200),
        ("HEAD", None, 200),
        ("GET", None, 200),
        ("POST", "", 404),
        ("POST", "button=", 404),
        ("POST", "button=" + "0" * 64, 404),
        ("POST", "other=" + "0" * 64, 404),
        ("POST", "button=" + "0" * 10_000, 404),
        ("PUT", "", 405),
        ("DELETE", "", 405),
    ):
        answer = await site.ask(method, link, body, form)
        assert answer[0] == status, method
    assert await site.state(id_) == "held"


async def test_a_link_works_once(site):
    """Not again, even where an admin holds the mail later."""
    id_ = await site.hold()
    link = site.links.url(id_, "ada@corp.example")
    _, _, page = await site.ask("GET", link)
    value = re.findall(r'value="([0-9a-f]+)"', page)[0]
    assert (await site.press(link))[0] == 200
    await site.store.queue.apply(Event.HOLD, [id_], None, "admin")
    status, _, text = await site.ask("GET", link)
    assert (status, "is released" in text, "<form" in text) == (200, True, False)
    status, _, _ = await site.ask("POST", link, f"button={value}")
    assert status == 200
    assert await site.state(id_) == "held"


async def test_what_an_admin_holds_no_link_releases(site):
    """A person's decision stands."""
    id_ = await site.hold()
    await site.store.queue.apply(Event.RELEASE, [id_], None, "admin")
    await site.store.queue.apply(Event.HOLD, [id_], None, "admin")
    status, _, text = await site.ask("GET", site.links.url(id_, "ada@corp.example"))
    assert (status, "not held any more" in text) == (410, True)
    gone = await site.ask("GET", site.links.url("01" * 13, "ada@corp.example"))
    assert gone[0] == 410


async def test_a_link_ends(site):
    """After its days it shows what to do instead."""
    id_ = await site.hold()
    link = site.links.url(id_, "ada@corp.example")
    site.clock.time += timedelta(days=7)
    status, _, text = await site.ask("GET", link)
    assert (status, "has expired" in text) == (410, True)


async def test_only_an_accepted_address_releases(site):
    """A link to an address that was removed since is worth nothing."""
    id_ = await site.hold()
    for address in ("eve@evil.example", "ada@elsewhere.example"):
        status, _, text = await site.ask("GET", site.links.url(id_, address))
        assert (status, "may not release" in text) == (403, True)
    link = site.links.url(id_, "ADA@corp.example")
    await site.store.directory.set_active(site.user.id, False, "admin")
    await site.refresh()
    assert (await site.ask("GET", link))[0] == 403
    await site.store.directory.set_active(site.user.id, True, "admin")
    await site.store.directory.add_address(site.user.id, "*@own.example", "admin")
    await site.refresh()
    status, _ = await site.press(site.links.url(id_, "any@own.example"))
    assert status == 200


async def test_the_page_is_closed_to_others(site):
    """No script, no frame, no foreign form, no referrer, no cache."""
    id_ = await site.hold()
    for link in (site.links.url(id_, "ada@corp.example"), f"http://x{PATH}none"):
        _, headers, page = await site.ask("GET", link)
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        for word in ("form-action 'self'", "frame-ancestors 'none'"):
            assert word in policy
        assert "unsafe" not in policy
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "href" not in page
        assert "src=" not in page


async def test_a_store_that_is_away_says_so(site, monkeypatch):
    """The owner tries again later; the link is as good as before."""
    from relay.core.errors import StoreUnavailable

    async def away(_link):
        raise StoreUnavailable("down")

    id_ = await site.hold()
    monkeypatch.setattr(site.store.sender, "is_used", away)
    status, _, text = await site.ask("GET", site.links.url(id_, "ada@corp.example"))
    assert (status, "Try again later" in text) == (503, True)


# ------------------------------------------------------------------ links alone


def test_nobody_else_makes_or_changes_a_link():
    """Each part is signed: message, address, end; and by this relay's key."""
    clock = SetClock()
    links = ReleaseLinks("https://relay.example/", KEY, clock, days=7)
    url = links.url("M1", "ada@corp.example")
    assert url.startswith("https://relay.example/release/")
    token = url.rpartition("/")[2]
    link = links.read(token)
    assert (link.message_id, link.address) == ("M1", "ada@corp.example")
    assert link.expires_at == datetime(2026, 3, 11, 12, tzinfo=UTC)
    assert is_button(link, link.button)
    assert not is_button(link, link.button[:-1])
    assert not is_button(link, "ä")
    other = ReleaseLinks("https://relay.example", "o" * 32, clock, days=7)
    head, _, tail = token.partition(".")
    for wrong in (
        other.url("M1", "ada@corp.example").rpartition("/")[2],
        f"{head}.",
        f".{tail}",
        head,
        "",
        "a",
        f"{head[:-2]}AA.{tail}",
        f"{head}.{tail[:-2]}AA",
        f"{head}.{link.button}",
        "ä",
        "A" * 2000,
    ):
        with pytest.raises(LinkInvalid):
            links.read(wrong)
    clock.time += timedelta(days=7)
    with pytest.raises(LinkExpired):
        links.read(token)


async def test_links_need_an_address_for_people(site):
    """Without web.public_url there is none; the key is the store's, or the file's."""
    assert await ReleaseLinks.open(Settings(), site.store, site.clock) is None
    web = {"listen": "127.0.0.1:8080", "public_url": "https://relay.example"}
    settings = Settings(web=web)
    one = await ReleaseLinks.open(settings, site.store, site.clock)
    two = await ReleaseLinks.open(settings, site.store, site.clock)
    token = one.url("M1", "a@x.example").rpartition("/")[2]
    assert two.read(token).message_id == "M1"
    below = Settings(web=web | {"base_path": "/relay"})
    four = await ReleaseLinks.open(below, site.store, site.clock)
    url = four.url("M1", "a@x.example")
    assert url.startswith("https://relay.example/relay/release/")
    own = Settings(web=web, sender={"release_secret": "s" * 32})
    three = await ReleaseLinks.open(own, site.store, site.clock)
    with pytest.raises(LinkInvalid):
        three.read(token)
