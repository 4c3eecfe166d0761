"""A database that neither answers nor breaks off: mail is put off, and none lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import threading
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from relay.core.errors import StoreUnavailable
from relay.core.model import LogFilter
from relay.store import Store
from tests.fakes.waiting import until
from tests.store.waking import settle, wakes

on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
LARGE = b"x" * 9000
"""More than `inline_bytes`."""


@pytest.fixture
def settings(settings):
    """Wait for a second at most."""
    return settings.model_copy(update={"timeout_s": 1.0})


@contextmanager
def stopped(pid):
    """Freeze a process of the server."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def committing(store):
    """Return the pid of the server's process behind the committer."""
    unit = text("SELECT pg_backend_pid()")
    return await store.context.database.committer.submit(lambda c: c.scalar(unit))


async def at_rest(store, pid):
    """Say whether a process of the server is gone, or has nothing to do."""
    unit = text(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = :pid "
        "AND pid <> pg_backend_pid() AND state <> 'idle'"
    )
    return await store.context.read(lambda c: c.scalar(unit, {"pid": pid})) == 0


async def subjects(store):
    return {row["subject"] for row in await store.log.find(LogFilter())}


async def results(*calls):
    """Return what came of each.

    Raises:
        TimeoutError: One of them waits for a database that does not answer.
    """
    async with asyncio.timeout(8):
        return await asyncio.gather(*calls, return_exceptions=True)


@on_postgres
async def test_a_frozen_committer_is_unavailable_then_replaced(store, make, user):
    """Who waits is told while it is frozen; the next mail goes by a new connection."""
    await store.messages.put(*make(user.id, subject="before"))
    with stopped(await committing(store)):
        probe, *came = await results(
            store.messages.try_write(),
            *(store.messages.put(*make(user.id)) for _ in range(5)),
        )
        assert {type(one) for one in came} == {StoreUnavailable}
        assert isinstance(probe, StoreUnavailable)
        assert "does not answer" in str(probe)
        # The frozen process is left alone: another one serves.
        await store.messages.try_write()
        await store.messages.put(*make(user.id, subject="after"))
        assert await subjects(store) == {"before", "after"}


@on_postgres
async def test_what_was_answered_is_there_after_a_thaw(store, make, user):
    """A commit whose answer never came may be done; no 250 is for one that was not."""
    told = []
    for number in range(3):
        with stopped(await committing(store)):
            mails = [make(user.id, subject=f"{number} {n}") for n in range(3)]
            came = await results(*(store.messages.put(*mail) for mail in mails))
        told += [
            mail[0].subject
            for mail, one in zip(mails, came, strict=True)
            if one is None
        ]
        last = make(user.id)
        await store.messages.put(*last)
        told.append(last[0].subject)
    assert await subjects(store) >= set(told)


@on_postgres
async def test_a_frozen_pool_is_unavailable_too(store, make, user):
    """Large mail and reading go by the pool: neither waits for ever."""
    pid = await store.context.write(lambda c: c.scalar(text("SELECT pg_backend_pid()")))
    with stopped(pid):
        (came,) = await results(store.messages.put(*make(user.id, data=LARGE)))
        assert isinstance(came, StoreUnavailable)
        await store.messages.put(*make(user.id, data=LARGE))
        assert len(await store.log.find(LogFilter())) == 1


@on_postgres
async def test_a_frozen_notification_is_not_the_last(store, other, make, user):
    """Mail that came while the server hung is no reason to stop waking a worker."""
    await other.queue.wait_for_work(0.1)
    await store.messages.put(
        *make(user.id)
    )  # The committer has its own connection now.
    pid = await store.context.write(lambda c: c.scalar(text("SELECT pg_backend_pid()")))
    with stopped(pid):
        await store.messages.put(*make(user.id))
        sending = store.context.database.wake._sending
        assert sending
        async with asyncio.timeout(8):
            await asyncio.wait([sending])
    # The frozen process ends if its connection was cut, or has nothing to do any more:
    # then all it sent was heard.
    await until(lambda: at_rest(store, pid))
    await settle(other)
    await wakes(lambda: store.messages.put(*make(user.id)), other)


@on_postgres
async def test_a_statement_that_hangs_is_cut_off(store, make, user):
    """A lock that somebody keeps in the server is no reason to wait either."""
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await store.context.write(lambda c: c.execute(text("SELECT pg_sleep(20)")))
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await store.context.read(lambda c: c.execute(text("SELECT pg_sleep(20)")))
    await store.messages.put(*make(user.id))


@on_postgres
async def test_a_frozen_server_does_not_keep_the_store_from_closing(
    settings, clock, make
):
    """A relay that ends does not wait for a server that never says goodbye."""
    store = await Store.open(settings, clock)
    await store.messages.put(*make(None))
    with stopped(await committing(store)):
        async with asyncio.timeout(8):
            await store.close()


@on_sqlite
async def test_a_disk_that_hangs_is_unavailable_and_loses_nothing(
    store, make, user, tmp_path
):
    """A commit that comes late was answered 451; one that had not begun never comes."""
    begun, gate = threading.Event(), threading.Event()

    def hang(_connection):
        begun.set()
        assert gate.wait(20)

    hanging = asyncio.ensure_future(store.context.write(hang))
    await asyncio.to_thread(begun.wait, 5)
    came = await results(
        hanging,
        store.messages.put(*make(user.id, subject="small")),
        store.messages.put(*make(user.id, subject="large", data=LARGE)),
        store.messages.try_write(),
    )
    assert {type(one) for one in came} == {StoreUnavailable}
    # What may still be written keeps its file: the row could come.
    assert len(list(store.messages.spool_dir.glob("*.eml"))) == 1
    gate.set()
    await store.messages.put(*make(user.id, subject="later"))
    assert await subjects(store) == {"later"}


@on_sqlite
async def test_large_mail_put_off_leaves_no_file(store, url, make, user):
    """A locked database: five attempts at a large mail leave nothing in the spool."""
    lock = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    for _ in range(5):
        (came,) = await results(store.messages.put(*make(user.id, data=LARGE)))
        assert isinstance(came, StoreUnavailable)
        with pytest.raises(StoreUnavailable):
            await store.messages.try_write()
    assert list(store.messages.spool_dir.iterdir()) == []
    lock.execute("ROLLBACK")
    lock.close()
    await store.messages.try_write()
    await store.messages.put(*make(user.id, data=LARGE))
    assert len(list(store.messages.spool_dir.glob("*.eml"))) == 1


@on_sqlite
async def test_a_file_whose_row_is_there_stays(store, make, user):
    """The same mail put twice fails the second time; the first one's file stays."""
    envelope, raw = make(user.id, data=LARGE)
    await store.messages.put(envelope, raw)
    with pytest.raises(StoreUnavailable):
        await store.messages.put(envelope, raw)
    assert await store.messages.raw(envelope.recipients[0].message_id) == LARGE


@on_sqlite
async def test_a_file_that_cannot_be_made_durable_is_removed(
    store, make, user, monkeypatch
):
    """Where the sync of the folder fails, no half of the mail is left."""

    def fail(_path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("relay.store.spool.sync_folder", fail)
    with pytest.raises(StoreUnavailable):
        await store.messages.put(*make(user.id, data=LARGE))
    assert list(store.messages.spool_dir.iterdir()) == []
