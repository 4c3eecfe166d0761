"""What `put` promises: all or none, durable, shared commits, bounded disk use."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from relay.config import StoreSettings
from relay.core.errors import (
    ConfigError,
    NotFound,
    RawUnreadable,
    StoreFull,
    StoreUnavailable,
)
from relay.core.model import LogFilter, RawMail
from relay.core.states import State
from relay.store import Store
from relay.store.messages import CHUNK_BYTES
from relay.store.spool import private_temporary_folder


def large(store, size):
    """Return a raw mail that came in through a temporary file."""
    data = os.urandom(1024) * (size // 1024 + 1)
    path = store.messages.spool_temporary()
    path.write_bytes(data[:size])
    return data[:size], RawMail(size, "0" * 64, path=path)


@pytest.fixture
def order(store, monkeypatch):
    """Return the list of what is done for durability, in the order it is done."""
    done = []
    real = {name: getattr(os, name) for name in ("fdatasync", "fsync")}
    rename, writer = Path.rename, store.context.database.committer._writer
    run = writer.run

    def synced(name):
        def sync(fd):
            real[name](fd)
            path = Path(f"/proc/self/fd/{fd}").readlink()
            size = None if path.is_dir() else path.stat().st_size
            done.append((name, path.suffix, size))

        return sync

    def renamed(path, target):
        rename(path, target)
        done.append(("rename", Path(target).suffix))
        return target

    async def written(work, more_s):
        done.append("commit begins")
        result = await run(work, more_s)
        done.append("committed")
        return result

    for name in real:
        monkeypatch.setattr(os, name, synced(name))
    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(writer, "run", written)
    return done


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc")
@pytest.mark.parametrize("in_file", [True, False])
async def test_large_mail_is_on_disk_before_put_returns(
    store, make, user, order, in_file
):
    """The whole file is synced, then named, its name synced, then its row committed."""
    if not store.context.database.is_sqlite:
        pytest.skip("PostgreSQL keeps large mail in rows")
    data = os.urandom(10_000)
    envelope, raw = make(user.id, data=data)
    if in_file:
        path = store.messages.spool_temporary()
        path.write_bytes(data)
        raw = RawMail(len(data), "0" * 64, path=path)
    await store.messages.put(envelope, raw)
    order.append("returned")
    assert order == [
        ("fdatasync", ".part", 10_000),
        ("rename", ".eml"),
        ("fsync", store.messages.spool_dir.suffix, None),
        "commit begins",
        "committed",
        "returned",
    ]


async def test_small_mail_is_committed_before_put_returns(store, make, user, order):
    """Whatever the database, nothing is said before the commit."""
    await store.messages.put(*make(user.id))
    order.append("returned")
    assert order == ["commit begins", "committed", "returned"]


async def test_a_mail_comes_back_byte_for_byte(store, make, user):
    """What was put is read back unchanged, and waits in the queue."""
    data = bytes(range(256)) * 3
    envelope, raw = make(user.id, data=data)
    await store.messages.put(envelope, raw)
    (recipient,) = envelope.recipients
    assert await store.messages.raw(recipient.message_id) == data
    assert (await store.queue.counts())[State.QUEUED] == 1
    assert await store.queue.oldest_queued() == envelope.received_at


async def test_several_recipients_share_one_blob(store, make, user, owner):
    """Two RCPTs are two messages and one blob."""
    envelope, raw = make(user.id, user.id)
    await store.messages.put(envelope, raw)
    first, second = await store.queue.claim(owner, 10, 60)
    assert first.blob_id == second.blob_id
    assert {first.id, second.id} == {r.message_id for r in envelope.recipients}


async def test_mail_for_postmaster_is_kept_and_not_queued(store, make):
    """Mail without a user rests as skipped, with the reason."""
    envelope, raw = make(None)
    await store.messages.put(envelope, raw)
    (row,) = await store.log.find(LogFilter())
    assert (row["state"], row["reason"], row["user"]) == ("skipped", "postmaster", None)


@pytest.mark.parametrize("size", [4096, 4097, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 1])
async def test_mail_of_any_size_comes_back(store, make, user, size):
    """Row, file and chunks give the same bytes, from memory as from a file."""
    data = os.urandom(size)
    envelope, raw = make(user.id, data=data)
    await store.messages.put(envelope, raw)
    assert await store.messages.raw(envelope.recipients[0].message_id) == data
    data, raw = large(store, size)
    envelope, _ = make(user.id)
    await store.messages.put(envelope, raw)
    assert await store.messages.raw(envelope.recipients[0].message_id) == data
    assert list(store.messages.spool_dir.glob("*.part")) == []


async def test_unknown_raw_mail_is_not_found(store):
    """A blob that does not exist raises NotFound; `raws` leaves it out."""
    with pytest.raises(NotFound):
        await store.messages.raw("0" * 26)
    assert await store.messages.raws(["0" * 26]) == {}


async def test_text_that_no_database_takes_is_mended(store, make, user):
    """A NUL or a lone surrogate in a header never turns a mail away."""
    envelope, raw = make(user.id, subject="a\0b\udc80c", helo="\ud83d\0")
    await store.messages.put(envelope, raw)
    (row,) = await store.log.find(LogFilter())
    assert row["subject"] == "a\ufffdb\ufffdc"


async def test_concurrent_puts_share_commits(store, make, user, monkeypatch):
    """Fifty puts at once need a few transactions, not fifty."""
    batches = []
    writer = store.context.database.committer._writer
    run = writer.run

    async def counted(work, more_s):
        batches.append(work)
        return await run(work, more_s)

    monkeypatch.setattr(writer, "run", counted)
    await asyncio.gather(*(store.messages.put(*make(user.id)) for _ in range(50)))
    assert (await store.queue.counts())[State.QUEUED] == 50
    assert len(batches) <= 3


async def test_one_bad_mail_does_not_spoil_its_batch(store, make, user):
    """In a shared commit a mail that cannot be stored fails alone."""
    good = [make(user.id) for _ in range(5)]
    twice = make(user.id)
    await store.messages.put(*twice)
    results = await asyncio.gather(
        *(store.messages.put(*mail) for mail in (*good[:2], twice, *good[2:])),
        return_exceptions=True,
    )
    assert [type(r) for r in results].count(StoreUnavailable) == 1
    assert (await store.queue.counts())[State.QUEUED] == 6


async def test_a_cancelled_put_blocks_nobody(store, make, user):
    """A cancelled put is wholly there or not at all, and others go on."""
    puts = [
        asyncio.ensure_future(store.messages.put(*make(user.id, user.id)))
        for _ in range(20)
    ]
    await asyncio.sleep(0)
    for task in puts[::2]:
        task.cancel()
    await asyncio.gather(*puts, return_exceptions=True)
    await store.messages.put(*make(user.id))
    rows = await store.log.find(LogFilter())
    assert len(rows) % 2 == 1  # Pairs, and the last one.
    assert len(rows) >= 21


async def test_a_cancelled_large_put_is_whole_or_absent(store, make, user):
    """A large mail whose caller goes away is kept whole, or not at all."""
    data, raw = large(store, 2 * CHUNK_BYTES)
    envelope, _ = make(user.id)
    task = asyncio.ensure_future(store.messages.put(envelope, raw))
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.messages.finish()
    for row in await store.log.find(LogFilter()):
        assert await store.messages.raw(row["id"]) == data


async def test_below_the_floor_nothing_is_stored(settings, clock, make):
    """Below `min_free_bytes` put raises StoreFull before anything is written."""
    full = settings.model_copy(update={"min_free_bytes": 1 << 60})
    store = await Store.open(full, clock)
    try:
        assert store.messages.free_bytes() > 0
        with pytest.raises(StoreFull):
            await store.messages.put(*make(None))
        assert await store.log.find(LogFilter()) == []
    finally:
        await store.close()


async def test_a_closed_store_refuses(settings, clock, make):
    """After close every call raises StoreUnavailable instead of waiting for ever."""
    store = await Store.open(settings, clock)
    await store.close()
    for call in (
        store.messages.put(*make(None)),
        store.queue.counts(),
        store.shared.set("a", 1),
    ):
        with pytest.raises(StoreUnavailable):
            await call


async def test_sweep_removes_only_old_leftovers(store, make, user):
    """Old temporaries and files without a row go; young ones and kept mail stay."""
    data, raw = large(store, 10_000)
    envelope, _ = make(user.id)
    await store.messages.put(envelope, raw)
    old_part, young_part = (
        store.messages.spool_temporary(),
        store.messages.spool_temporary(),
    )
    old_part.touch()
    young_part.touch()
    orphan = store.messages.spool_dir / ("0" * 26 + ".eml")
    orphan.touch()
    hours_ago = time.time() - 2 * 3600
    for path in store.messages.spool_dir.iterdir():
        if path != young_part:
            os.utime(path, (hours_ago, hours_ago))
    await store.messages.sweep()
    assert not old_part.exists()
    assert young_part.exists()
    assert await store.messages.raw(envelope.recipients[0].message_id) == data
    if store.context.database.is_sqlite:
        assert not orphan.exists()


async def test_the_spool_stands_beside_the_database(tmp_path, clock):
    """Without `store.spool` the folder is named after the SQLite file, and private."""
    path = tmp_path / "mail.db"
    store = await Store.open(StoreSettings(url=f"sqlite:///{path}"), clock)
    await store.close()
    assert store.messages.spool_dir == tmp_path / "mail.db.spool"
    assert store.messages.spool_dir.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_temporary_spool_is_ours_alone(tmp_path, monkeypatch):
    """The folder keeps its name for the sweep; one that somebody planted is refused."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = private_temporary_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert private_temporary_folder() == folder
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match=r"store\.spool"):
        private_temporary_folder()


