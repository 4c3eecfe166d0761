"""Copies to Email to Salesforce (R7 to R14), through a real smarthost: once each."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from relay.config import NoticesSettings, Settings, SMTPSettings, WorkerSettings
from relay.core.errors import RawUnreadable, StoreUnavailable
from relay.core.ids import new_message_id
from relay.core.log_by import WHO_DECIDES
from relay.core.model import Draft, Envelope, LedgerUpdate, RawMail, Recipient
from relay.core.queue import Settlement
from relay.core.reminders import ReminderFilter
from relay.core.states import ActivityState, Event
from relay.mail import keys_of, parse
from relay.outbox.backoff import Backoff
from relay.salesforce import WriteOutcome
from relay.salesforce.model import WriteState
from relay.worker import copies
from relay.worker.copies import Copies, copy_of
from tests.fakes.smarthost import running_smarthost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from relay.core.directory import User
    from relay.core.queue import LeaseOwner
    from relay.store import Store
    from tests.fakes.smarthost import Smarthost
    from tests.notices.conftest import SetClock

pytestmark = pytest.mark.timeout(60)

PLACE = "emailtosalesforce@abc.in.salesforce.com"
RELAY = "log-a@bcc.relay.example"
MAIL = (
    "Return-Path: <ada@corp.example>\r\n"
    f"Received: from x by relay.test for <{RELAY}>; Sun, 1 Mar 2026 06:00:00 +0000\r\n"
    "From: Ada <ada@corp.example>\r\n"
    "To: Anna <anna@one.example>\r\n"
    f"Bcc: {RELAY},\r\n boss@corp.example\r\n"
    "Message-ID: <offer@corp.example>\r\n"
    "Date: Sun, 1 Mar 2026 06:00:00 +0000\r\n"
    "Subject: The offer\r\n"
    "\r\n"
    "Dear Anna, 100.\r\n"
)


@pytest.fixture
def host() -> Iterator[Smarthost]:
    """Run a smarthost without encryption."""
    with running_smarthost() as server:
        yield server


class Stage:
    """A lane of copies over a store, with a clock that is moved by hand."""

    def __init__(
        self, store: Store, clock: SetClock, owner: LeaseOwner, port: int | None
    ) -> None:
        self.store, self.clock, self.owner = store, clock, owner
        notices = NoticesSettings(
            smarthost=f"localhost:{port}" if port else None,  # type: ignore[arg-type]
            tls="none",
            from_address="relay@corp.example",
            timeout_s=10,
        )
        self.settings = Settings(
            smtp=SMTPSettings(domains=("bcc.relay.example",)),
            notices=notices,
            worker=WorkerSettings(retry_first_s=30, retry_days=1),
        )
        self.directory: Any = None
        self.lane = self.make()

    def make(self) -> Copies:
        return Copies(
            self.settings,
            self.store,
            self.clock,
            self.owner,
            Backoff(self.settings.worker, random.Random(1)),
            directory=lambda: self.directory,
        )

    async def read(self) -> None:
        """Take over what an admin edited."""
        self.directory = self.settings.directory(await self.store.directory.load())

    async def put(self, user: User, mail: str = MAIL, rcpt: str = RELAY) -> str:
        """Accept a mail for a user; return the id of its message."""
        raw = mail.encode("utf-8")
        id_ = new_message_id(self.clock)
        envelope = Envelope(
            mail_from="ada@corp.example",
            peer="192.0.2.1",
            helo="client.example",
            tls=True,
            received_at=self.clock.now(),
            recipients=(Recipient(id_, rcpt, user.id),),
        )
        await self.store.messages.put(envelope, RawMail(len(raw), "0" * 64, raw))
        return id_

    async def state(self, id_: str) -> tuple[str, str]:
        row = await self.store.log.show(id_)
        return row["state"], row["reason"]

    async def trace(self, id_: str) -> str:
        row = await self.store.log.show(id_)
        return "\n".join(f"{s['step']} {s['result']}" for s in row["trace"])


@pytest.fixture
async def stage(
    store: Store, clock: SetClock, owner: LeaseOwner, host: Smarthost, ada: User
) -> AsyncIterator[Stage]:
    """Return a lane whose user Ada logs by BCC."""
    made = Stage(store, clock, owner, host.port)
    await store.directory.set_log_by(ada.id, "bcc", PLACE, "ada")
    await made.read()
    yield made
    await made.lane.drain(1)


async def test_a_mail_is_copied_once(stage: Stage, host: Smarthost, ada: User) -> None:
    """R8: to the user's own address, as the user; the message ends as logged."""
    id_ = await stage.put(ada)
    assert await stage.lane.turn()
    assert not await stage.lane.turn()
    ((sender, recipients, raw),) = host.mails
    assert (sender, recipients) == ("ada@corp.example", [PLACE])
    (message,) = host.messages
    assert message["From"] == "Ada <ada@corp.example>"
    assert message["Message-ID"] == "<offer@corp.example>"
    assert message["X-Relay-Copy"]
    assert message["Bcc"] is None
    assert message["Return-Path"] is None
    assert b"log-a@" not in raw, "the relay address is a secret"
    assert await stage.state(id_) == ("logged", "")
    assert "copy sent" in await stage.trace(id_)
    (row,) = await stage.store.copies.find()
    assert (row.state, row.written_at) == (ActivityState.WRITTEN, stage.clock.now())
    assert await stage.store.copies.counts() == {ActivityState.WRITTEN: 1}
    assert await stage.store.copies.find(ada.id + 1) == []


