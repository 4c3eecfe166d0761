"""A locked database, a full disk, a lost connection, a killed process."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys

import pytest
from sqlalchemy import text

from relay.core.errors import NotFound, StoreFull, StoreUnavailable
from relay.core.model import LogFilter
from relay.core.states import Event, State
from relay.store import Store
from relay.store.errors import code, translate

LOCKER = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""

PUTTER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from relay.config import StoreSettings
from relay.core.clock import SystemClock
from relay.core.ids import new_message_id
from relay.core.model import Envelope, RawMail, Recipient
from relay.store import Store

clock = SystemClock()

async def sender(store, size):
    while True:
        message_id = new_message_id(clock)
        data = message_id.encode() * (size // 26)
        envelope = Envelope(
            "a@b.example", "192.0.2.1", "c", False, datetime.now(UTC),
            (Recipient(message_id, "log-x@in.example", None),),
        )
        await store.messages.put(envelope, RawMail(len(data), "0" * 64, data))
        print(message_id, len(data), flush=True)

async def main():
    settings = StoreSettings(
        url=sys.argv[1], spool=Path(sys.argv[2]), min_free_bytes=0, inline_bytes=65536
    )
    store = await Store.open(settings, clock)
    small = (sender(store, 2600) for _ in range(20))
    await asyncio.gather(*small, sender(store, 200000))

asyncio.run(main())
"""


on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("url", ["postgresql"], indirect=True)


