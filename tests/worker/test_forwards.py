"""Forwarded mail on its way through the worker: logged once, each mail by itself."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from relay.attachments.stage import Attachments
from relay.config import Settings
from relay.core.model import LogFilter
from relay.core.queue import LeaseOwner
from relay.core.states import ActivityState, Event
from relay.outbox.backoff import Backoff
from relay.outbox.engine import Parts
from relay.outbox.mode import WriteMode
from relay.worker.pipeline import Pipeline
from tests.fakes.people_org import CONTACTS
from tests.fakes.values import directory
from tests.worker.queued import OWNER, work

ANNA, BERT, CARL, DORA = CONTACTS
RELAY = "log-a@in.example"
SENT = "Wed, 4 Mar 2026 10:58:00 -0500"
TEXT = "Hello Ada,\r\n\r\nhow much is it?"


@pytest.fixture
def pipeline(store, org, clock):
    """Return a pipeline that writes Tasks."""
    settings = Settings(
        smtp={"domains": ("in.example",)}, salesforce={"write_as": "task"}
    )
    mode = WriteMode(settings.salesforce, store, clock)
    backoff = Backoff(settings.worker, random.Random(1))
    parts = Parts(settings, store, org, clock, OWNER, backoff)
    people = directory()
    with ThreadPoolExecutor(1) as executor:
        yield Pipeline(
            parts,
            mode,
            None,
            directory=lambda: people,
            files=Attachments(parts, paused=lambda: False),
            executor=executor,
        )


def direct(text=TEXT, *, sent=SENT, to=ANNA, id_="o", subject="Question"):
    """Return a mail of Ada's to a customer, with the relay in BCC."""
    return (
        f"From: ada@corp.example\r\nTo: {to.email_key}\r\nSubject: {subject}\r\n"
        f"Date: {sent}\r\nMessage-ID: <{id_}@corp.example>\r\n\r\n{text}\r\n"
    ).encode()


def received(text=TEXT, *, by=ANNA, id_="r", sent=SENT):
    """Return a mail of a customer's to Ada."""
    return (
        f"From: {by.name} <{by.email_key}>\r\nTo: ada@corp.example\r\n"
        f"Cc: {BERT.email_key}\r\nSubject: Question\r\nDate: {sent}\r\n"
        f"Message-ID: <{id_}@customer.example>\r\n\r\n{text}\r\n"
    ).encode()


def inline(text=TEXT, *, by=ANNA.email_key, to="ada@corp.example", sent=None, note=""):
    """Return what Ada forwards to the relay, copied into the text by Gmail."""
    sent = sent or "Wed, Mar 4, 2026 at 10:58 AM"
    return (
        f"From: ada@corp.example\r\nTo: {RELAY}\r\nSubject: Fwd: Question\r\n"
        f"Date: Thu, 5 Mar 2026 09:00:00 +0000\r\n"
        f"Message-ID: <{random.getrandbits(64)}@corp.example>\r\n\r\n{note}\r\n\r\n"
        "---------- Forwarded message ---------\r\n"
        f"From: Someone <{by}>\r\nDate: {sent}\r\nSubject: Question\r\n"
        f"To: <{to}>\r\n\r\n\r\n{text}\r\n"
    ).encode()


def attached(*mails):
    """Return what Ada forwards to the relay as attachments."""
    head = (
        f"From: ada@corp.example\r\nTo: {RELAY}\r\nSubject: Fwd: mails\r\n"
        f"Date: Thu, 5 Mar 2026 09:30:00 +0000\r\n"
        f"Message-ID: <{random.getrandbits(64)}@corp.example>\r\n"
        'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nfor the record\r\n"
    )
    parts = [
        b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + mail + b"\r\n"
        for mail in mails
    ]
    return head.encode() + b"".join(parts) + b"--b--\r\n"


async def logged(pipeline, queued, name, raw, **more):
    """Take a mail to its end; return how it ended, and whom it was written for."""
    claimed = await queued.take(name, raw=raw, **more)
    ends, _ = await work(pipeline, queued, claimed)
    return ends[name]


async def trace(queued, name):
    """Return the lines of a message, as (step, result)."""
    shown = await queued.store.log.show(queued._ids[name])
    return [(line["step"], line["result"]) for line in shown["trace"]]


async def written(queued):
    """Return whom the Tasks in Salesforce are for, sorted."""
    rows = await queued.rows()
    assert {row.state for row in rows} <= {ActivityState.WRITTEN}
    return sorted(row.fields["WhoId"] for row in rows)


