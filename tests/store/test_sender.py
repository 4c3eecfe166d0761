"""What sender trust keeps: verdicts, held mail, signatures, tries, used links."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.authentication import Foresight, Outcome, Verdict
from relay.core.errors import IllegalTransition, NotFound
from relay.core.model import LogFilter, Refusal
from relay.core.states import Event, State
from relay.store import Store
from relay.store.sender import LinkUsed
from tests.store.conftest import PATIENT

HELD = Verdict(
    Outcome.HOLD,
    "aligned",
    "forwarded",
    cause="S215",
    reason="forward_not_proven",
    text="It was passed on.",
    address="Ada@ACME.com",
    monitor=Foresight("any_pass_none_fail", Outcome.ACCEPT),
)
GOOD = Verdict(
    Outcome.ACCEPT,
    "aligned",
    "direct",
    proof="signed by acme.com",
    address="a@acme.com",
)


@pytest.fixture
def judged(make, user):
    """Return a maker of a mail with one verdict for the one user."""

    def mail(verdict=HELD, **fields):
        envelope, raw = make(user.id, **fields)
        (one,) = envelope.recipients
        held = verdict.reason if verdict.outcome is Outcome.HOLD else ""
        one = replace(one, held_for=held, verdict=verdict.as_json())
        return replace(envelope, recipients=(one,)), raw

    return mail


@pytest.fixture
def hold(store, judged):
    """Store a held mail; return its id."""

    async def hold():
        envelope, raw = judged()
        await store.messages.put(envelope, raw)
        return envelope.recipients[0].message_id

    return hold


async def test_a_mail_is_held_from_its_start(store, hold, owner):
    """No worker sees it; the log has its reason and its cause."""
    id_ = await hold()
    assert await store.queue.claim(owner, 10, 60) == []
    (row,) = await store.log.find(LogFilter(state=State.HELD))
    assert (row["id"], row["reason"], row["cause"]) == (
        id_,
        "forward_not_proven",
        "S215",
    )
    shown = await store.log.show(id_)
    assert shown["verdict"] == HELD.as_json()
    assert shown["verdict"]["domain"] == "acme.com"


async def test_each_recipient_has_a_state_of_their_own(store, make, user, owner):
    """One mail, held for one and queued for another, in rows and in chunks."""
    for data in (b"Subject: x\r\n\r\nsmall", b"Subject: x\r\n\r\n" + b"y" * 9000):
        envelope, raw = make(user.id, user.id, None, data=data)
        first, second, third = envelope.recipients
        first = replace(first, held_for="no_proof", verdict=HELD.as_json())
        second = replace(second, verdict=GOOD.as_json())
        envelope = replace(
            envelope,
            recipients=(first, second, third),
            signatures=(("d" * 64, "c" * 64),),
        )
        await store.messages.put(envelope, raw)
        claimed = await store.queue.claim(owner, 10, 60)
        assert [one.id for one in claimed] == [second.message_id]
        assert (await store.log.show(first.message_id))["state"] == "held"
        assert (await store.log.show(second.message_id))["cause"] is None
        assert "verdict" not in await store.log.show(third.message_id)
        assert await store.sender.seen({"d" * 64}) == {"d" * 64: "c" * 64}


async def test_a_refusal_keeps_its_verdict(store, clock):
    """It is shown whole, and its cause is in the list."""
    refusal = Refusal(
        "R1", clock.now(), "192.0.2.1", "", "log-a@x", "", "550", "no_proof",
        verdict=replace(HELD, outcome=Outcome.REFUSE, cause="S201").as_json(),
    )  # fmt: skip
    await store.refusals.record([refusal, replace(refusal, id="R2", verdict=None)])
    rows = await store.log.find(LogFilter(refused=True))
    assert [row["cause"] for row in rows] == ["S201", None]
    assert (await store.log.show("R1"))["verdict"]["outcome"] == "refuse"
    assert "verdict" not in await store.log.show("R2")


async def test_held_mail_does_not_expire(store, hold, clock):
    """It waits for a person, however long."""
    id_ = await hold()
    clock.move(400 * 24 * 3600)
    await store.tidy()
    assert (await store.log.show(id_))["state"] == "held"


# ------------------------------------------------------------------ signatures


async def test_the_first_mail_with_a_signature_counts(store, other, judged):
    """A later mail with another content does not take its place."""
    for where, content in ((store, "a" * 64), (other, "b" * 64)):
        envelope, raw = judged(GOOD, signatures=(("d" * 64, content),))
        await where.messages.put(envelope, raw)
    assert await other.sender.seen({"d" * 64, "e" * 64}) == {"d" * 64: "a" * 64}
    assert await store.sender.seen(()) == {}


async def test_old_facts_are_removed(store, judged, clock):
    """Signatures after their days, tries after two weeks."""
    envelope, raw = judged(GOOD, signatures=(("d" * 64, "a" * 64),))
    await store.messages.put(envelope, raw)
    assert await store.sender.count_try("k") == (1, 0)
    assert await store.sender.purge(30) == 0
    clock.move(15 * 24 * 3600)
    assert await store.sender.purge(30) == 1
    assert await store.sender.count_try("k") == (1, 0)
    clock.move(16 * 24 * 3600)
    assert await store.sender.purge(30) == 2
    assert await store.sender.seen({"d" * 64}) == {}


# ------------------------------------------------------------------ tries


async def test_tries_are_counted_for_all_relays(store, other, clock):
    """Each mail by itself, with the time since its first try."""
    assert await store.sender.count_try("one") == (1, 0)
    clock.move(60)
    assert await other.sender.count_try("one") == (2, 60)
    assert await store.sender.count_try("two") == (1, 0)
    counted = await asyncio.gather(*(store.sender.count_try("three") for _ in "abcd"))
    assert sorted(tries for tries, _ in counted) == [1, 2, 3, 4]


# ------------------------------------------------------------------ links


@pytest.mark.parametrize("settings", [PATIENT], indirect=True, ids=["patient"])
async def test_relays_share_the_key_of_links(store, other, settings, clock):
    """Made once, whoever asks first, and kept."""
    keys = await asyncio.gather(*(one.sender.release_key() for one in (store, other)))
    assert len(set(keys)) == 1
    assert len(keys[0]) >= 32
    again = await Store.open(settings, clock)
    assert await again.sender.release_key() == keys[0]
    await again.close()


async def test_a_link_releases_once(store, hold, clock, owner):
    """The second use changes nothing, even where the mail is held again."""
    id_, until = await hold(), clock.now() + timedelta(days=7)
    assert not await store.sender.is_used("L")
    await store.sender.release(id_, "L", until, "ada@acme.com by link")
    assert await store.sender.is_used("L")
    row = await store.log.show(id_)
    assert (row["state"], row["reason"]) == ("queued", "")
    assert row["trace"][-1]["step"] == "release"
    assert "ada@acme.com by link" in row["trace"][-1]["detail"]
    await store.queue.apply(Event.HOLD, [id_], None, "admin")
    for link, error in (("L", LinkUsed), ("M", IllegalTransition)):
        with pytest.raises(error):
            await store.sender.release(id_, link, until, "ada")
    assert (await store.log.show(id_))["state"] == "held"
    assert not await store.sender.is_used("M")
    assert await store.queue.claim(owner, 10, 60) == []


async def test_of_two_clicks_at_a_time_one_releases(store, other, hold, clock):
    """Two relays that get the same link at the same moment do not both use it."""
    id_, until = await hold(), clock.now() + timedelta(days=7)
    outcomes = await asyncio.gather(
        *(one.sender.release(id_, "L", until, "ada") for one in (store, other)),
        return_exceptions=True,
    )
    assert sorted(str(type(one).__name__) for one in outcomes) == [
        "LinkUsed",
        "NoneType",
    ]


async def test_a_link_to_no_held_mail_changes_nothing(store, hold, put, clock):
    """A mail that is gone, queued or discarded is not released."""
    until = clock.now() + timedelta(days=7)
    with pytest.raises(NotFound):
        await store.sender.release("none", "L", until, "ada")
    (queued,) = await put()
    discarded = await hold()
    await store.queue.apply(Event.DISCARD, [discarded], None, "admin")
    for id_ in (queued, discarded):
        with pytest.raises(IllegalTransition):
            await store.sender.release(id_, "L", until, "ada")
    assert not await store.sender.is_used("L")


# ------------------------------------------------------------------ reports


async def test_the_report_counts_by_domain(store, judged, clock):
    """Outcomes, causes, and what the watched policy would have stopped."""
    watched = replace(GOOD, monitor=Foresight("aligned", Outcome.REFUSE, "S201"))
    late = replace(GOOD, address="z@late.example")
    for verdict in (HELD, HELD, GOOD, watched, late):
        if verdict is late:
            clock.move(3600)
        envelope, raw = judged(verdict)
        await store.messages.put(envelope, raw)
    refusal = Refusal(
        "R1", clock.now(), "192.0.2.1", "", "log-a@x", "", "550", "no_proof", count=3,
        verdict=replace(GOOD, outcome=Outcome.REFUSE, cause="S201").as_json(),
    )  # fmt: skip
    await store.refusals.record([refusal])
    acme, other = await store.sender.report(clock.now() - timedelta(days=1))
    assert (acme["domain"], acme["mails"]) == ("acme.com", 7)
    assert [acme[name] for name in ("accept", "flag", "hold", "refuse", "retry")] == [
        2, 0, 2, 3, 0,
    ]  # fmt: skip
    assert acme["causes"] == {"S215": 2, "S201": 3}
    assert acme["monitor"] == {
        "policy": "aligned",
        "mails": 1,
        "stopped": 1,
        "causes": {"S201": 1},
    }
    assert (other["domain"], other["accept"]) == ("late.example", 1)
    rows = await store.sender.report(clock.now() - timedelta(seconds=1))
    assert [(one["domain"], one["mails"]) for one in rows] == [
        ("acme.com", 3),
        ("late.example", 1),
    ]


async def test_what_was_seen_of_a_domain(store, judged, clock):
    """Verdicts of that domain alone, the newest first."""
    for verdict in (GOOD, HELD, replace(GOOD, address="x@else.example")):
        envelope, raw = judged(verdict)
        await store.messages.put(envelope, raw)
    seen = await store.sender.proofs("acme.com", clock.now() - timedelta(days=1))
    assert [one["outcome"] for one in seen] == ["hold", "accept"]
    assert await store.sender.proofs("acme.com", clock.now() + timedelta(1)) == []
