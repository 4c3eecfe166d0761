"""Refusals on their way to the store."""

from __future__ import annotations

import asyncio

import pytest

from relay.core.errors import StoreUnavailable
from relay.intake.refusals import (
    Occasion,
    RefusalRecorder,
    Rejection,
    probe_sender,
)
from relay.smtp.replies import reply_line
from relay.telemetry.metrics import REGISTRY
from tests.fakes.intake import MemorySink, SetClock
from tests.fakes.waiting import until

UNKNOWN = Rejection("unknown_recipient", "inside", 7)
CROWDED = Rejection("too_many_connections")


def counted(reason):
    return REGISTRY.get_sample_value("relay_refusals_total", {"reason": reason}) or 0


async def test_refusal_has_everything(tmp_path):
    """A refusal has its own id in its reply, what it is about, and is counted."""
    before = counted("unknown_recipient")
    recorder = RefusalRecorder(MemorySink(tmp_path), SetClock(), reply_line)
    refusal = recorder.make(
        Occasion("192.0.2.1", "a@b", "c@d", "e@f", "s", "<m>"), UNKNOWN
    )
    assert refusal.reply == f"550 5.1.1 No such relay address here (ref {refusal.id})"
    assert (refusal.peer, refusal.mail_from, refusal.rcpt) == (
        "192.0.2.1",
        "a@b",
        "c@d",
    )
    assert (refusal.header_from, refusal.subject) == ("e@f", "s")
    assert (refusal.rfc_message_id, refusal.user_id, refusal.detail) == (
        "<m>",
        7,
        "inside",
    )
    assert counted("unknown_recipient") == before + 1


async def test_record_swallows_trouble(tmp_path):
    """What the store does not take is no trouble for the dialogue."""
    sink = MemorySink(tmp_path)
    recorder = RefusalRecorder(sink, SetClock(), reply_line)
    refusal = recorder.make(Occasion("192.0.2.1"), UNKNOWN)
    for error in (StoreUnavailable("locked"), RuntimeError("bug")):
        sink.refuse_error = error
        await recorder.record([refusal])
    assert sink.refused == []
    sink.refuse_error = None
    await recorder.record([refusal])
    assert sink.refused == [refusal]


async def test_record_waits_only_so_long(tmp_path, monkeypatch):
    """A store that hangs holds a reply for a while, not for ever."""
    monkeypatch.setattr("relay.intake.refusals._WAIT_S", 0.01)
    sink = MemorySink(tmp_path)
    gate = asyncio.Event()

    async def hang(refusals):
        await gate.wait()
        sink.refused.extend(refusals)

    sink.refusals.record = hang
    recorder = RefusalRecorder(sink, SetClock(), reply_line)
    await recorder.record([recorder.make(Occasion("192.0.2.1"), UNKNOWN)])
    assert sink.refused == []
    gate.set()
    await recorder.close()
    assert len(sink.refused) == 1


async def test_refused_connections_are_summed(tmp_path):
    """A flood of connections makes one row a minute with the count of the rest."""
    sink, clock = MemorySink(tmp_path), SetClock()
    recorder = RefusalRecorder(sink, clock, reply_line)
    for _ in range(100):
        recorder.count("192.0.2.1", CROWDED)
    recorder.count("192.0.2.2", CROWDED)
    await until(lambda: len(sink.refused) > 1)
    assert [(one.peer, one.count) for one in sink.refused] == [
        ("192.0.2.1", 1),
        ("192.0.2.2", 1),
    ]
    clock.uptime_s += 61
    recorder.count("192.0.2.1", CROWDED)
    await recorder.close()
    counts = [one.count for one in sink.refused if one.peer == "192.0.2.1"]
    assert sorted(counts) == [1, 1, 99]
    assert len({one.id for one in sink.refused}) == len(sink.refused)


async def test_peers_noted_are_bounded(tmp_path, monkeypatch):
    """Many peers do not fill the memory, and no count is lost."""
    monkeypatch.setattr("relay.intake.refusals._MOST_PEERS", 3)
    sink = MemorySink(tmp_path)
    recorder = RefusalRecorder(sink, SetClock(), reply_line)
    for number in range(10):
        for _ in range(2):
            recorder.count(f"192.0.2.{number}", CROWDED)
    await recorder.close()
    assert sum(one.count for one in sink.refused) == 20


async def test_probes_are_marked(tmp_path):
    """A sender with an announced token is a probe: not counted, its token not kept."""
    store = MemorySink(tmp_path)
    token = "0123456789abcdef" * 2
    recorder = RefusalRecorder(store, SetClock(), reply_line)
    before = counted("unknown_recipient")
    for _ in range(2):
        store.announced.add(token)
        sender = probe_sender(token, "mx.in.example")
        await recorder.record([recorder.make(Occasion("::1", sender), UNKNOWN)])
    assert counted("unknown_recipient") == before
    assert {(one.probe, one.mail_from) for one in store.refused} == {
        (True, "relay-check@mx.in.example")
    }


@pytest.mark.parametrize(
    "sender", ["relay-check@mx", f"relay-check+{'0' * 32}@mx", "relay-check+x@mx", ""]
)
async def test_a_stranger_is_no_probe(sender, tmp_path):
    """Without an announced token a refusal is counted and kept as it is."""
    store = MemorySink(tmp_path)
    recorder = RefusalRecorder(store, SetClock(), reply_line)
    before = counted("unknown_recipient")
    await recorder.record([recorder.make(Occasion("::1", sender), UNKNOWN)])
    assert counted("unknown_recipient") == before + 1
    assert [(one.probe, one.mail_from) for one in store.refused] == [(False, sender)]
