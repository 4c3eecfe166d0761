"""What a person asks of the log: each condition, pages, and what they cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, text

from relay.core.directory import Role
from relay.core.errors import NotFound
from relay.core.ids import first_id, new_message_id
from relay.core.model import LogFilter, Refusal
from relay.core.states import Event, State
from relay.store import search
from relay.store.schema import metadata


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


@pytest.fixture
def mail(store, make, user):
    """Store a mail for the user; return its id."""

    async def mail(*, whose=user.id, **fields):
        envelope, raw = make(whose, **fields)
        await store.messages.put(envelope, raw)
        return envelope.recipients[0].message_id

    return mail


async def found(store, **wanted):
    return [row["id"] for row in await store.log.find(LogFilter(**wanted))]


async def test_people_are_found_where_they_stand(store, mail, refusal):
    """An address is found as sender and recipient, whole; a domain as the sender's."""
    first = await mail(
        header_from="Ann <ann@acme.example>", header_to="Bo <bo@x.example>, c@y.example"
    )
    second = await mail(
        header_from="joann@acme.example",
        mail_from="ann@notacme.example",
        header_to="Zoë <zoë@bücher.example>",
    )
    one = refusal(mail_from="ann@acme.example", header_from="")
    await store.refusals.record([one])
    for wanted, ids in (
        ({"addresses": ("Ann@ACME.example",)}, [first, one.id]),
        ({"addresses": ("c@y.example",)}, [first]),
        ({"addresses": ("bo@x.example", "joann@acme.example")}, [first, second]),
        ({"addresses": ("zoë@xn--bcher-kva.example",)}, [second]),
        ({"addresses": ("nobody",)}, []),
        ({"domains": ("acme.example",)}, [first, second, one.id]),
        ({"domains": ("notacme.example",)}, [second]),
        ({"domains": ("me.example", "x.example")}, []),
        ({"addresses": ("ann@acme.example",), "refused": True}, [one.id]),
    ):
        assert await found(store, **wanted) == ids, wanted


async def test_an_id_is_found_by_its_beginning(store, mail, refusal, user):
    """Whole or begun, of a message or a refusal, and other conditions still hold."""
    first, second = await mail(), await mail()
    one = refusal(user_id=user.id)
    await store.refusals.record([one])
    ids = [first, second, one.id]
    assert await found(store, begins=(first,)) == [first]
    assert await found(store, begins=(first[:8],)) == ids
    assert await found(store, begins=(first, one.id)) == [first, one.id]
    assert await found(store, begins=(first,), states=("dead",)) == []
    assert await found(store, begins=(second[:8],), user_ids=(user.id,)) == ids
    assert await found(store, begins=("7zzzzzz",)) == []
    assert await found(store, begins=(first[:8],), newest_first=True) == ids[::-1]
    assert await store.log.find_id(second, user.id) == (second, "message")
    for begun, whose in ((second, user.id + 1), (one.id, user.id + 1)):
        with pytest.raises(NotFound, match="no message and no refusal"):
            await store.log.find_id(begun, whose)


async def test_texts_are_found_together(store, mail, refusal):
    """Each text must stand in the subject or with the people; case does not matter."""
    first = await mail(subject="Re: Big OFFER 50%", header_from="Bo <b@x.example>")
    second = await mail(subject="offer", header_to="Ångström <a@y.example>")
    one = refusal(subject="An offer")
    await store.refusals.record([one])
    for texts, ids in (
        (("offer",), [first, second, one.id]),
        (("offer", "b@x"), [first]),
        (("50%",), [first]),
        (("5%",), []),
        (("big_offer",), []),
        (("ngström",), [second]),
    ):
        assert await found(store, texts=texts) == ids, texts


async def test_the_relay_address_is_found_whole_alone(store, mail):
    """Nobody learns a relay address by searching for its letters."""
    id_ = await mail()
    row = await store.log.show(id_)
    assert await found(store, addresses=(row["rcpt"],)) == [id_]
    assert await found(store, texts=(row["rcpt"][:6],)) == []