async def test_a_file_that_cannot_be_read_is_its_own_trouble(store, make, user):
    """One unreadable spool file leaves the others readable, and says why."""
    if not store.context.database.is_sqlite:
        pytest.skip("PostgreSQL keeps large mail in rows")
    ids = []
    for _ in range(4):
        _, raw = large(store, 10_000)
        envelope, _ = make(user.id)
        await store.messages.put(envelope, raw)
        ids.append(envelope.recipients[0].message_id)
    folder, looping, gone, whole = ids
    for message_id in (folder, looping, gone):
        path = store.messages.spool_dir / f"{message_id}.eml"
        path.unlink()
        if message_id == folder:
            path.mkdir()
        elif message_id == looping:
            path.symlink_to(path.name)
    found = await store.messages.raws(ids)
    assert isinstance(found[folder], RawUnreadable)
    assert isinstance(found[looping], RawUnreadable)
    assert "ELOOP" in str(found[looping])
    assert gone not in found
    assert len(found[whole]) == 10_000
    with pytest.raises(RawUnreadable):
        await store.messages.raw(looping)


async def test_a_spool_that_is_away_makes_no_mail_gone(store, make, user):
    """Where the whole folder is missing, as with a lost mount, the mail may be back."""
    if not store.context.database.is_sqlite:
        pytest.skip("PostgreSQL keeps large mail in rows")
    data, raw = large(store, 10_000)
    envelope, _ = make(user.id)
    await store.messages.put(envelope, raw)
    message_id = envelope.recipients[0].message_id
    away = store.messages.spool_dir.with_name("away")
    store.messages.spool_dir.rename(away)
    found = await store.messages.raws([message_id])
    assert isinstance(found[message_id], RawUnreadable)
    away.rename(store.messages.spool_dir)
    assert await store.messages.raw(message_id) == data


