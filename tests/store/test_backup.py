"""A backup is a whole store of one moment, for its owner alone, or nothing at all."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.config import StoreSettings
from relay.core.errors import Conflict, NotFound, StoreFull, StoreUnavailable
from relay.core.model import LogFilter, RawMail
from relay.store import Store
from relay.store import backup as module
from relay.store.backup import BACKUP_OF, backup

pytestmark = pytest.mark.timeout(60)

LARGE = b"Subject: Large\r\n\r\n" + b"x" * 10_000 + b"\r\n"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/relay.db"


@pytest.fixture
def put_large(store, make, user):
    """Store a mail that has a file of its own; return its id."""

    async def put():
        envelope, raw = make(user.id, data=LARGE)
        temporary = store.messages.spool_temporary()
        temporary.write_bytes(LARGE)
        await store.messages.put(
            envelope, RawMail(raw.size_bytes, raw.sha256, path=temporary)
        )
        return envelope.recipients[0].message_id

    return put


async def made(settings, file):
    return await asyncio.to_thread(backup, settings, file)


async def mail_in(store):
    """Return the raw mail of each message, by its id."""
    rows = await store.log.find(LogFilter())
    return {
        row["id"]: await store.messages.raw(await store.log.blob_id(row["id"]))
        for row in rows
    }


def rights(path):
    return path.stat().st_mode & 0o777


async def test_the_copy_is_a_store(store, put, put_large, settings, clock, tmp_path):
    """What was stored is in it, large mails too, and it says of which moment it is."""
    small = await put(2)
    large = await put_large()
    began = datetime.now(UTC)
    file = tmp_path / "backup.db"
    done = await made(settings, file)
    await put(1)
    assert (done.file, done.spool) == (file, Path(f"{file}.spool"))
    assert done.size_bytes == file.stat().st_size
    assert (done.files, done.spool_bytes) == (1, len(LARGE))
    assert began <= done.at <= datetime.now(UTC)
    copied = await Store.open(StoreSettings(url=f"sqlite:///{file}"), clock)
    try:
        found = await mail_in(copied)
        assert set(found) == {*small, large}
        assert found[large] == LARGE
        assert await copied.shared.get(BACKUP_OF) == done.at.isoformat()
    finally:
        await copied.close()
    assert await store.shared.get(BACKUP_OF) is None


async def test_only_the_owner_reads_it(store, put_large, settings, tmp_path):
    """Whatever the umask lets others do; nothing else is left beside it."""
    await put_large()
    folder = tmp_path / "backups"
    folder.mkdir()
    old = os.umask(0)
    try:
        done = await made(settings, folder / "relay.db")
    finally:
        os.umask(old)
    assert sorted(path.name for path in folder.iterdir()) == [
        "relay.db",
        "relay.db.spool",
    ]
    assert rights(done.file) == 0o600
    assert rights(done.spool) == 0o700
    assert [rights(path) for path in done.spool.iterdir()] == [0o600]


async def test_a_store_without_large_mail_has_no_folder(store, put, settings, tmp_path):
    await put()
    done = await made(settings, tmp_path / "copy.db")
    assert (done.spool, done.files) == (None, 0)
    assert list(tmp_path.glob("copy.db?*")) == []


@pytest.mark.parametrize(
    "there", ["copy.db", "copy.db.spool", "copy.db.part", "copy.db.spool.part"]
)
async def test_nothing_is_overwritten(store, put, settings, tmp_path, there):
    """Neither a backup, nor what one that was cut off has left, nor a link."""
    await put()
    (tmp_path / there).symlink_to(tmp_path / "nowhere")
    with pytest.raises(Conflict, match=there):
        await made(settings, tmp_path / "copy.db")
    assert (tmp_path / there).is_symlink()
    assert not (tmp_path / "nowhere").exists()


async def test_what_takes_the_name_meanwhile_stays(
    store, put_large, settings, tmp_path, monkeypatch
):
    """The one who was first keeps it; nothing of ours is left."""
    await put_large()
    file = tmp_path / "copy.db"
    finish = module._finish

    def taken(*given):
        file.write_text("mine")
        return finish(*given)

    monkeypatch.setattr(module, "_finish", taken)
    with pytest.raises(Conflict, match="meanwhile"):
        await made(settings, file)
    assert file.read_text() == "mine"
    assert list(tmp_path.glob("copy.db?*")) == []


async def test_a_file_system_without_hard_links_is_no_hindrance(
    store, put, settings, tmp_path, monkeypatch
):
    await put()

    def link(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(module.os, "link", link)
    done = await made(settings, tmp_path / "copy.db")
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]
    assert done.size_bytes


async def test_mail_that_comes_meanwhile_neither_waits_nor_spoils_it(
    store, put, put_large, settings, clock, tmp_path, monkeypatch
):
    """Many small steps, with mail between any two: each row finds its file."""
    monkeypatch.setattr(module, "_PAGES", 1)
    before = {*await put(200), *[await put_large() for _ in range(5)]}
    done = asyncio.create_task(made(settings, tmp_path / "copy.db"))
    during = set()
    while not done.done():
        during |= {*await put(1), await put_large()}
        await asyncio.sleep(0)
    assert during
    result = await done
    copied = await Store.open(StoreSettings(url=f"sqlite:///{result.file}"), clock)
    try:
        found = await mail_in(copied)
    finally:
        await copied.close()
    assert before <= set(found) <= before | during
    assert set(await mail_in(store)) == before | during


async def test_an_older_schema_is_copied_as_it_is(store, put, settings, tmp_path):
    """The backup that is made before an upgrade, by the new version."""
    await put()
    with closing(sqlite3.connect(tmp_path / "relay.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")
        database.commit()
    done = await made(settings, tmp_path / "copy.db")
    with closing(sqlite3.connect(done.file)) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall()
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def test_a_missing_file_is_no_backup(store, put_large, settings, tmp_path):
    """A store that lacks a mail is not taken for a whole one."""
    await put_large()
    (file,) = (tmp_path / "spool").glob("*.eml")
    file.rename(tmp_path / "away")
    with pytest.raises(StoreUnavailable, match=r"store\.spool"):
        await made(settings, tmp_path / "copy.db")
    (tmp_path / "away").rename(file)
    file.write_bytes(LARGE[:-1])
    with pytest.raises(StoreUnavailable, match="damaged"):
        await made(settings, tmp_path / "copy.db")
    assert list(tmp_path.glob("copy*")) == []


async def test_a_file_that_the_relay_has_removed_meanwhile_is_not_missed(
    store, put_large, settings, tmp_path, monkeypatch
):
    """Old mail for postmaster goes, with its row, while the copy is made."""
    await put_large()
    (file,) = (tmp_path / "spool").glob("*.eml")
    finish = module._finish

    def purged(*given):
        found = finish(*given)
        file.unlink()
        with closing(sqlite3.connect(tmp_path / "relay.db")) as database:
            database.execute("UPDATE blobs SET file = NULL")
            database.commit()
        return found

    monkeypatch.setattr(module, "_finish", purged)
    done = await made(settings, tmp_path / "copy.db")
    assert list(done.spool.iterdir()) == []


async def test_too_little_room_is_said_before(store, put, settings, tmp_path):
    """On the disk of the store, what mail needs stays free."""
    await put()
    greedy = settings.model_copy(update={"min_free_bytes": 1 << 62})
    with pytest.raises(StoreFull, match="another disk"):
        await made(greedy, tmp_path / "copy.db")
    assert list(tmp_path.glob("copy*")) == []


async def test_a_damaged_store_gives_no_backup(
    store, put, settings, tmp_path, monkeypatch
):
    """What cannot be restored is not called a backup."""
    await put(50)
    copy = module._copy_database

    def damaged(*given):
        at = copy(*given)
        with given[-1].open("r+b") as file:
            file.seek(4096 * 3)
            file.write(b"\xff" * 4096 * 4)
        return at

    monkeypatch.setattr(module, "_copy_database", damaged)
    with pytest.raises(StoreUnavailable):
        await made(settings, tmp_path / "copy.db")
    assert list(tmp_path.glob("copy*")) == []


def test_ctrl_c_leaves_nothing(tmp_path, monkeypatch):
    """It ends between two steps of the copy."""
    settings = StoreSettings(url=f"sqlite:///{tmp_path}/relay.db", min_free_bytes=0)

    async def fill():
        from relay.core.clock import SystemClock

        store = await Store.open(settings, SystemClock())
        await store.close()

    asyncio.run(fill())
    monkeypatch.setattr(module, "_PAGES", 1)
    real, steps = module._copy_database, []

    def interrupted(url, busy_timeout_s, part):
        steps.append(part.exists())
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_copy_database", interrupted)
    with pytest.raises(KeyboardInterrupt):
        backup(settings, tmp_path / "copy.db")
    assert steps == [True]
    assert list(tmp_path.glob("copy*")) == []
    monkeypatch.setattr(module, "_copy_database", real)
    assert backup(settings, tmp_path / "copy.db").files == 0


def test_what_is_not_there_is_named(tmp_path):
    """No store is made in order to copy it."""
    settings = StoreSettings(url=f"sqlite:///{tmp_path}/relay.db")
    with pytest.raises(NotFound, match=r"store\.url"):
        backup(settings, tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "relay.db").touch()
    with pytest.raises(NotFound, match="make it first"):
        backup(settings, tmp_path / "no" / "copy.db")


def test_postgresql_has_its_own_way(tmp_path):
    """The command is named, without the password."""
    settings = StoreSettings(url="postgresql://relay:secret@db.corp.example/mails")
    with pytest.raises(Conflict) as told:
        backup(settings, tmp_path / "copy.dump")
    assert "pg_dump -Fc --file" in str(told.value)
    assert "postgresql://relay@db.corp.example/mails" in str(told.value)
    assert "secret" not in str(told.value)