@on_sqlite
async def test_a_locked_database_is_unavailable_then_recovers(url, store, make, user):
    """While another process holds the lock put is unavailable; then it works."""
    locker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOCKER, url.removeprefix("sqlite:///"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert await locker.stdout.readline() == b"locked\n"
    mails = [make(user.id) for _ in range(5)]
    results = await asyncio.gather(
        *(store.messages.put(*mail) for mail in mails), return_exceptions=True
    )
    assert [type(error) for error in results] == [StoreUnavailable] * 5
    assert "SQLITE_BUSY" in str(results[0])
    assert isinstance(results[0].__cause__, Exception)
    assert await store.log.find(LogFilter()) == []  # Readers are not blocked.
    locker.stdin.close()
    await locker.wait()
    for mail in mails:
        await store.messages.put(*mail)
    assert len(await store.log.find(LogFilter())) == 5


@on_sqlite
async def test_a_full_disk_is_said_and_recovers(store, make, user):
    """On a full disk put raises StoreFull, nothing is half there, and it recovers."""

    def limit(extra):
        def work(connection):
            pages = connection.scalar(text("PRAGMA page_count"))
            connection.execute(text(f"PRAGMA max_page_count={pages + extra}"))

        return work

    await store.context.write(limit(3))
    results = await asyncio.gather(
        *(store.messages.put(*make(user.id, data=os.urandom(4000))) for _ in range(20)),
        return_exceptions=True,
    )
    full = [error for error in results if error is not None]
    assert full
    assert {type(error) for error in full} == {StoreFull}
    stored = await store.log.find(LogFilter())
    assert len(stored) == 20 - len(full)
    await store.context.write(limit(10_000))
    await store.messages.put(*make(user.id, data=os.urandom(4000)))
    assert len(await store.log.find(LogFilter())) == len(stored) + 1
    assert (
        await store.context.read(lambda c: c.scalar(text("PRAGMA integrity_check")))
        == "ok"
    )


@on_sqlite
async def test_a_large_mail_on_a_full_disk_leaves_no_file(store, make, user):
    """When the row does not fit, the spool file goes away with it."""

    def full(connection):
        pages = connection.scalar(text("PRAGMA page_count"))
        connection.execute(text(f"PRAGMA max_page_count={pages}"))

    async def fill():
        while True:
            await store.messages.put(*make(user.id, data=os.urandom(4000)))

    await store.context.write(full)
    with pytest.raises(StoreFull):
        await fill()
    kept = set(store.messages.spool_dir.iterdir())

    async def fill_with_files():
        nonlocal kept
        while True:
            await store.messages.put(*make(user.id, data=os.urandom(9000)))
            kept = set(store.messages.spool_dir.iterdir())

    with pytest.raises(StoreFull):
        await fill_with_files()
    assert set(store.messages.spool_dir.iterdir()) == kept


async def test_a_failing_unit_fails_alone(store, make, user, put):
    """An error of one caller's unit leaves what shares its transaction alone."""
    (message_id,) = await put()
    results = await asyncio.gather(
        store.messages.put(*make(user.id)),
        store.queue.apply(Event.HOLD, ["0" * 26], None, "eve"),
        store.queue.apply(Event.HOLD, [message_id], None, "eve"),
        store.directory.set_setting("a", 1, "eve"),
        store.context.write(lambda c: c.execute(text("SELECT nonsense FROM nowhere"))),
        store.messages.put(*make(user.id)),
        return_exceptions=True,
    )
    assert isinstance(results[1], NotFound)
    assert isinstance(results[4], StoreUnavailable)
    assert [r for i, r in enumerate(results) if i not in {1, 2, 4}] == [None] * 3
    assert await store.directory.setting("a") == 1
    counts = await store.queue.counts()
    assert (counts[State.HELD], counts[State.QUEUED]) == (1, 2)


async def test_a_mistake_in_a_unit_reaches_its_caller_only(store, make, user):
    """An error that is no driver's passes unchanged, and the rest is committed."""

    def broken(_connection):
        msg = "a mistake"
        raise ZeroDivisionError(msg)

    results = await asyncio.gather(
        store.context.write(broken),
        store.messages.put(*make(user.id)),
        return_exceptions=True,
    )
    assert isinstance(results[0], ZeroDivisionError)
    assert (await store.queue.counts())[State.QUEUED] == 1


@on_sqlite
async def test_a_transaction_lost_midway_is_noticed(store, make, user):
    """When SQLite ends the transaction by itself, nothing is said to be stored."""

    def lose(connection):
        connection.connection.dbapi_connection.rollback()

    put = asyncio.ensure_future(store.messages.put(*make(user.id)))
    await asyncio.sleep(0)
    results = await asyncio.gather(
        put, store.context.write(lose), return_exceptions=True
    )
    assert isinstance(results[1], StoreUnavailable)
    stored = (await store.queue.counts())[State.QUEUED]
    assert stored == (1 if results[0] is None else 0)


@on_postgres
async def test_a_lost_connection_is_unavailable_then_recovers(store, other, make, user):
    """When the server drops our connections, the next try makes new ones."""
    await store.messages.put(*make(user.id))
    kill = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    await other.context.write(lambda c: c.execute(kill))
    with pytest.raises(StoreUnavailable):
        await store.messages.put(*make(user.id))
    await store.messages.put(*make(user.id))
    assert len(await store.log.find(LogFilter())) == 2


async def test_error_texts_hold_no_data(store, make, user):
    """No text of an error, nor of its causes, quotes what was to be stored."""
    envelope, raw = make(user.id, data=b"secret body", subject="secret subject")
    await store.messages.put(envelope, raw)
    with pytest.raises(StoreUnavailable) as caught:
        await store.messages.put(envelope, raw)
    error = caught.value
    assert "secret" not in str(error)
    assert "secret" not in str(error.__cause__)


def test_every_kind_of_foreign_error_is_translated():
    """Driver and system errors become ours, with code and cause; our own pass."""
    full = translate(OSError(28, "No space left on device"))
    assert isinstance(full, StoreFull)
    lost = translate(ConnectionRefusedError(111, "refused"))
    assert isinstance(lost, StoreUnavailable)
    assert not isinstance(lost, StoreFull)
    assert code(lost) == "ECONNREFUSED"
    assert isinstance(translate(sqlite3.OperationalError("x")), StoreUnavailable)
    assert isinstance(translate(TimeoutError()), StoreUnavailable)
    for own in (NotFound("x"), ZeroDivisionError()):
        assert translate(own) is own


@pytest.mark.crash
@pytest.mark.timeout(60)
async def test_what_put_returned_survives_sigkill(url, settings, clock, tmp_path):
    """Killed under load, every mail whose put had returned is there, whole."""
    putter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PUTTER, url, str(tmp_path / "spool"),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said = [(await putter.stdout.readline()).split() for _ in range(300)]
    putter.send_signal(signal.SIGKILL)
    rest = await putter.stdout.read()
    await putter.wait()
    # The last line may be cut off in the middle.
    said += [line.split() for line in rest[: rest.rfind(b"\n") + 1].splitlines()]
    store = await Store.open(settings, clock)
    try:
        known = {row["id"] for row in await store.log.find(LogFilter())}
        for message_id, size in ((a.decode(), int(b)) for a, b in said if b):
            assert message_id in known
            assert await store.messages.raw(message_id) == message_id.encode() * (
                size // 26
            )
    finally:
        await store.close()
