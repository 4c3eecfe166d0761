"""Alerts on a real store, told over real HTTP: each rule, failures, two relays."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from relay.config import Settings
from relay.core.directory import Role
from relay.core.ids import new_message_id
from relay.core.model import Envelope, RawMail, Recipient, Refusal
from relay.core.queue import LeaseOwner
from relay.core.shared import CallReading, Pause
from relay.core.states import ActivityState
from relay.outbox.backoff import Backoff
from relay.store import Store
from relay.upkeep import Alerter
from relay.upkeep.webhook import call
from tests.fakes.certificates import Authority
from tests.fakes.receiver import SECRET, receiving

ORG = "https://corp.example"
ONE, TWO = LeaseOwner("mx", "boot", 10, "1"), LeaseOwner("mx", "boot", 11, "1")
MINUTE, HOUR = 60, 3600


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.at = datetime(2026, 3, 1, 6, tzinfo=UTC)

    def now(self):
        return self.at

    def boottime_s(self):
        return self.at.timestamp()


class Scene:
    """A store, a receiver, and relays that look."""

    def __init__(self, store, settings, clock, receiver):
        self.store, self.settings = store, settings
        self.clock, self.receiver = clock, receiver
        self.alerter = self.made(ONE)

    def made(self, owner):
        return Alerter(
            *(self.settings, self.store, self.clock, owner),
            Backoff(self.settings.worker, random.Random(1)),
            directory=lambda: self.known,
        )

    async def look(self, seconds=MINUTE):
        """Let time pass, look, and call; return the types of the calls that came."""
        self.clock.at += timedelta(seconds=seconds)
        self.known = self.settings.directory(await self.store.directory.load())
        before = len(self.receiver.calls)
        await self.alerter.look()
        while await self.alerter.send():
            pass
        return [one[2]["type"] for one in self.receiver.calls[before:]]

    @property
    def said(self):
        """Return what the last call said."""
        return self.receiver.calls[-1][2]["data"]

    async def pause(self, reason="credentials"):
        now = self.clock.now()
        pause = Pause(
            now,
            now + timedelta(minutes=1),
            reason,
            "x",
            "lookup: ReadTimeout: invalid_client",
        )
        state = await self.store.pauses.get(ORG)
        await self.store.pauses.trip(ORG, ONE, pause, state.version)

    async def resume(self):
        state = await self.store.pauses.get(ORG)
        await self.store.pauses.end(ORG, state.version)

    async def queue(self, user_id):
        ident = new_message_id(self.clock)
        envelope = Envelope(
            "ada@corp.example",
            *("192.0.2.1", "client", True, self.clock.now()),
            recipients=(Recipient(ident, "log-a@in.example", user_id),),
        )
        await self.store.messages.put(envelope, RawMail(1, "0" * 64, b"x"))
        return ident

    async def refuse(self, count):
        now = self.clock.now()
        await self.store.refusals.record(
            [
                Refusal(
                    id=new_message_id(self.clock),
                    at=now,
                    peer="192.0.2.1",
                    mail_from="",
                    rcpt="x@in.example",
                    header_from="",
                    reply="550",
                    reason="unknown_recipient",
                )
                for _ in range(count)
            ]
        )


@pytest.fixture
async def scene(tmp_path):
    clock = SetClock()
    with receiving() as receiver:
        settings = Settings(
            store={"url": f"sqlite:///{tmp_path}/relay.db", "min_free_bytes": 0},
            salesforce={
                "instance_url": ORG,
                "client_id": "x",
                "client_secret": SecretStr("x"),
                "daily_share": 0.5,
            },
            alerts={
                "webhook_url": receiver.url,
                "webhook_secret": SecretStr(SECRET),
                "webhook_allow_private": True,
                "webhook_timeout_s": 1.0,
                "disk_free_bytes": 0,
            },
        )
        store = await Store.open(settings.store, clock)
        made = Scene(store, settings, clock, receiver)
        assert await made.look() == []
        yield made
        await store.close()


async def test_a_lost_connection_and_its_end(scene):
    """After the time that is set; a short pause is no alert."""
    await scene.pause()
    assert await scene.look(MINUTE) == []
    await scene.resume()
    assert await scene.look() == []
    await scene.pause()
    assert await scene.look(5 * MINUTE) == ["alert.raised"]
    assert scene.said["rule"] == "connection"
    assert scene.said["text"].endswith("UTC: lookup: invalid_client")
    assert scene.said["hint"]
    assert await scene.look() == []
    assert await scene.look(24 * HOUR) == ["alert.still"]
    await scene.resume()
    assert await scene.look() == ["alert.cleared"]
    assert scene.receiver.forged == 0


async def test_calls_of_the_org_near_their_end(scene):
    """Of the org, or of the relay's share; it ends a little below the threshold."""

    async def used(calls, own=0):
        now = scene.clock.now()
        hour = int(now.timestamp() // HOUR)
        await scene.store.usage.add("mx", {hour: own}, CallReading(now, calls, 1000))

    await used(790)
    assert await scene.look() == []
    await used(800)
    assert await scene.look() == ["alert.raised"]
    assert scene.said["text"].startswith("80 % of the API calls are used: 800 of 1000")
    await used(760)
    assert await scene.look() == []
    await used(740)
    assert await scene.look() == ["alert.cleared"]
    await used(740, own=400)
    assert await scene.look() == ["alert.raised"]
    assert await scene.look(25 * HOUR) == ["alert.cleared"]
    await scene.pause("quota")
    await used(10)
    assert await scene.look(10 * MINUTE) == ["alert.raised"]
    assert scene.said["rule"] == "quota"


async def test_mail_that_waits_for_long(scene):
    """The oldest one counts."""
    ada = await scene.store.directory.add_user(
        "Ada", "ada@corp.example", Role.REP, None, "test"
    )
    await scene.queue(ada.id)
    assert await scene.look(29 * MINUTE) == []
    assert await scene.look(2 * MINUTE) == ["alert.raised"]
    assert scene.said["facts"]["count"] == 1
    (claimed,) = await scene.store.queue.claim(TWO, 1, 7200)
    assert claimed
    assert await scene.look() == ["alert.cleared"]


async def test_refusals_that_jump(scene):
    """Many, and many times the usual; a small rise over few is none."""
    await scene.refuse(49)
    assert await scene.look() == []
    await scene.refuse(1)
    assert await scene.look() == ["alert.raised"]
    assert scene.said["facts"] == {"count": 50, "usual": 0.0}
    assert await scene.look(HOUR) == ["alert.cleared"]
    # 50 in a week are 0.3 an hour: five times that is nothing, the least counts.
    await scene.refuse(30)
    assert await scene.look() == []
    scene.settings = scene.settings.model_copy(
        update={
            "alerts": scene.settings.alerts.model_copy(
                update={"refusals_per_hour": 20, "refusals_times": 1000.0}
            )
        }
    )
    scene.alerter = scene.made(ONE)
    assert await scene.look() == []


async def test_a_user_who_is_silent(scene):
    """For the days that are set; one who was disabled is silent by right."""
    ada = await scene.store.directory.add_user(
        "Ada", "ada@corp.example", Role.REP, None, "test"
    )
    assert await scene.look(13 * 24 * HOUR) == []
    assert await scene.look(2 * 24 * HOUR) == ["alert.raised"]
    assert "Ada <ada@corp.example>" in scene.said["text"]
    await scene.store.directory.set_active(ada.id, False, "test")
    assert await scene.look(HOUR) == ["alert.cleared"]


async def test_a_certificate_that_ends(scene, tmp_path):
    """The SMTP server's, a client's, and one that is kept with the Salesforce key."""
    chain, key = Authority(tmp_path).issue("mx.in.example")
    smtp = scene.settings.smtp.model_copy(
        update={"tls_certificate": chain, "tls_key": key}
    )
    scene.settings = scene.settings.model_copy(update={"smtp": smtp})
    scene.clock.at = datetime.now(UTC) - timedelta(days=60)
    scene.alerter = scene.made(ONE)
    assert await scene.look() == []
    scene.clock.at = datetime.now(UTC)
    assert await scene.look() == ["alert.raised"]
    assert scene.said["facts"]["file"] == str(chain)
    chain.unlink()
    assert await scene.look(HOUR) == ["alert.cleared"]


async def test_a_disk_that_fills(scene, monkeypatch):
    """Of this machine alone: another relay does not end the alert."""
    rules = scene.settings.alerts.model_copy(update={"disk_free_bytes": 1000})
    scene.settings = scene.settings.model_copy(update={"alerts": rules})
    scene.alerter = scene.made(ONE)
    free = {"now": 999}
    monkeypatch.setattr(scene.store.messages, "free_bytes", lambda: free["now"])
    assert await scene.look() == ["alert.raised"]
    free["now"] = 1100
    assert await scene.look() == []
    other = scene.made(LeaseOwner("mx2", "boot", 10, "1"))
    free["now"] = 9999
    await other.look()
    assert len(await scene.store.alerts.find(open_only=True)) == 1
    assert await scene.look() == ["alert.cleared"]


async def test_a_threshold_is_changed_while_the_relay_runs(scene):
    """By `relay settings set`; 0 switches a rule off, and ends its alert."""
    await scene.store.directory.set_setting("alerts.connection_after_s", 60, "test")
    await scene.pause()
    assert await scene.look(MINUTE) == ["alert.raised"]
    await scene.store.directory.set_setting("alerts.connection_after_s", 0, "test")
    assert await scene.look() == ["alert.cleared"]


async def test_a_receiver_that_fails_is_called_again(scene):
    """With growing waits, a wait that it asks for, and one id; then it is told."""
    scene.receiver.answers = [500, "hang", (429, {"Retry-After": "600"}), 204]
    await scene.pause()
    assert await scene.look(5 * MINUTE) == ["alert.raised"]
    (row,) = await scene.store.alerts.calls()
    assert (row.status, row.error, row.failures) == (500, "answered 500", 1)
    assert row.response.startswith("said")
    assert await scene.look(10) == []
    assert await scene.look(30) == ["alert.raised"]
    (row,) = await scene.store.alerts.calls()
    assert (row.status, row.error) == (None, "no answer within 1 s")
    assert await scene.look(MINUTE) == ["alert.raised"]
    assert await scene.look(9 * MINUTE) == []
    assert await scene.look(3 * MINUTE) == ["alert.raised"]
    (row,) = await scene.store.alerts.calls()
    assert (row.state, row.status, row.failures) == (ActivityState.WRITTEN, 204, 3)
    assert len(set(scene.receiver.ids)) == 1
    times = [at for _, at, _ in scene.receiver.calls]
    assert times == sorted(set(times))


async def test_a_receiver_that_is_gone_is_left(scene):
    """410 at once, and other failures after some days."""
    scene.receiver.answers = [410]
    await scene.pause()
    assert await scene.look(5 * MINUTE) == ["alert.raised"]
    (row,) = await scene.store.alerts.calls()
    assert (row.state, row.due_at) == (ActivityState.REFUSED, None)
    scene.receiver.answers = [500, 500]
    await scene.resume()
    assert await scene.look() == ["alert.cleared"]
    assert await scene.look(6 * 24 * HOUR) == ["alert.cleared"]
    row = (await scene.store.alerts.calls())[-1]
    assert row.state is ActivityState.REFUSED
    assert row.error == "given up after days: answered 500"


async def test_a_call_whose_process_was_killed_is_made_again(scene):
    """Between the commit and the call, and between the call and its outcome."""
    await scene.pause()
    scene.clock.at += timedelta(minutes=5)
    scene.known = scene.settings.directory(await scene.store.directory.load())
    await scene.alerter.look()
    # Killed before the call: nothing came, the row is there.
    assert scene.receiver.calls == []
    scene.alerter = scene.made(ONE)
    assert await scene.look() == ["alert.raised"]
    # Killed after the call, before its outcome was written: it comes twice, one id.
    await scene.resume()
    scene.clock.at += timedelta(minutes=1)
    await scene.alerter.look()
    claimed = await scene.store.alerts.claim(TWO, 5, 60)
    assert call(scene.settings.alerts, claimed[0].key, claimed[0].body, 1).taken
    scene.alerter = scene.made(ONE)
    assert await scene.look(2 * MINUTE) == ["alert.cleared"]
    assert scene.receiver.ids[-1] == scene.receiver.ids[-2]


async def test_two_relays_tell_an_alert_once(scene):
    """One has the lease; when it is gone, the other goes on and raises nothing anew."""
    rival = scene.made(TWO)
    await scene.pause()
    scene.clock.at += timedelta(minutes=5)
    scene.known = scene.settings.directory(await scene.store.directory.load())
    await rival.look()
    await scene.alerter.look()
    await rival.look()
    while await rival.send() or await scene.alerter.send():
        pass
    assert scene.receiver.types == ["alert.raised"]
    scene.clock.at += timedelta(hours=1)
    await rival.look()
    await rival.send()
    assert scene.receiver.types == ["alert.raised"]
    await scene.resume()
    scene.clock.at += timedelta(hours=1)
    await rival.look()
    await rival.send()
    assert scene.receiver.types == ["alert.raised", "alert.cleared"]


async def test_it_runs_and_stops(scene):
    """By itself, as the relay runs it."""
    await scene.pause()
    scene.clock.at += timedelta(minutes=5)
    scene.known = scene.settings.directory(await scene.store.directory.load())
    scene.alerter = Alerter(
        *(scene.settings, scene.store, scene.clock, ONE),
        Backoff(scene.settings.worker, random.Random(1)),
        directory=lambda: scene.known,
        poll_s=0.01,
    )
    scene.alerter.start()
    assert await asyncio.to_thread(scene.receiver.called.wait, 8)
    await scene.alerter.drain(5)
    assert scene.receiver.types == ["alert.raised"]
