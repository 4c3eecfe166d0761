"""Who is told of what, and when: levels, authors, digests, and no loop."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from relay.config import NoticesSettings
from relay.core.ids import new_message_id
from relay.core.model import Refusal
from relay.core.notices import NoticeKind
from relay.core.queue import LeaseOwner, Settlement
from relay.core.states import Event
from relay.notices import ClaimNotices, Planner
from relay.notices.planner import zone_of
from tests.fakes.values import directory

if TYPE_CHECKING:
    from relay.core.directory import User
    from relay.store import Store
    from tests.notices.conftest import SetClock

SETTINGS = NoticesSettings(
    smarthost="localhost:25",  # type: ignore[arg-type]
    tls="none",
    from_address="relay@corp.example",
)
numbers = itertools.count(1)


class Stage:
    """A planner over a store, and what happens there."""

    def __init__(self, store: Store, clock: SetClock, owner: LeaseOwner) -> None:
        self.store, self.clock, self.owner = store, clock, owner
        self.settings = SETTINGS
        self.directory: Any = None
        self.planner = self.make(owner)

    def make(self, owner: LeaseOwner, settings: NoticesSettings = SETTINGS) -> Planner:
        return Planner(
            settings, self.store, self.clock, owner, directory=lambda: self.directory
        )

    async def turn(self) -> int:
        self.directory = await self.store.directory.load()
        return await self.planner.turn()

    async def kinds(self) -> list[str]:
        return [str(row.kind) for row in await self.store.notices.find()]

    async def refuse(self, **more: Any) -> None:
        fields = {
            "peer": "192.0.2.1",
            "mail_from": "ada@corp.example",
            "rcpt": "log-x@in.example",
            "header_from": "Ada <ada@corp.example>",
            "reply": "550 5.7.1 no (ref x)",
            "reason": "sender_not_accepted",
            "user_id": 1,
        }
        self.clock.move(seconds=0.001)
        ident = new_message_id(self.clock)
        made = Refusal(ident, self.clock.now(), **(fields | more))  # type: ignore[arg-type]
        await self.store.refusals.record([made])

    async def attempt(self, event: Event) -> None:
        """Store a mail for Ada, and end its attempt."""
        from relay.core.model import Envelope, RawMail, Recipient

        self.clock.move(seconds=0.001)
        rcpt = Recipient(new_message_id(self.clock), "log-x@in.example", 1)
        envelope = Envelope(
            *("ada@corp.example", "192.0.2.1", "client", True, self.clock.now()),
            (rcpt,),
            header_from="ada@corp.example",
            subject=f"Offer {next(numbers)}",
        )
        await self.store.messages.put(envelope, RawMail(5, "0" * 64, b"hello"))
        (claimed,) = await self.store.queue.claim(self.owner, 1, 60)
        done = Settlement(claimed.id, claimed.attempt, event, "why")
        await self.store.ledger.advance(self.owner, settlements=[done])


@pytest.fixture
async def stage(store: Store, clock: SetClock, owner: LeaseOwner, ada: User) -> Stage:
    """Return a planner that has begun to read."""
    assert ada.id == 1
    made = Stage(store, clock, owner)
    assert await made.turn() == 0
    return made


async def test_nobody_is_told_of_the_past(
    store: Store, clock: SetClock, owner: LeaseOwner, ada: User
) -> None:
    """Whoever sets a smarthost gets what happens from then on."""
    made = Stage(store, clock, owner)
    await made.attempt(Event.NO_MATCH)
    clock.move(minutes=5)
    assert await made.turn() == 0
    await made.attempt(Event.NO_MATCH)
    assert await made.turn() == 1


@pytest.mark.parametrize(
    ("level", "kinds"),
    [
        ("problems", ["refused", "unmatched", "failed"]),
        (None, ["refused", "unmatched", "failed"]),
        ("all", ["unmatched", "failed", "logged", "refused"]),
        ("none", []),
    ],
)
async def test_levels(stage: Stage, level: str | None, kinds: list[str]) -> None:
    """A user's own choice; without one, that of the settings."""
    await stage.store.directory.set_notify(1, level, "root")
    await stage.attempt(Event.NO_MATCH)
    await stage.attempt(Event.PERMANENT)
    await stage.attempt(Event.LOGGED)
    await stage.refuse()
    await stage.turn()
    assert sorted(await stage.kinds()) == sorted(kinds)


async def test_the_level_of_all_can_be_changed_at_run_time(stage: Stage) -> None:
    """The setting in the store stands before the file; a user's choice before both."""
    await stage.store.directory.set_setting("notices.level", "none", "root")
    await stage.attempt(Event.NO_MATCH)
    assert await stage.turn() == 0
    await stage.store.directory.set_notify(1, "problems", "root")
    await stage.attempt(Event.NO_MATCH)
    assert await stage.turn() == 1


@pytest.mark.parametrize(
    "refusal",
    [
        # A customer who replied to all, or a stranger who tries.
        {"header_from": "Kim <kim@customer.example>"},
        {"header_from": "no address at all"},
        {"header_from": ""},
        # Automatic mail: nobody answers it (RFC 3834 section 2).
        {"mail_from": ""},
        # The relay's own notice that came back.
        {"header_from": "The Relay <relay@corp.example>"},
        # Nothing that the user could do.
        {"reason": "logging_off"},
        {"reason": "unknown_recipient"},
        {"user_id": None},
    ],
)
async def test_refusals_that_nobody_is_told_of(
    stage: Stage, refusal: dict[str, Any]
) -> None:
    """They stand in `relay log --refused` alone."""
    await stage.refuse(**refusal)
    assert await stage.turn() == 0
    assert await stage.kinds() == []