async def test_a_received_mail_is_logged_for_its_author(pipeline, queued):
    """From and Cc of the forwarded mail count; the note stands above the text."""
    end = await logged(pipeline, queued, "f", inline(note="Big deal!"))
    assert end == (Event.LOGGED, "")
    (row,) = await queued.rows()
    assert row.fields["WhoId"] == ANNA.id
    assert row.fields["Subject"] == "Question"
    head, _, text = row.fields["Description"].partition("\n\n")
    assert head.startswith(f"From: Someone <{ANNA.email_key}>\nTo: ada@corp.example")
    assert text.startswith("Note by ada@corp.example on forwarding:\nBig deal!\n---")
    assert "\nHello Ada," in text
    assert "Forwarded message" not in text
    lines = await trace(queued, "f")
    first = ("kind", f"forwarded mail of {ANNA.email_key}, inbound")
    assert lines.index(first) < lines.index(("people", "1"))
    assert ("note", "9 characters") in lines
    (shown,) = await queued.store.log.find(LogFilter())
    assert shown["direction"] == "inbound"


COPIES = {
    "bcc": direct(),
    "inline": inline(by="ada@corp.example", to=ANNA.email_key),
    "attached": attached(direct()),
}


@pytest.mark.parametrize("first", COPIES)
@pytest.mark.parametrize("second", COPIES)
async def test_a_mail_comes_once_whatever_the_way(first, second, pipeline, queued):
    """BCC, then forwarded; forwarded, then BCC; twice; by another user (one mail)."""
    assert await logged(pipeline, queued, "1", COPIES[first]) == (Event.LOGGED, "")
    end = await logged(pipeline, queued, "2", COPIES[second], user_id=2)
    assert end == (Event.LOGGED, "")
    assert await written(queued) == [ANNA.id]
    rows = await queued.store.log.find(LogFilter())
    assert [row["direction"] for row in rows] == ["outbound"] * 2
    assert rows[1]["copy_of"] == rows[0]["id"]


async def test_copies_in_one_batch_are_drafted_from_the_mail_itself(pipeline, queued):
    """The one that was copied into a text comes last, whatever was claimed first."""
    for name, raw in reversed(COPIES.items()):
        await queued.put(name, raw=raw)
    batch = await queued.store.queue.claim(OWNER, 5, 3600)
    ends, _ = await work(pipeline, queued, *batch)
    assert set(ends.values()) == {(Event.LOGGED, "")}
    assert await written(queued) == [ANNA.id]
    (row,) = await queued.rows()
    assert "Note by" not in row.fields["Description"]


async def test_the_same_words_another_week_are_another_mail(pipeline, queued):
    """What recurs is logged each time: other dates, or other words."""
    later = "Wed, Mar 11, 2026 at 10:58 AM"
    for name, raw in (
        ("a", inline("Thanks!")),
        ("b", inline("Thanks!", sent=later)),
        ("c", inline("Thanks a lot, and see you next week in the office!")),
        ("d", direct("Thanks!", to=ANNA)),
        ("e", inline("Thanks!")),
    ):
        assert await logged(pipeline, queued, name, raw) == (Event.LOGGED, "")
    # The third has the minute of the first, and other words; the last is the first.
    assert await written(queued) == [ANNA.id] * 4


async def test_a_mail_to_many_one_by_one_is_as_many_mails(pipeline, queued):
    """The same words in the same minute to other people."""
    for person in (ANNA, BERT, CARL):
        mail = inline(by="ada@corp.example", to=person.email_key)
        assert await logged(pipeline, queued, person.id, mail) == (Event.LOGGED, "")
    assert await written(queued) == sorted([ANNA.id, BERT.id, CARL.id])


async def test_what_is_unsure_says_so(pipeline, queued):
    """Unmatched, with the reason; nobody is looked up."""
    raw = inline().replace(b"From: Someone <anna@", b"From: Someone <anna at ")
    end = await logged(pipeline, queued, "f", raw)
    assert end == (Event.NO_MATCH, "forward_unsure")
    assert ("kind", "forward that is unsure") in await trace(queued, "f")
    assert await queued.rows() == []


async def test_a_forward_to_a_customer_is_a_mail_of_its_own(pipeline, queued, org):
    """With the relay in BCC; the forwarded people are not in it."""
    raw = inline(by=BERT.email_key).replace(
        f"To: {RELAY}".encode(), f"To: {ANNA.email_key}".encode()
    )
    assert await logged(pipeline, queued, "f", raw) == (Event.LOGGED, "")
    assert await written(queued) == [ANNA.id]
    (row,) = await queued.rows()
    assert row.fields["Subject"] == "Fwd: Question"


async def test_a_redirected_mail_is_inbound(pipeline, queued):
    """Its author comes first; the redirecting rep is no participant."""
    raw = b"Resent-From: ada@corp.example\r\nResent-To: x@in.example\r\n" + received()
    assert await logged(pipeline, queued, "r", raw) == (Event.LOGGED, "")
    assert await written(queued) == sorted([ANNA.id, BERT.id])
    lines = await trace(queued, "r")
    assert ("kind", f"mail of {ANNA.email_key}, inbound") in lines
    end = await logged(pipeline, queued, "f", attached(received()))
    assert end == (Event.LOGGED, "")
    assert len(await queued.rows()) == 2