async def test_states_reasons_and_ids_are_found(store, mail, refusal, owner):
    """Several states mean any of them, `refused` among them; so do reasons."""
    dead, held, queued = [await mail() for _ in range(3)]
    await store.queue.apply(Event.HOLD, [held], None, "test")
    one = refusal(reason="loop", rfc_message_id="<r@x>")
    await store.refusals.record([one])
    await store.queue.apply(Event.DISCARD, [dead], None, "test")
    row = await store.log.show(queued)
    for wanted, ids in (
        ({"states": ("held",)}, [held]),
        ({"states": ("held", "discarded")}, [dead, held]),
        ({"states": ("queued", "refused")}, [queued, one.id]),
        ({"states": ("logged", "held")}, [held]),
        ({"state": State.HELD, "states": ("queued",)}, [held, queued]),
        ({"states": ("refused",), "refused": False}, []),
        ({"reasons": ("hold", "loop")}, [held, one.id]),
        ({"reasons": ("hold",), "states": ("queued",)}, []),
        ({"rfc_message_ids": (row["message_id"],)}, [queued]),
        ({"rfc_message_ids": ("<r@x>", row["message_id"])}, [queued, one.id]),
    ):
        assert await found(store, **wanted) == ids, wanted


async def test_users_are_found(store, mail, user, refusal):
    """Whose mail it is, of several users too, with the refusals that concern them."""
    bob = await store.directory.add_user(
        "Bob", "bob@corp.example", Role.REP, None, "test"
    )
    ada, his = await mail(), await mail(whose=bob.id)
    one = refusal(user_id=bob.id)
    await store.refusals.record([one, refusal()])
    assert await found(store, user_ids=(bob.id,)) == [his, one.id]
    both = {"user_ids": (bob.id,), "user_id": user.id}
    assert await found(store, **both) == [ada, his, one.id]
    assert await found(store, **both, states=("queued",)) == [ada, his]


async def test_a_cause_is_found(store, make, user, refusal):
    """What spoke against a sender is found by its number, and by no part of it."""
    envelope, raw = make(user.id)
    (recipient,) = envelope.recipients
    recipient = replace(recipient, verdict={"cause": "S501", "text": "S5"})
    await store.messages.put(replace(envelope, recipients=(recipient,)), raw)
    one = refusal(verdict={"cause": "S411", "text": ""})
    await store.refusals.record([one])
    assert await found(store, causes=("S501",)) == [recipient.message_id]
    assert await found(store, causes=("S501", "S411"), newest_first=True) == [
        one.id,
        recipient.message_id,
    ]
    assert await found(store, causes=("S5",)) == []


async def test_a_period_has_a_first_moment_and_no_last(store, mail, clock, refusal):
    """`since` is within, `until` is not; what a count began before is within too."""
    await mail()
    clock.move(3600)
    begin = clock.now() + timedelta(seconds=0.001)
    first = await mail()
    clock.move(60)
    one = refusal(probe=True)
    await store.refusals.record([one])
    end = clock.now() + timedelta(seconds=0.001)
    last = await mail()
    assert await found(store, since=begin, until=end) == [first]
    assert await found(store, since=begin, until=end, probes=True) == [first, one.id]
    assert await found(store, since=end) == [last]
    # Probes of a day share a row, which stays within the period of its last one.
    clock.move(7200)
    await store.refusals.record([refusal(probe=True)])
    late = {"since": clock.now(), "probes": True}
    assert await found(store, **late) == [one.id]


async def test_ids_stand_for_times(clock):
    """An id's time is known from its characters; a time out of range is cut."""
    id_ = new_message_id(clock)
    assert first_id(clock.now()) <= id_ < first_id(clock.now(), timedelta(seconds=1))
    assert first_id(clock.now(), timedelta(days=-99_999)) == "0" * 26


