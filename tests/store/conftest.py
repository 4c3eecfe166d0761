"""Stores to test: one suite, each test on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from relay.config import StoreSettings
from relay.core.directory import Role
from relay.core.ids import new_message_id
from relay.core.model import Envelope, RawMail, Recipient, Step
from relay.core.queue import LeaseOwner
from relay.store import Store
from relay.store.schema import metadata

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BODY = b"From: ada@corp.example\r\nSubject: Hello\r\n\r\nHi.\r\n"


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.at = datetime(2026, 3, 1, 9, tzinfo=UTC)

    def now(self):
        return self.at

    def boottime_s(self):
        return self.at.timestamp()

    def move(self, seconds):
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture(scope="session")
def reused(postgres) -> tuple[str, str]:
    """Return (URL, name) of a database that tests empty behind them."""
    return postgres.create("reused"), "reused"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Return the URL of an empty store."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/relay.db"
        return
    server = request.getfixturevalue("postgres")
    url, name = request.getfixturevalue("reused")
    yield url
    emptied = [
        f"DELETE FROM {table.name}"
        for table in reversed(metadata.sorted_tables)
        if table.name != "meta"
    ]
    server.sql(";".join([*emptied, "UPDATE meta SET revision = 0"]), name)


PATIENT = {"busy_timeout_s": 10, "timeout_s": 30}
"""For tests in which writers take turns: a busy machine may be slow."""


@pytest.fixture
def settings(request, url, tmp_path):
    """Return the settings; a test may ask for others by an indirect parameter."""
    values = {
        "url": url,
        "spool": tmp_path / "spool",
        "min_free_bytes": 0,
        "busy_timeout_s": 0.3,
        "inline_bytes": 4096,
    }
    return StoreSettings(**values | getattr(request, "param", {}))


@pytest.fixture
async def store(settings, clock) -> AsyncIterator[Store]:
    opened = await Store.open(settings, clock)
    yield opened
    await opened.close()


@pytest.fixture
async def other(store, settings, clock) -> AsyncIterator[Store]:
    """Return a second store on the same database."""
    opened = await Store.open(settings, clock)
    yield opened
    await opened.close()


@pytest.fixture
async def user(store):
    return await store.directory.add_user(
        "Ada", "ada@corp.example", Role.REP, None, "test"
    )


@pytest.fixture
def owner():
    return LeaseOwner("host", "boot", 10, "1")


@pytest.fixture
def rival():
    return LeaseOwner("host", "boot", 11, "1")


@pytest.fixture
def make(clock):
    """Return a maker of (envelope, raw mail) pairs."""
    numbers = itertools.count(1)

    def mail(*user_ids, data=BODY, **fields):
        number = next(numbers)
        clock.move(0.001)  # Ids sort by millisecond.
        recipients = tuple(
            Recipient(new_message_id(clock), f"log-{number}@in.example", user_id)
            for user_id in user_ids
        )
        envelope = Envelope(
            mail_from="ada@corp.example",
            peer="192.0.2.1",
            helo="client.example",
            tls=True,
            received_at=clock.now(),
            recipients=recipients,
            header_from="Ada <ada@corp.example>",
            header_to="Bob <bob@buyer.example>",
            subject=f"Offer {number}",
            rfc_message_id=f"<{number}@corp.example>",
            trace=(Step(clock.now(), "sender", "accepted", "ada@corp.example"),),
        )
        from dataclasses import replace

        return replace(envelope, **fields), RawMail(len(data), "0" * 64, data)

    return mail


@pytest.fixture
def put(store, make, user):
    """Store mails for the one user; return their message ids."""

    async def put(count=1):
        ids = []
        for _ in range(count):
            envelope, raw = make(user.id)
            await store.messages.put(envelope, raw)
            ids.append(envelope.recipients[0].message_id)
        return ids

    return put


@pytest.fixture
def plan(store, url):
    """Return what tells how SQLite carries a query out, a text a step."""
    if not url.startswith("sqlite"):
        pytest.skip("SQLite says in its plan whether an index covers a query")

    async def steps(query) -> list[str]:
        def ask(connection):
            compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")
            return [row[-1] for row in rows]

        return await store.context.read(ask)

    return steps