async def test_a_mail_forwarded_by_a_rule_is_no_automatic_mail(pipeline, queued):
    """Whoever wrote it was a person; the null sender is the server's."""
    raw = b"X-Forwarded-To: log-a@in.example\r\nAuto-Submitted: auto-forwarded\r\n"
    assert await logged(pipeline, queued, "r", raw + received()) == (Event.LOGGED, "")
    raw = b"Auto-Submitted: auto-generated\r\n" + inline(by=CARL.email_key)
    assert await logged(pipeline, queued, "f", raw) == (Event.LOGGED, "")
    raw = b"Auto-Submitted: auto-generated\r\n" + direct(to=DORA)
    end = await logged(pipeline, queued, "d", raw)
    assert end == (Event.RULED_OUT, "auto_generated")
    assert await written(queued) == sorted([ANNA.id, BERT.id, CARL.id])


# ---------------------------------------------------------------- several mails

SEVERAL = attached(
    received(id_="1"), received("Another", id_="2", by=CARL), direct(id_="3", to=DORA)
)


async def drain(pipeline, queued):
    """Work until nothing is queued any more."""
    for _ in range(20):
        queued.clock.at += timedelta(hours=1)
        batch = await queued.store.queue.claim(OWNER, 10, 600)
        if not batch:
            return
        await pipeline.work(OWNER, batch)
    raise AssertionError("the queue does not come to rest")


@pytest.fixture
def quiet(pipeline):
    """Let the pipeline work without a circuit breaker."""

    class Breaker:
        pause = None

        async def went_through(self):
            pass

        async def trip(self, error):
            raise AssertionError(error)

    pipeline._breaker = Breaker()
    return pipeline


async def check_several(queued):
    """Each of the three mails is logged once, by a message of its own."""
    rows = await queued.store.log.find(LogFilter())
    assert [row["state"] for row in rows] == ["logged"] * 3
    assert sorted(row["part"] for row in rows) == [1, 2, 3]
    assert len({row["part_of"] for row in rows} - {None}) == 1
    assert await written(queued) == sorted(
        [ANNA.id, BERT.id, BERT.id, CARL.id, DORA.id]
    )
    return rows


async def test_several_attached_mails_are_logged_each_by_itself(quiet, queued):
    """Each has its own message, trace and outcome."""
    await queued.put("s", raw=SEVERAL)
    await drain(quiet, queued)
    rows = await check_several(queued)
    first = next(row for row in rows if row["part"] == 1)
    assert first["part_of"] is None
    assert {row["message_id"] for row in rows if row["part"] != 1} == {
        "<2@customer.example>",
        "<3@corp.example>",
    }
    other = next(row for row in rows if row["part"] == 2)
    shown = await queued.store.log.show(other["id"])
    steps = [(line["step"], line["result"]) for line in shown["trace"]]
    assert ("part", f"of message {first['id']}") in steps
    assert ("part", "2 of 3 mails in the message") in steps


async def test_of_several_one_that_cannot_be_read_is_unmatched(quiet, queued):
    """Nothing is silent: it has a message of its own, with the reason."""
    await queued.put("s", raw=attached(received(), b"no header at all", received()))
    await drain(quiet, queued)
    rows = await queued.store.log.find(LogFilter())
    ends = sorted((row["state"], row["reason"]) for row in rows)
    assert ends == [("logged", ""), ("logged", ""), ("unmatched", "forward_unsure")]
    assert await written(queued) == sorted([ANNA.id, BERT.id])


POINTS = ("divide before", "divide after", "join before", "join after")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("count", range(3))
async def test_a_crash_at_any_commit_loses_and_doubles_nothing(
    point, count, quiet, queued, monkeypatch
):
    """The worker dies before or after a commit; the next one goes on from there."""
    await queued.put("s", raw=SEVERAL)
    part = queued.store.mails
    name, after = point.split()
    real = getattr(part, name)
    left = count

    class Died(BaseException):
        pass

    async def dying(*args, **more):
        nonlocal left
        left -= 1
        if left >= 0:
            return await real(*args, **more)
        monkeypatch.setattr(part, name, real)
        if after == "after":
            await real(*args, **more)
        raise Died

    monkeypatch.setattr(part, name, dying)
    try:
        await drain(quiet, queued)
    except Died:
        await queued.store.queue.release_dead(
            LeaseOwner("host", "boot", 3, "1"), lambda _: False
        )
    monkeypatch.setattr(part, name, real)
    await drain(quiet, queued)
    rows = await queued.store.log.find(LogFilter())
    assert len(rows) == 3
    assert [row["state"] for row in rows] == ["logged"] * 3
    assert await written(queued) == sorted(
        [ANNA.id, BERT.id, BERT.id, CARL.id, DORA.id]
    )
