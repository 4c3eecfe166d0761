"""Listings of messages and refusals, and what a stranger's probing leaves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.core.errors import NotFound
from relay.core.ids import new_message_id
from relay.core.model import LogFilter, Refusal
from relay.core.states import State
from relay.store import Store, refusals
from relay.store.log import of_waiting

MESSAGE_NAMES = (
    "id kind state received_at user peer mail_from rcpt from to subject message_id "
    "rfc_message_id reply reason attempts records files copy_of cause sent_by part_of "
    "part direction"
).split()


@pytest.fixture
def refusal(clock):
    def make(**fields):
        clock.move(0.001)
        values = {
            "peer": "203.0.113.9",
            "mail_from": "x@evil.example",
            "rcpt": "log-none@in.example",
            "header_from": "",
            "reply": "550 5.1.1 no such relay address",
            "reason": "unknown_recipient",
        }
        return Refusal(id=new_message_id(clock), at=clock.now(), **(values | fields))

    return make


async def total(store):
    """Return (rows, refusals counted) of the journal."""
    rows = await store.log.find(LogFilter(refused=True))
    return len(rows), sum(row["count"] for row in rows)


async def test_a_message_is_shown_with_stable_names(store, make, user):
    """The names of a message in the log are exactly those that scripts rely on."""
    envelope, raw = make(user.id)
    await store.messages.put(envelope, raw)
    (row,) = await store.log.find(LogFilter())
    assert list(row) == MESSAGE_NAMES
    (recipient,) = envelope.recipients
    assert row | {"received_at": "", "reply": None} == {
        "id": recipient.message_id,
        "kind": "message",
        "state": "queued",
        "received_at": "",
        "user": "ada@corp.example",
        "peer": "192.0.2.1",
        "mail_from": "ada@corp.example",
        "rcpt": recipient.rcpt,
        "from": "Ada <ada@corp.example>",
        "to": "Bob <bob@buyer.example>",
        "subject": envelope.subject,
        "message_id": envelope.rfc_message_id,
        "rfc_message_id": envelope.rfc_message_id,
        "reply": None,
        "reason": "",
        "attempts": 0,
        "records": [],
        "files": [],
        "copy_of": None,
        "cause": None,
        "sent_by": None,
        "part_of": None,
        "part": None,
        "direction": None,
    }
    assert row["received_at"] == "2026-03-01T09:00:00.001+00:00"


async def test_a_refusal_is_shown_with_its_reply(store, refusal, user):
    """A refusal has the same names, the reply, and how often it happened."""
    one = refusal(user_id=user.id, subject="S", rfc_message_id="<m>", detail="why")
    await store.refusals.record([one])
    (row,) = await store.log.find(LogFilter())
    assert list(row) == [*MESSAGE_NAMES, "count"]
    assert (row["state"], row["reply"], row["reason"]) == (
        "refused",
        one.reply,
        "unknown_recipient",
    )
    assert (row["user"], row["count"]) == ("ada@corp.example", 1)
    (step,) = (await store.log.show(one.id))["trace"]
    assert step["result"] == "unknown_recipient"
    assert step["detail"] == f"{one.reply}; why"


async def test_a_copy_names_the_message_that_came_first(store, put, owner):
    """Messages of one mail share its records; who lists them is told so."""
    ids = await put(3)
    await store.queue.claim(owner, 3, 60)
    same = [(id_, "k1", "k2", "<a@b>") for id_ in ids[:2]]
    await store.mails.join(owner, [*same, (ids[2], "k3", "k4", "<c@d>")])
    rows = {row["id"]: row["copy_of"] for row in await store.log.find(LogFilter())}
    assert rows == {ids[0]: None, ids[1]: ids[0], ids[2]: None}
    assert (await store.log.show(ids[1]))["copy_of"] == ids[0]


async def test_unknown_ids_are_not_found(store):
    """`show` of an id that nobody has raises NotFound."""
    with pytest.raises(NotFound):
        await store.log.show("0" * 26)


async def test_the_log_is_in_order_of_receipt(store, put, refusal):
    """Messages and refusals come merged, oldest first, or newest first on request."""
    expected = []
    for _ in range(3):
        expected += await put()
        one = refusal()
        await store.refusals.record([one])
        expected.append(one.id)
    assert [r["id"] for r in await store.log.find(LogFilter())] == expected
    latest = await store.log.find(LogFilter(limit=4, newest_first=True))
    assert [r["id"] for r in latest] == expected[:1:-1]
    older = await store.log.find(
        LogFilter(after_id=expected[4], newest_first=True, limit=2)
    )
    assert [r["id"] for r in older] == [expected[3], expected[2]]
    rest = await store.log.find(LogFilter(after_id=expected[3]))
    assert [r["id"] for r in rest] == expected[4:]


async def test_the_log_is_filtered(store, put, make, refusal, user, clock):
    """State, user, time and kind each restrict the listing."""
    (first,) = await put()
    clock.move(60)
    since = clock.now()
    second, raw = make(None)
    await store.messages.put(second, raw)
    stranger, known = refusal(), refusal(user_id=user.id)
    await store.refusals.record([stranger, known])
    later = second.recipients[0].message_id
    for wanted, ids in (
        (LogFilter(state=State.SKIPPED), [later]),
        (LogFilter(user_id=user.id), [first, known.id]),
        (LogFilter(since=since), [later, stranger.id, known.id]),
        (LogFilter(refused=True), [stranger.id, known.id]),
        (LogFilter(refused=False), [first, later]),
        (LogFilter(since=since + timedelta(days=1)), []),
    ):
        assert [row["id"] for row in await store.log.find(wanted)] == ids


async def test_probing_is_counted_in_one_row(store, refusal, clock, monkeypatch):
    """Beyond the limit a peer's refusals raise one count an hour; none is lost."""
    monkeypatch.setattr(refusals, "SINGLE_REFUSALS", 10)
    for start in range(0, 300, 100):
        await store.refusals.record(
            [refusal(rcpt=f"guess{start + n}@in.example") for n in range(100)]
        )
    assert await total(store) == (11, 300)
    await store.refusals.record([refusal(peer="198.51.100.1")])
    assert await total(store) == (12, 301)
    clock.move(3600)
    await store.refusals.record([refusal()])
    assert await total(store) == (13, 302)
    counted = [
        r for r in await store.log.find(LogFilter(refused=True)) if r["count"] > 1
    ]
    trace = (await store.log.show(counted[0]["id"]))["trace"]
    assert (trace[-1]["step"], trace[-1]["result"]) == ("counted", "290")


