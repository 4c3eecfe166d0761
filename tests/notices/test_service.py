"""Notices at work, against a real smarthost: sent, put off, given up, never lost."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from relay.config import NoticesSettings, WorkerSettings
from relay.core.clock import SystemClock
from relay.core.notices import NoticeCursor, NoticeDraft, NoticeItem, NoticeKind
from relay.core.states import ActivityState
from relay.notices import NoticeService
from relay.outbox.backoff import Backoff
from tests.fakes.smarthost import running_smarthost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.core.directory import User
    from relay.core.notices import NoticeRow
    from relay.core.queue import LeaseOwner
    from relay.store import Store
    from tests.fakes.smarthost import Smarthost
    from tests.notices.conftest import SetClock

pytestmark = pytest.mark.timeout(60)

PLANNED, WRITTEN = ActivityState.PLANNED, ActivityState.WRITTEN
REFUSED = ActivityState.REFUSED


@pytest.fixture
def host() -> Iterator[Smarthost]:
    """Run a smarthost without encryption."""
    with running_smarthost() as server:
        yield server


class Stage:
    """A service over a store, with a clock that is moved by hand."""

    def __init__(
        self, store: Store, clock: SetClock, owner: LeaseOwner, port: int
    ) -> None:
        self.store, self.clock, self.owner = store, clock, owner
        self.settings = NoticesSettings(
            smarthost=f"localhost:{port}",  # type: ignore[arg-type]
            tls="none",
            from_address="relay@corp.example",
            timeout_s=10,
        )
        self.directory: Any = None
        self.service = self.make()

    def make(self, **more: Any) -> NoticeService:
        worker = WorkerSettings(retry_first_s=30, retry_days=1)
        return NoticeService(
            self.settings,
            self.store,
            self.clock,
            self.owner,
            Backoff(worker, random.Random(1)),
            directory=lambda: self.directory,
            **more,
        )

    async def plan(self, user: User, *keys: str, kind: Any = NoticeKind.FAILED) -> None:
        """Plan a notice that is due at once."""
        items = tuple(NoticeItem(k, self.clock.now(), {"id": k}) for k in keys)
        draft = NoticeDraft(kind, user.email, items, user.id)
        seen = NoticeCursor(0, self.clock.now(), self.clock.now())
        await self.store.notices.plan([draft], seen, gather_s=0, interval_s=0)

    async def row(self) -> NoticeRow:
        (row,) = await self.store.notices.find()
        return row


@pytest.fixture
async def stage(
    store: Store, clock: SetClock, owner: LeaseOwner, host: Smarthost, ada: User
) -> Stage:
    """Return a service whose user is Ada."""
    made = Stage(store, clock, owner, host.port)
    made.directory = await store.directory.load()
    assert ada.id in made.directory.users
    return made


async def test_what_is_due_is_sent_once(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """The mail is the user's, from the relay; then there is nothing to do."""
    await stage.plan(ada, "a", "b")
    assert await stage.service.send()
    assert not await stage.service.send()
    (message,) = host.messages
    assert message["To"] == "ada@corp.example"
    assert message["X-Relay-Notice"] == "failed"
    assert message["Subject"] == "2 mails could not be logged"
    row = await stage.row()
    assert (row.state, row.written_at, row.due_at) == (WRITTEN, stage.clock.now(), None)


async def test_a_refusal_is_final(stage: Stage, host: Smarthost, ada: User) -> None:
    """The smarthost's words are kept for `relay notices list`; a retry sends it."""
    host.replies = {"ada@corp.example": "550 5.1.1 no such user"}
    await stage.plan(ada, "a")
    await stage.service.send()
    row = await stage.row()
    assert (row.state, row.error) == (REFUSED, "550 5.1.1 no such user")
    host.replies = {}
    await stage.store.notices.retry([row.id], "root")
    await stage.service.send()
    assert (await stage.row()).state is WRITTEN