@pytest.mark.parametrize("newest", [False, True])
async def test_pages_go_through_everything_once(
    store, mail, refusal, monkeypatch, newest
):
    """Pages put together are the whole answer, in order, although each sees little."""
    monkeypatch.setattr(search, "WINDOW", 3)
    wanted, every = [], []
    for number in range(20):
        fits = number in {2, 3, 4, 17}
        id_ = await mail(subject="rare" if fits else "common")
        every.append(id_)
        wanted += [id_] if fits else []
        if number % 3 == 0:
            one = refusal(subject="rare" if number == 9 else "")
            await store.refusals.record([one])
            wanted += [one.id] if number == 9 else []
            every.append(one.id)
    for texts, ids in ((("rare",), wanted), ((), every)):
        after, seen, pages = None, [], 0
        while True:
            asked = LogFilter(texts=texts, newest_first=newest, after_id=after)
            page = await store.log.page(asked, 4)
            seen += [row["id"] for row in page.rows]
            pages += 1
            after = page.after_id
            if after is None:
                break
        assert seen == (sorted(ids, reverse=newest))
        assert pages > 1
        assert await found(store, texts=texts, newest_first=newest) == seen
        assert await found(store, texts=texts, newest_first=newest, limit=2) == seen[:2]


async def test_a_page_is_stable_while_mail_comes(store, mail):
    """What comes in between moves nothing: the next page goes on where this ended."""
    ids = [await mail() for _ in range(5)]
    first = await store.log.page(LogFilter(newest_first=True), 2)
    await mail()
    rest = LogFilter(newest_first=True, after_id=first.after_id)
    rows = (*first.rows, *(await store.log.page(rest, 9)).rows)
    assert [row["id"] for row in rows] == ids[::-1]


async def test_ids_come_in_lists(store, mail, monkeypatch):
    """All messages that fit, and no refusals, are named for what is done to them."""
    monkeypatch.setattr("relay.store.log._IDS", 2)
    ids = [await mail() for _ in range(5)]
    parts = [part async for part in store.log.ids(LogFilter(newest_first=True))]
    assert parts == [ids[:2], ids[2:4], ids[4:]]


# ------------------------------------------------------------------ what it costs

QUESTIONS = [
    {},
    {"newest_first": True},
    {"user_ids": (1,)},
    {"user_ids": (1, 2), "states": ("dead",)},
    {"states": ("dead",)},
    {"states": ("dead", "held", "refused")},
    {"states": ("logged",)},
    {"states": ("logged",), "user_ids": (1,), "texts": ("offer",)},
    {"reasons": ("FIELD_CUSTOM_VALIDATION_EXCEPTION",)},
    {"rfc_message_ids": ("<1@corp.example>",)},
    {"texts": ("offer",)},
    {"domains": ("acme.example",), "addresses": ("a@acme.example",)},
    {"causes": ("S501",)},
    {"since": timedelta(days=2), "until": timedelta(days=1)},
    {"since": timedelta(days=2), "until": timedelta(days=1), "user_ids": (1,)},
]
MANY = 30_000
"""Rows that make a planner think; how many more there are changes no plan."""


