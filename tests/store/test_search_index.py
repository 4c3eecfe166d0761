"""The index of words: it skips what cannot fit, and never a row that does."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, func, select

from relay import app
from relay.cli.sandbox import running_sandbox
from relay.config import Settings
from relay.core.clock import SystemClock
from relay.core.errors import StoreUnavailable
from relay.core.ids import first_id, new_message_id
from relay.core.model import LogFilter, Refusal
from relay.store import schema, search, search_index
from tests.fakes.waiting import until

NAMES = ["ann", "bo.li", "zoë", "joann", "x", "order-4711", "İda", "K", "straße"]
HOSTS = ["acme.example", "ACME.example", "notacme.example", "bücher.example", "a.co"]
WORDS = [
    *("offer", "Offer", "offers", "re", "50%", "4711", "Bestätigung", "ÄÖÜ", "二月"),
    *("a" * 63 + "b" * 40, "no_break", "c-d", "\x00odd", "zanzibar"),
]

RARE = "rare@buyer.example"


@pytest.fixture
def small(monkeypatch):
    """Make blocks and pages small, as of a thousand times as many rows."""
    monkeypatch.setattr(search_index, "BLOCK", 10)
    monkeypatch.setattr(search_index, "_FEW", 1)
    monkeypatch.setattr(search, "WINDOW", 15)
    monkeypatch.setattr(search, "STRETCHES", 2)


def some(chance, words, most):
    return " ".join(chance.choices(words, k=chance.randint(0, most)))


def person(chance):
    name, host = chance.choice(NAMES), chance.choice(HOSTS)
    return f"{name.title()} <{name}@{host}>"


@pytest.fixture
def fill(store, make, user, clock):
    """Store mails and refusals with words drawn from few."""

    async def fill(chance, count):
        for _ in range(count):
            clock.move(1)
            whose = chance.choice([user.id, None])
            sender = person(chance)
            subject = some(chance, WORDS[:-1], 5)
            if chance.random() < 0.8:
                envelope, raw = make(
                    whose,
                    header_from=sender,
                    header_to=", ".join(person(chance) for _ in range(2)),
                    mail_from=sender.partition("<")[2].rstrip(">"),
                    subject=subject,
                )
                await store.messages.put(envelope, raw)
            else:
                await store.refusals.record([refusal(clock, sender, subject, whose)])

    return fill


def refusal(clock, sender, subject, whose=None):
    return Refusal(
        id=new_message_id(clock),
        at=clock.now(),
        peer=f"2001:db8:{clock.now().timestamp() % 9999:.0f}::1",
        mail_from=sender.partition("<")[2].rstrip(">"),
        rcpt="log-none@in.example",
        header_from=sender,
        reply="550 5.1.1 no such relay address",
        reason="unknown_recipient",
        subject=subject,
        user_id=whose,
    )


async def indexed(store, clock):
    """Index all that is here; return the number of blocks."""
    clock.move(search_index.SETTLED.total_seconds() + 1)
    while await store.search_index.turn():
        pass
    return await blocks(store)


async def listed(store, wanted):
    """Return the ids of all pages."""
    ids = []
    while True:
        found = await store.log.page(wanted, 7)
        ids += [row["id"] for row in found.rows]
        if found.after_id is None:
            return ids
        wanted = replace(wanted, after_id=found.after_id)


def questions(chance, begin, user):
    """Yield filters of every kind, alone and together."""
    texts = ["offer", "ffe", "OFFER 50", "0% 47", "47", "a" * 40, "aab", "b" * 41]
    texts += [
        "tigung",
        "bestä",
        "二",
        "no_b",
        "-d",
        "acme.ex",
        "<ann@",
        "zanzibar",
        "x",
    ]
    for _ in range(20):
        at = begin + timedelta(seconds=chance.randint(0, 120))
        parts = {
            "texts": tuple(chance.sample(texts, chance.choice([0, 1, 1, 2]))),
            "addresses": tuple(
                f"{chance.choice(NAMES)}@{chance.choice(HOSTS)}"
                for _ in range(chance.choice([0, 0, 1, 2]))
            ),
            "domains": tuple(chance.sample(HOSTS, chance.choice([0, 0, 1, 2]))),
            "user_ids": chance.choice([(), (), (user.id,)]),
            "states": chance.choice([(), (), ("queued",), ("refused",)]),
            "since": chance.choice([None, None, at]),
            "until": chance.choice([None, None, at + timedelta(seconds=60)]),
            "newest_first": chance.choice([True, False]),
        }
        yield LogFilter(**parts)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_same_is_found_with_it_and_without(
    store, clock, fill, user, small, monkeypatch, seed
):
    """Rows of blocks, behind them, and rows that came late into one."""
    chance = random.Random(seed)
    begin = clock.now()
    await fill(chance, 110)
    assert await indexed(store, clock) > 8
    # Two whose session began before the blocks were made, one of them before all.
    late = []
    for at in (begin - timedelta(seconds=5), begin + timedelta(seconds=70)):
        one = refusal(clock, "Bo <late@acme.example>", "zanzibar offer")
        late.append(replace(one, id=first_id(at), at=at))
    await store.refusals.record(late)
    for _ in range(10):
        await store.search_index.turn()
    await fill(chance, 20)
    asked = list(questions(chance, begin, user))
    asked.append(LogFilter(texts=("zanzibar",), newest_first=True))
    with_it = [await listed(store, one) for one in asked]
    assert with_it[-1] == [one.id for one in reversed(late)]
    monkeypatch.setattr(search_index.Words, "stretches", lambda *_: None)
    without = [await listed(store, one) for one in asked]
    for one, ids, expected in zip(asked, with_it, without, strict=True):
        assert ids == expected, one


@pytest.mark.timeout(60)
async def test_what_is_rare_is_on_the_first_page(store, make, user, clock, small):
    """However far back it is: the blocks between are not looked at."""
    envelope, raw = make(
        user.id, subject="A trip to Zanzibar", header_from="rare@buyer.example"
    )
    await store.messages.put(envelope, raw)
    for number in range(120):
        clock.move(1)
        other, raw = make(user.id, subject=f"offer {number}", header_from="c@d.co")
        await store.messages.put(other, raw)
        refused = refusal(clock, "Bo <bo@d.co>", "offer")
        await store.refusals.record([refused])
    await indexed(store, clock)
    text, address = {"texts": ("anziba",)}, {"addresses": (RARE.title(),)}
    for condition in (text, address, text | address):
        asked = LogFilter(**condition, newest_first=True)
        found = await store.log.page(asked, 50)
        assert [row["id"] for row in found.rows] == [envelope.recipients[0].message_id]
        assert found.after_id is None
    none = await store.log.page(LogFilter(texts=("nowhere",), newest_first=True), 50)
    assert (none.rows, none.after_id) == ((), None)


@pytest.mark.timeout(60)
async def test_two_relays_make_a_block_once(store, other, fill, clock, small):
    """Whoever comes second leaves it."""
    await fill(random.Random(3), 60)
    clock.move(search_index.SETTLED.total_seconds() + 1)
    for _ in range(8):
        await store.search_index.turn()
        await other.search_index.turn()
    blocks = await store.context.read(
        lambda c: c.execute(
            select(schema.search_blocks).order_by(
                schema.search_blocks.c.source, schema.search_blocks.c.last_id
            )
        ).all()
    )
    for name in ("messages", "refusals"):
        own = [block for block in blocks if block.source == name]
        assert [block.rows for block in own] == [10] * len(own)
        assert [block.after_id for block in own[1:]] == [b.last_id for b in own[:-1]]


@pytest.mark.timeout(60)
async def test_what_is_gone_is_forgotten(store, fill, clock, small):
    """Blocks of refusals that were removed go, and words that stand nowhere."""
    chance = random.Random(4)
    for _ in range(40):
        clock.move(1)
        one = refusal(clock, person(chance), f"once{chance.randint(1000, 9999)}")
        await store.refusals.record([one])
    assert await indexed(store, clock) == 4
    await store.context.write(lambda c: c.execute(delete(schema.refusals)))
    store.search_index._turns = 0  # As an hour later.
    for _ in range(70):
        await store.search_index.turn()
    counts = await store.context.read(
        lambda c: [
            c.scalar(select(func.count()).select_from(table))
            for table in (
                schema.search_blocks,
                schema.search_places,
                schema.search_words,
            )
        ]
    )
    assert counts == [0, 0, 0]


async def blocks(store):
    query = select(func.count()).select_from(schema.search_blocks)
    return await store.context.read(lambda c: c.scalar(query))


@pytest.mark.timeout(60)
async def test_a_worker_keeps_it_up_to_date(tmp_path, monkeypatch):
    """In the background, and again after an error of whatever kind."""
    monkeypatch.setattr(app, "INDEX_S", 0.02)
    monkeypatch.setattr(search_index, "BLOCK", 5)
    monkeypatch.setattr(search_index, "SETTLED", timedelta(0))
    errors = [StoreUnavailable("away"), RuntimeError("a fault of our own")]
    turn = search_index.SearchIndex.turn

    async def fail_twice(self):
        if errors:
            raise errors.pop(0)
        return await turn(self)

    monkeypatch.setattr(search_index.SearchIndex, "turn", fail_twice)
    async with running_sandbox("127.0.0.1", 0) as sandbox:
        settings = Settings(
            smtp={"domains": ("in.example",)},
            store={"url": f"sqlite:///{tmp_path}/relay.db", "min_free_bytes": 0},
            salesforce={
                "instance_url": sandbox.url,
                "client_id": "relay-sandbox",
                "client_secret": "relay-sandbox-secret",
            },
            telemetry={"listen": None},
        )
        worker = app.App(settings, roles=frozenset({"worker"}))
        await worker.start()
        try:
            clock = SystemClock()
            for number in range(12):
                one = refusal(clock, f"Bo <bo{number}@acme.example>", "offer")
                await worker.store.refusals.record([replace(one, peer=f"::{number}")])

            async def two():
                return await blocks(worker.store) == 2

            await until(two)
        finally:
            await worker.drain()