async def test_what_may_pass_is_tried_again_and_given_up_by_age(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """With growing waits, until `worker.retry_days`."""
    host.replies = {"ada@corp.example": "452 4.2.2 full"}
    await stage.plan(ada, "a")
    await stage.service.send()
    row = await stage.row()
    assert (row.state, row.failures) == (PLANNED, 1)
    assert row.due_at is not None
    assert not await stage.service.send()
    stage.clock.at = row.due_at
    await stage.service.send()
    assert (await stage.row()).failures == 2
    stage.clock.move(days=2)
    await stage.service.send()
    row = await stage.row()
    assert row.state is REFUSED
    assert row.error == "given up after days: 452 4.2.2 full"


async def test_no_answer_is_sent_again_with_the_same_message_id(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """It may come twice, rather than not at all; the double can be told."""
    host.data_replies = ["drop"]
    await stage.plan(ada, "a")
    await stage.service.send()
    row = await stage.row()
    assert row.state is PLANNED
    assert row.error.startswith("no answer: ")
    assert row.due_at is not None
    stage.clock.at = row.due_at
    await stage.service.send()
    first, second = host.messages
    assert first["Message-ID"] == second["Message-ID"]
    assert (await stage.row()).state is WRITTEN


async def test_a_smarthost_that_is_down_is_left_alone_for_a_while(
    store: Store, clock: SetClock, owner: LeaseOwner, ada: User
) -> None:
    """One session for all that is due, then a rest; nothing is lost."""
    with running_smarthost() as server:
        port = server.port
    made = Stage(store, clock, owner, port)
    made.directory = await store.directory.load()
    await made.plan(ada, "a")
    await made.plan(ada, "b", kind=NoticeKind.HELD)
    assert await made.service.send()
    rows = await store.notices.find()
    assert [(row.state, row.failures) for row in rows] == [(PLANNED, 1)] * 2
    await made.plan(ada, "c", kind=NoticeKind.UNMATCHED)
    assert not await made.service.send()
    clock.move(seconds=11)
    assert await made.service.send()


async def test_a_held_mail_has_its_link(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """Made when the notice is sent, for the address to which it goes."""
    service = stage.make(
        release_url=lambda ident, to: f"https://relay.example/{ident}/{to}"
    )
    await stage.plan(ada, "a", kind=NoticeKind.HELD)
    await service.send()
    text = host.messages[0].get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "https://relay.example/a/ada@corp.example" in text


async def test_an_address_that_may_not_send_releases_nothing(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """The link goes to accepted addresses alone."""
    await stage.store.directory.remove_address(ada.id, "ada@corp.example", "root")
    stage.directory = await stage.store.directory.load()
    service = stage.make(release_url=lambda *_: "https://relay.example/x")
    await stage.plan(ada, "a", kind=NoticeKind.HELD)
    await service.send()
    text = host.messages[0].get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "relay.example" not in text
    assert "relay release ID" in text


async def test_an_address_that_makes_no_mail_holds_nothing_up(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """It is refused alone."""
    bad = NoticeDraft(NoticeKind.FAILED, "a\r\nb@corp.example", user_id=ada.id)
    await stage.store.notices.add("bad", bad)
    await stage.plan(ada, "a", kind=NoticeKind.HELD)
    await stage.service.send()
    rows = await stage.store.notices.find()
    assert [row.state for row in rows] == [REFUSED, WRITTEN]
    assert len(host.mails) == 1


async def test_old_notices_are_removed(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """After `notices.keep_days`, by the planner."""
    await stage.plan(ada, "a")
    await stage.service.send()
    stage.clock.move(days=31)
    await stage.service.plan()
    assert await stage.store.notices.find() == []


async def test_a_running_service_sends_and_drains(
    store: Store, owner: LeaseOwner, host: Smarthost, ada: User
) -> None:
    """Its tasks find what is due; a drain ends them."""
    made = Stage(store, SystemClock(), owner, host.port)  # type: ignore[arg-type]
    made.directory = await store.directory.load()
    service = made.make(poll_s=0.05)
    await made.plan(ada, "a")
    # The store's clock stands; what it calls due is due.
    store.context.clock.at += timedelta(days=3650)  # type: ignore[attr-defined]
    service.start()
    await asyncio.to_thread(host.taken.wait, 20)
    await service.drain(20)
    assert len(host.mails) == 1