async def test_odd_entries_do_not_keep_the_store_from_opening(
    store, settings, clock, monkeypatch
):
    """A symlink loop, or a folder named like a mail, never fails `Store.open`."""
    monkeypatch.setattr("relay.store.spool._OLD_S", -3600)
    loop = store.messages.spool_dir / ("1" * 26 + ".eml")
    loop.symlink_to(loop.name)
    (store.messages.spool_dir / ("2" * 26 + ".eml")).mkdir()
    (store.messages.spool_dir / ("3" * 26 + ".part")).mkdir()
    again = await Store.open(settings, clock)
    await again.close()


async def test_the_floor_is_that_of_the_fuller_disk(
    settings, clock, make, tmp_path, monkeypatch
):
    """A database on a full disk refuses mail although the spool has room."""
    if not settings.url.startswith("sqlite"):
        pytest.skip("the disk of PostgreSQL is not this machine's")
    floor = 1 << 20
    store = await Store.open(
        settings.model_copy(update={"min_free_bytes": floor}), clock
    )
    real = os.statvfs

    def statvfs(path):
        facts = list(real(path))
        facts[4] = 1 if str(path) == str(tmp_path) else 1 << 40  # f_bavail
        return os.statvfs_result(facts)

    monkeypatch.setattr(os, "statvfs", statvfs)
    try:
        assert store.messages.free_bytes() < floor
        with pytest.raises(StoreFull):
            await store.messages.put(*make(None))
    finally:
        await store.close()