async def test_guesses_are_folded_early(store, refusal, user):
    """Who tries addresses gets few rows; other refusals of the peer keep theirs."""
    await store.refusals.record(
        [refusal(rcpt=f"guess{n}@in.example") for n in range(100)]
    )
    assert await total(store) == (20 + 1, 100)
    others = [refusal(reason="sender_not_accepted"), refusal(user_id=user.id)]
    await store.refusals.record(others)
    assert await total(store) == (20 + 1 + 2, 102)


async def test_what_concerns_a_user_stays_apart(store, refusal, user, monkeypatch):
    """Counted refusals of a known user's address are not lost among a stranger's."""
    monkeypatch.setattr(refusals, "SINGLE_REFUSALS", 0)
    await store.refusals.record(
        [refusal(rcpt=f"guess{n}@in.example") for n in range(5)]
    )
    await store.refusals.record([refusal(rcpt="log-a@in.example", user_id=user.id)] * 2)
    rows = await store.log.find(LogFilter(user_id=user.id))
    assert [(row["rcpt"], row["count"]) for row in rows] == [("log-a@in.example", 2)]


async def test_ways_to_write_one_address_share_a_count(
    store, refusal, user, monkeypatch
):
    """Who varies the case of a known user's address gets no row for each."""
    monkeypatch.setattr(refusals, "SINGLE_REFUSALS", 0)
    for rcpt in ("log-a@in.example", "LOG-a@in.example", "Log-A@IN.example"):
        await store.refusals.record([refusal(rcpt=rcpt, user_id=user.id)])
    rows = await store.log.find(LogFilter(user_id=user.id))
    assert [row["count"] for row in rows] == [3]


async def test_one_ipv6_host_is_one_peer(store, refusal, monkeypatch):
    """A host that changes its address within its /64 is still one peer."""
    monkeypatch.setattr(refusals, "SINGLE_REFUSALS", 2)
    await store.refusals.record([refusal(peer=f"2001:db8::{n}") for n in range(1, 50)])
    await store.refusals.record(
        [refusal(peer="2001:db8:0:1::1"), refusal(peer="unix:/run/x")]
    )
    assert await total(store) == (2 + 1 + 2, 51)