async def fill(store, clock, user):
    """Put many messages and refusals there, one a minute, most of them logged."""
    sqlite = store.context.database.is_sqlite
    now = clock.now()
    numbers = (
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        f"WHERE i < {MANY})"
        if sqlite
        else f"WITH n AS (SELECT i FROM generate_series(1, {MANY}) AS i)"
    )
    start = first_id(now - timedelta(minutes=MANY))[:12]
    stamp = int((now - timedelta(minutes=MANY)).timestamp() * 1_000_000)
    number = "printf('%014d', i)" if sqlite else "lpad(i::text, 14, '0')"
    state = "CASE WHEN i % 500 = 0 THEN 'dead' ELSE 'logged' END"
    given = {
        "messages": {
            "id": f"'{start}' || {number}",
            "blob_id": "'b'",
            "user_id": str(user.id),
            "received_at": f"{stamp} + CAST(i AS BIGINT) * 60000000",
            "rfc_message_id": "'<' || i || '@corp.example>'",
            "state": state,
            "reason": "CASE WHEN i % 500 = 0 THEN 'odd' ELSE '' END",
        },
        "refusals": {"id": f"'{start}' || {number}", "user_id": "NULL"},
    }

    def work(connection):
        connection.execute(
            text(
                "INSERT INTO blobs (id, size_bytes, sha256, chunks) "
                "VALUES ('b', 1, '', 0)"
            )
        )
        for name, values in given.items():
            columns, cells = [], []
            for column in metadata.tables[name].c:
                if column.name in values:
                    cell = values[column.name]
                elif column.nullable or column.server_default is not None:
                    continue
                elif column.type.python_type is str:
                    cell = "'x'"
                elif column.type.python_type is bool:
                    cell = "false"
                else:
                    cell = "1"
                columns.append(column.name)
                cells.append(cell)
            names = ", ".join(columns)
            connection.execute(
                text(
                    f"INSERT INTO {name} ({names}) {numbers} "
                    f"SELECT {', '.join(cells)} FROM n"
                )
            )
        connection.execute(text("ANALYZE"))

    store.context.database.timeout_s = 60
    await store.context.write(work)


@pytest.mark.timeout(60)
async def test_no_question_reads_all_rows(store, user, clock, monkeypatch):
    """The plan of each query reads from an index, as far as its limit says.

    Plans are asked of the database itself: a clock would tell of this machine.
    """
    monkeypatch.setattr(search, "WINDOW", MANY // 50)  # As of a million rows.
    await fill(store, clock, user)
    sqlite = store.context.database.is_sqlite
    plans = []

    def read(connection):
        def explain(conn, cursor, statement, parameters, context, _many):
            if statement.startswith("EXPLAIN") or "messages" not in statement:
                return
            before = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN "
            rows = conn.exec_driver_sql(before + statement, parameters).all()
            plans.append((statement, "\n".join(str(row[-1]) for row in rows)))

        event.listen(connection, "before_cursor_execute", explain)
        try:
            for question in QUESTIONS:
                asked = {
                    key: clock.now() - value if key in {"since", "until"} else value
                    for key, value in question.items()
                }
                search.page(connection, LogFilter(**asked), 50)
        finally:
            event.remove(connection, "before_cursor_execute", explain)

    await store.context.read(read)
    assert len(plans) > len(QUESTIONS)
    for statement, plan in plans:
        if sqlite:
            # A scan in the order of an index ends at its LIMIT; a sort reads all.
            assert "TEMP B-TREE" not in plan, (statement, plan)
            bare = [line for line in plan.splitlines() if "SCAN messages" in line]
            assert all("USING" in line for line in bare), (statement, plan)
        else:
            assert "Seq Scan on messages" not in plan, (statement, plan)
            assert "Index" in plan, (statement, plan)


async def test_each_question_is_planned_for_its_values(store, user, clock):
    """PostgreSQL keeps no plan for all values: a rare state would be read past all."""
    if store.context.database.is_sqlite:
        pytest.skip("SQLite plans each statement once, by its indexes")
    wanted = LogFilter(states=("dead",), user_ids=(user.id,), newest_first=True)

    def read(connection):
        for _ in range(8):  # From the sixth on it would be kept.
            search.page(connection, wanted, 50)
        return connection.execute(
            text(
                "SELECT custom_plans, generic_plans FROM pg_prepared_statements "
                "WHERE statement LIKE 'SELECT messages.%'"
            )
        ).all()

    plans = await store.context.read(read)
    assert [generic for _, generic in plans] == [0] * len(plans)
    assert sum(custom for custom, _ in plans) >= 8