async def test_further_copies_of_a_mail_are_not_sent(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """Neither a second one of the same user, nor a retry of a logged one."""
    first, second = await stage.put(ada), await stage.put(ada)
    while await stage.lane.turn():
        stage.clock.move(seconds=2)
    await stage.store.queue.apply_still(Event.REQUEUE, [first], "root")
    stage.clock.move(seconds=2)
    assert await stage.lane.turn()
    assert len(host.mails) == 1
    for id_ in (first, second):
        assert await stage.state(id_) == ("logged", "")


async def test_a_tag_makes_a_reminder_of_mail_that_is_copied(
    stage: Stage, ada: User
) -> None:
    """One for a mail, however often it comes; the trace tells of what is left out."""
    tagged = RELAY.replace("@", "+todo-3d@")
    ids = [await stage.put(ada, rcpt=tagged) for _ in range(2)]
    while await stage.lane.turn():
        stage.clock.move(seconds=2)
    (made,) = await stage.store.reminders.find(ReminderFilter())
    assert (made.name, made.person, made.assignee_user_id) == (
        "The offer",
        "anna@one.example",
        ada.id,
    )
    assert made.due == date(2026, 3, 4)
    assert "reminder made" in await stage.trace(ids[0])
    # One to oneself alone is left out.
    note = MAIL.replace("To: Anna <anna@one.example>", f"To: {RELAY}")
    left = await stage.put(ada, note.replace("offer@", "note@"), tagged)
    assert await stage.lane.turn()
    assert (await stage.state(left))[0] == "unmatched"
    assert "reminder none" in await stage.trace(left)
    assert len(await stage.store.reminders.find(ReminderFilter())) == 1


async def test_an_answer_that_is_lost_is_left_to_a_person(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """It may be in Salesforce: nothing is sent again until somebody has looked."""
    host.data_replies = ["drop"]
    id_ = await stage.put(ada)
    assert await stage.lane.turn()
    assert await stage.state(id_) == ("dead", "copy_unknown")
    # That the same mail comes again, at that moment or later, is no person's word.
    for _ in range(2):
        again = await stage.put(ada)
        assert await stage.lane.turn()
        assert await stage.state(again) == ("dead", "copy_unknown")
        stage.clock.move(seconds=60)
    assert len(host.mails) == 1
    stage.clock.move(seconds=1)
    await stage.store.queue.apply_still(Event.REQUEUE, [id_], "root")
    assert await stage.lane.turn()
    assert await stage.state(id_) == ("logged", "")
    assert len(host.mails) == 2


async def test_a_kill_between_mark_and_answer_sends_nothing_twice(
    stage: Stage, host: Smarthost, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark is committed before the copy leaves; the next process sees it."""

    class Killed(BaseException):
        """Stands for the end of the process."""

    async def kill(*_args: object, **_more: object) -> None:
        raise Killed

    id_ = await stage.put(ada)
    monkeypatch.setattr(stage.store.copies, "settle", kill)
    with pytest.raises(Killed):
        await stage.lane.turn()
    monkeypatch.undo()
    assert len(host.mails) == 1
    stage.clock.move(seconds=400)
    assert await stage.make().turn()
    assert await stage.state(id_) == ("dead", "copy_unknown")
    assert len(host.mails) == 1


async def test_what_the_smarthost_refuses_is_dead_with_its_words(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """A person sees them, mends it, and has it tried again."""
    host.replies = {PLACE: "550 5.7.1 may not relay"}
    id_ = await stage.put(ada)
    assert await stage.lane.turn()
    row = await stage.store.log.show(id_)
    assert (row["state"], row["reason"]) == ("dead", "copy_refused")
    assert "550 5.7.1 may not relay" in str(row["trace"])
    host.replies = {}
    await stage.store.queue.apply_still(Event.REQUEUE, [id_], "root")
    assert await stage.lane.turn()
    assert await stage.state(id_) == ("logged", "")


async def test_what_is_put_off_is_tried_again(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """With longer and longer waits, until it is too old."""
    host.replies = {PLACE: "451 4.3.0 later"}
    id_ = await stage.put(ada)
    assert await stage.lane.turn()
    assert await stage.state(id_) == ("queued", "copy_put_off")
    assert not await stage.lane.turn()
    host.replies = {}
    stage.clock.move(seconds=31)
    assert await stage.lane.turn()
    assert await stage.state(id_) == ("logged", "")


async def test_it_is_given_up_for_its_age(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """As every message is, after `worker.retry_days`."""
    host.replies = {PLACE: "451 4.3.0 later"}
    id_ = await stage.put(ada)
    for _ in range(200):
        await stage.lane.turn()
        if await stage.state(id_) != ("queued", "copy_put_off"):
            break
        stage.clock.move(seconds=1800)
    assert await stage.state(id_) == ("dead", "copy_put_off")


async def test_a_smarthost_that_is_down_costs_no_attempt(
    store: Store, clock: SetClock, owner: LeaseOwner, ada: User
) -> None:
    """One try for all that is due, then a rest; nothing is marked for good."""
    stage = Stage(store, clock, owner, 1)
    await store.directory.set_log_by(ada.id, "bcc", PLACE, "ada")
    await stage.read()
    id_ = await stage.put(ada)
    assert await stage.lane.turn()
    assert await stage.state(id_) == ("queued", "smarthost_unusable")
    (row,) = await store.copies.find()
    assert row.state is ActivityState.PLANNED
    assert not await stage.lane.turn(), "it rests"
    await stage.lane.drain(1)


async def test_without_address_or_smarthost_a_mail_waits(
    stage: Stage, host: Smarthost, store: Store, owner: LeaseOwner, ada: User
) -> None:
    """R9: it goes as soon as the address is there; nothing is lost."""
    await store.directory.set_log_by(ada.id, "bcc", None, "ada")
    await stage.read()
    id_ = await stage.put(ada)
    assert await stage.lane.turn()
    assert await stage.state(id_) == ("queued", "no_salesforce_address")
    await store.directory.set_log_by(ada.id, "bcc", PLACE, "ada")
    await stage.read()
    stage.clock.move(seconds=5)
    assert await stage.lane.turn(), "the edit has woken it"
    assert await stage.state(id_) == ("logged", "")
    bare = Stage(store, stage.clock, owner, None)
    await bare.read()
    other = await bare.put(ada, MAIL.replace("offer@", "second@"))
    assert await bare.lane.turn()
    assert await bare.state(other) == ("queued", "no_smarthost")
    await bare.lane.drain(1)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("Subject: The offer", "Subject: [private] The offer", "confidential"),
        ("Subject:", "Auto-Submitted: auto-replied\r\nSubject:", "auto_reply"),
        ("Subject:", "X-Relay-Copy: 00\r\nSubject:", "own_copy"),
        ("From: Ada <ada@corp.example>", "From: <x@one.example>", "received_by_bcc"),
        ("Anna <anna@one.example>", "ben@corp.example", "internal_only"),
    ],
)
async def test_the_rules_keep_a_mail_out(
    stage: Stage, host: Smarthost, ada: User, before: str, after: str, reason: str
) -> None:
    """Those of all mail; a copy that comes back makes no loop."""
    id_ = await stage.put(ada, MAIL.replace(before, after))
    assert await stage.lane.turn()
    assert await stage.state(id_) == ("skipped", reason)
    assert not host.mails


async def test_a_mail_that_cannot_be_read_is_dead(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """And keeps its neighbour waiting for nothing."""
    bad = await stage.put(ada, "\r\n\r\n")
    good = await stage.put(ada)
    assert await stage.lane.turn()
    assert (await stage.state(good))[0] == "logged"
    assert (await stage.state(bad))[0] in {"dead", "skipped", "unmatched"}


async def test_a_forward_goes_to_the_address_alone(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """Salesforce reads the mail within, if its own address stands alone in To."""
    inner = (
        "---------- Forwarded message ---------\r\n"
        "From: Anna <anna@one.example>\r\n"
        "Date: Sun, 1 Mar 2026 at 05:00\r\n"
        "Subject: The offer\r\n"
        "To: Ada <ada@corp.example>\r\n\r\nI take it.\r\n"
    )
    mail = (
        f"From: Ada <ada@corp.example>\r\nTo: {RELAY}\r\n"
        "Message-ID: <f@corp.example>\r\nDate: Sun, 1 Mar 2026 06:00:00 +0000\r\n"
        f"Subject: Fwd: The offer\r\n\r\n{inner}"
    )
    id_ = await stage.put(ada, mail)
    assert await stage.lane.turn()
    assert await stage.state(id_) == ("logged", "")
    (message,) = host.messages
    assert message["To"] == PLACE
    assert b"log-a@" not in host.mails[0][2]


async def test_for_everybody_by_bcc_all_mail_is_taken(
    stage: Stage, host: Smarthost, store: Store, ada: User
) -> None:
    """D25: whatever a user has chosen; with it, mail for postmaster."""
    await store.directory.set_log_by(ada.id, "api", PLACE, "ada")
    await stage.read()
    id_ = await stage.put(ada)
    assert not await stage.lane.turn(), "it goes by the API"
    await store.directory.set_setting(WHO_DECIDES, "bcc_only", "root")
    await stage.read()
    assert await stage.lane.turn()
    assert await stage.state(id_) == ("logged", "")
    await store.directory.set_setting(WHO_DECIDES, "api_only", "root")
    await store.directory.set_log_by(ada.id, "bcc", PLACE, "ada")
    await stage.read()
    await stage.put(ada, MAIL.replace("offer@", "other@"))
    assert not await stage.lane.turn()


async def test_the_loop_starts_and_ends(
    stage: Stage, host: Smarthost, ada: User
) -> None:
    """By itself it takes what comes."""
    stage.lane.start()
    await stage.put(ada)
    assert host.taken.wait(0) or await _taken(host)
    await stage.lane.drain(10)
    assert len(host.mails) == 1


async def _taken(host: Smarthost) -> bool:
    import asyncio

    return await asyncio.to_thread(host.taken.wait, 30)


async def test_one_mail_that_breaks_the_code_keeps_no_other(
    stage: Stage, host: Smarthost, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is then worked on by itself; the bad one is tried later."""
    real = copies.ask

    def broken(facts: Any, context: Any) -> Any:
        if facts.email.subject == "bad":
            raise RuntimeError(facts.email.subject)
        return real(facts, context)

    monkeypatch.setattr(copies, "ask", broken)
    bad = await stage.put(ada, MAIL.replace("The offer", "bad").replace("offer@", "b@"))
    good = await stage.put(ada)
    assert await stage.lane.turn()
    assert await stage.state(good) == ("logged", "")
    assert await stage.state(bad) == ("queued", "unexpected")


async def test_mail_for_nobody_is_kept(
    stage: Stage, host: Smarthost, store: Store, ada: User
) -> None:
    """Where all mail goes by BCC nobody else looks at it."""
    await store.directory.set_setting(WHO_DECIDES, "bcc_only", "root")
    await stage.read()
    id_ = await stage.put(replace(ada, id=None))  # type: ignore[arg-type]
    new = await stage.put(ada)
    stage.directory = replace(stage.directory, users={})
    assert await stage.lane.turn()
    assert await stage.state(id_) == ("skipped", "postmaster")
    assert await stage.state(new) == ("queued", "new_user")


@pytest.mark.parametrize("call", [1, 2])
async def test_a_mail_that_cannot_be_read_now_is_tried_again(
    stage: Stage, host: Smarthost, ada: User, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Nothing is marked before its bytes are there."""
    messages, count = stage.store.messages, [0]
    real = messages.raws

    async def raws(ids: Any) -> Any:
        count[0] += 1
        found = await real(ids)
        lost = RawUnreadable("the file cannot be read")
        return dict.fromkeys(found, lost) if count[0] == call else found

    monkeypatch.setattr(messages, "raws", raws)
    id_ = await stage.put(ada)
    assert await stage.lane.turn()
    assert (await stage.state(id_))[0] == "queued"
    assert not any(
        r.state is ActivityState.SENT for r in await stage.store.copies.find()
    )
    stage.clock.move(seconds=60)
    assert await stage.lane.turn()
    assert await stage.state(id_) == ("logged", "")


async def test_a_store_that_fails_costs_nothing(
    stage: Stage, host: Smarthost, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the copy leaves it is given back; then the answer is kept until it is."""
    failing = StoreUnavailable("no answer")
    real, calls = stage.store.copies.settle, [0]

    async def settle(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 1:
            raise failing
        return await real(*arguments)

    async def join(*_arguments: Any, **_more: Any) -> Any:
        raise failing

    monkeypatch.setattr(copies, "_STORE_RETRY_S", 0)
    id_ = await stage.put(ada)
    with monkeypatch.context() as patched:
        patched.setattr(stage.store.mails, "join", join)
        assert await stage.lane.turn()
    assert await stage.state(id_) == ("queued", "store_unavailable")
    monkeypatch.setattr(stage.store.copies, "settle", settle)
    calls[0] = 0
    stage.clock.move(seconds=2)
    assert await stage.lane.turn()
    assert calls[0] == 2
    assert await stage.state(id_) == ("logged", "")
    assert len(host.mails) == 1


async def test_a_mail_that_another_process_has_is_left_to_it(
    stage: Stage, host: Smarthost, store: Store, ada: User
) -> None:
    """It is tried a moment later."""
    rival = replace(stage.owner, pid=11)
    await stage.put(ada)
    ((claimed,),) = [await store.queue.claim(rival, 1, 60)]
    email = parse(MAIL.encode())
    keys = keys_of(email, claimed.received_at)
    await store.mails.join(rival, [(claimed.id, *keys, email.message_id or "")])
    mine = await stage.put(ada)
    assert await stage.lane.turn()
    assert await stage.state(mine) == ("queued", "mail_busy")
    assert not host.mails


async def test_what_the_api_has_logged_is_not_copied(
    stage: Stage, host: Smarthost, store: Store, ada: User
) -> None:
    """A mail is logged once, by whichever way."""
    rival = replace(stage.owner, pid=11)
    id_ = await stage.put(ada)
    (claimed,) = await store.queue.claim(rival, 1, 60)
    email = parse(MAIL.encode())
    keys = keys_of(email, claimed.received_at)
    states = await store.mails.join(rival, [(id_, *keys, email.message_id or "")])
    draft = Draft(
        "email", "k" * 40, "EmailMessage", {"Subject": "x"}, "", (), None, None
    )
    plan, now = [(states[id_].id, [draft])], stage.clock.now()
    sent = LedgerUpdate(draft.key, ActivityState.SENT, sent_at=now)
    done = LedgerUpdate(
        draft.key, ActivityState.WRITTEN, salesforce_id="02s" + "0" * 15
    )
    await store.ledger.advance(rival, plans=plan, ledger=[sent])
    end = Settlement(id_, claimed.attempt, Event.LOGGED)
    await store.ledger.advance(rival, ledger=[done], settlements=[end])
    await store.queue.apply_still(Event.REQUEUE, [id_], "root")
    assert await stage.lane.turn()
    assert await stage.state(id_) == ("logged", "")
    assert not host.mails


async def test_what_comes_too_late_is_not_sent(
    stage: Stage, host: Smarthost, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have its lease by then; it was never out."""

    async def late(mails: Any, **_more: Any) -> Any:
        return [WriteOutcome(key, WriteState.NOT_SENT) for key, _, _ in mails]

    monkeypatch.setattr(stage.lane._smarthost, "send", late)
    id_ = await stage.put(ada)
    assert await stage.lane.turn()
    assert await stage.state(id_) == ("queued", "copy_not_sent")
    (row,) = await stage.store.copies.find()
    assert row.state is ActivityState.PLANNED
    client = copies._Client(stage.lane, [], [])
    assert await client.find([row]) == {}, "no smarthost can be asked"
    assert client.longest_call(row).days > 1000


def test_a_copy_has_its_mark_and_no_trace_of_the_way() -> None:
    """Whatever a mail holds; folded fields go whole."""
    raw = b"A: 1\r\nBcc: x@y,\r\n z@y\r\nCc: b@c\r\n\r\nBody\r\n"
    assert copy_of(raw, "k", ()) == (
        b"X-Relay-Copy: k\r\nA: 1\r\nCc: b@c\r\n\r\nBody\r\n"
    )
    assert copy_of(b"A: 1\r\n", "k", (), to="p@q").startswith(
        b"X-Relay-Copy: k\r\nTo: p@q\r\nA: 1"
    )