async def test_ever_new_peers_fill_neither_disk_nor_memory(
    store, refusal, user, clock, monkeypatch
):
    """Beyond what an hour may hold, all peers share a count for reason and user."""
    monkeypatch.setattr(refusals, "HOURLY_REFUSALS", 3)
    await store.refusals.record([refusal(peer=f"203.0.113.{n}") for n in range(20)])
    assert await total(store) == (3 + 1, 20)
    assert len(store.refusals._probing._seen) == 3
    await store.refusals.record(
        [refusal(peer=f"192.0.2.{n}", user_id=user.id) for n in (1, 2)]
    )
    assert await total(store) == (3 + 2, 22)
    clock.move(3600)
    await store.refusals.record([refusal()])
    assert await total(store) == (3 + 2 + 1, 23)


async def test_an_ipv6_site_is_bounded_as_a_whole(store, refusal, monkeypatch):
    """Who has 65,536 networks gets no 500 rows in each."""
    monkeypatch.setattr(refusals, "SITE_REFUSALS", 10)
    await store.refusals.record(
        [refusal(peer=f"2001:db8:0:{n:x}::1") for n in range(200)]
    )
    assert await total(store) == (10 + 1, 200)
    await store.refusals.record(
        [refusal(peer="2001:db8:1::1"), refusal(peer="192.0.2.1")]
    )
    assert await total(store) == (10 + 1 + 2, 202)


async def test_below_the_floor_refusals_are_only_counted(settings, clock, refusal):
    """A full disk is not filled by those who are refused for it; none is lost."""
    full = settings.model_copy(update={"min_free_bytes": 1 << 60})
    store = await Store.open(full, clock)
    try:
        for peer in range(3):
            peers = [f"192.0.{peer}.{n}" for n in range(50)]
            await store.refusals.record(
                [refusal(peer=p, reason="disk_full") for p in peers]
            )
        assert await total(store) == (1, 150)
    finally:
        await store.close()


async def test_old_refusals_go(settings, clock, refusal, make, monkeypatch):
    """What is older than `refusal_keep_days` goes in small steps; mail stays."""
    monkeypatch.setattr(refusals, "PURGE_BATCH", 4)
    store = await Store.open(settings, clock)
    try:
        await store.messages.put(*make(None))
        await store.refusals.record([refusal() for _ in range(10)])
        clock.move(89 * 86400)
        await store.refusals.record([refusal() for _ in range(3)])
        await store.tidy()
        assert await total(store) == (13, 13)
        clock.move(2 * 86400)
        await store.tidy()
        assert await total(store) == (3, 3)
        assert len(await store.log.find(LogFilter(refused=False))) == 1
        await store.tidy()
        assert await total(store) == (3, 3)
    finally:
        await store.close()


async def test_nothing_to_refuse_is_nothing(store):
    """An empty list writes no row."""
    await store.refusals.record([])
    assert await total(store) == (0, 0)


async def test_probes_are_kept_apart(store, refusal):
    """Probes of a peer, reason and day share a row that is listed only when asked."""
    for _ in range(3):
        await store.refusals.record([refusal(probe=True)])
    await store.refusals.record([refusal(), refusal(probe=True, reason="other")])
    assert await total(store) == (1, 1)
    assert len(await store.log.find(LogFilter())) == 1
    rows = await store.log.find(LogFilter(refused=True, probes=True))
    assert sorted(row["count"] for row in rows) == [1, 1, 3]


async def test_a_probe_is_announced_once(store, clock):
    """Only an announced token is a probe's, once, and for a minute."""
    take = store.refusals.take_probe
    assert not await take("a" * 32)
    await store.refusals.announce_probe("a" * 32)
    await store.refusals.announce_probe("b" * 32)
    assert [await take("a" * 32) for _ in range(2)] == [True, False]
    clock.move(61)
    assert not await take("b" * 32)
    await store.refusals.announce_probe("c" * 32)
    clock.move(61)
    await store.refusals.announce_probe("d" * 32)
    assert not await take("c" * 32)
    assert await take("d" * 32)


@pytest.mark.parametrize("user_id", [None, 7])
async def test_what_waits_is_counted_in_an_index_alone(plan, user_id):
    """However long the rows are, and however many mails the user has."""
    first, *_ = await plan(of_waiting(user_id))
    assert first.startswith("SEARCH messages USING COVERING INDEX ix_messages_queue")