@pytest.mark.parametrize(
    "header_from",
    ["ADA@corp.example", "Ada <ada.other@corp.example>", "me@private.example"],
)
async def test_refusals_that_the_user_is_told_of(
    stage: Stage, header_from: str
) -> None:
    """An accepted address, or one in the domain of the user's own."""
    await stage.store.directory.add_address(1, "me@private.example", "root")
    await stage.refuse(header_from=header_from)
    assert await stage.turn() == 1
    (row,) = await stage.store.notices.find()
    # To the user's own address, whatever the mail says.
    assert (row.kind, row.recipient) == (NoticeKind.REFUSED, "ada@corp.example")


@pytest.mark.parametrize("begun", [5, 65])
async def test_a_flood_of_refusals_hides_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, begun: int
) -> None:
    """Of strangers who know a relay address, more within a minute than is read."""
    monkeypatch.setattr("relay.store.notices._READ", 5)
    stage.clock.move(seconds=begun)
    for _ in range(23):
        await stage.refuse(header_from="eve@stranger.example")
    await stage.refuse(subject="Offer")
    new = 0
    for _ in range(300):
        new += await stage.turn()
        stage.clock.move(seconds=2)
    assert new == 1


async def test_a_removed_user_is_told_nothing(stage: Stage) -> None:
    """The mailbox may be somebody else's by now."""
    await stage.attempt(Event.NO_MATCH)
    await stage.store.directory.remove_user(1, "root")
    assert await stage.turn() == 0


async def test_one_process_plans(stage: Stage) -> None:
    """Another one begins when the lease of the first has ended."""
    rival = stage.make(LeaseOwner("host", "boot", 11, "1"))
    await stage.attempt(Event.NO_MATCH)
    assert await rival.turn() == 0
    stage.clock.move(seconds=61)
    assert await rival.turn() == 1
    assert await stage.turn() == 0
    assert await stage.kinds() == ["unmatched"]


async def test_a_planner_that_starts_again_goes_on(stage: Stage) -> None:
    """What happened while no relay ran is told, within a day, and told once."""
    quiet = SETTINGS.model_copy(update={"digest": False})
    stage.planner = stage.make(stage.owner, quiet)
    await stage.attempt(Event.NO_MATCH)
    await stage.turn()
    await stage.attempt(Event.PERMANENT)
    stage.clock.move(hours=2)
    stage.planner = stage.make(stage.owner, quiet)
    assert await stage.turn() == 1
    stage.planner = stage.make(stage.owner, quiet)
    assert await stage.turn() == 0
    assert await stage.kinds() == ["unmatched", "failed"]
    await stage.attempt(Event.NO_MATCH)
    stage.clock.move(days=3)
    stage.planner = stage.make(stage.owner, quiet)
    assert await stage.turn() == 0


async def test_a_digest_comes_at_the_users_hour(stage: Stage) -> None:
    """Once a day, in the user's zone, and only if there is something to tell."""
    await stage.store.directory.set_time_zone(1, "America/New_York", "root")
    await stage.attempt(Event.NO_MATCH)
    stage.clock.move(hours=4)  # 10:00 UTC is 05:00 there.
    await stage.turn()
    assert "digest" not in await stage.kinds()
    stage.clock.move(hours=3)
    await stage.turn()
    digest = (await stage.store.notices.find())[-1]
    assert digest.kind is NoticeKind.DIGEST
    assert digest.facts == {"counts": {"unmatched": 1}, "day": "2026-03-01"}
    stage.planner = stage.make(stage.owner)
    stage.clock.move(minutes=5)
    await stage.turn()
    assert (await stage.kinds()).count("digest") == 1
    stage.clock.move(days=1)
    await stage.turn()
    assert (await stage.kinds()).count("digest") == 1  # Nothing happened since.


@pytest.mark.parametrize(("level", "count"), [("problems", 0), ("all", 1)])
async def test_a_digest_of_logged_mail_alone(
    stage: Stage, level: str, count: int
) -> None:
    """Only for who wants all."""
    await stage.store.directory.set_notify(1, level, "root")
    await stage.attempt(Event.LOGGED)
    stage.clock.move(hours=6)
    await stage.turn()
    assert (await stage.kinds()).count("digest") == count


async def test_digests_can_be_off(stage: Stage) -> None:
    """`notices.digest = false`."""
    stage.planner = stage.make(
        stage.owner, SETTINGS.model_copy(update={"digest": False})
    )
    await stage.attempt(Event.NO_MATCH)
    stage.clock.move(hours=6)
    await stage.turn()
    assert "digest" not in await stage.kinds()


async def test_a_claim(store: Store, clock: SetClock, ada: User) -> None:
    """The code goes to the address that is claimed, the confirmation to the user."""
    claims = ClaimNotices(SETTINGS, store)
    assert claims.possible
    assert not ClaimNotices(NoticesSettings(), store).possible
    until = clock.now()
    for _ in range(2):
        await claims.code("1", ada, "new@other.example", "k7wq", until)
    await claims.done(ada, "new@other.example")
    code, done = await store.notices.find()
    assert (code.recipient, code.facts["code"]) == ("new@other.example", "k7wq")
    assert code.facts["until"] == "2026-03-01 06:00 (UTC)"
    assert (done.recipient, done.facts["address"]) == (
        "ada@corp.example",
        "new@other.example",
    )


def test_a_zone_that_this_machine_does_not_know() -> None:
    """The zone of the settings stands in."""
    user = replace(directory().users[1], time_zone="Mars/Base")
    assert zone_of(user, SETTINGS).key == "UTC"
    assert zone_of(None, SETTINGS).key == "UTC"
