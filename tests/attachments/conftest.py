"""A real store with files that are due, and an org in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, update

from relay.core.directory import Role
from relay.core.files import FileDraft, FileRow
from relay.core.ids import new_message_id
from relay.core.model import Envelope, RawMail, Recipient
from relay.core.queue import LeaseOwner
from relay.core.states import ActivityState
from relay.store import schema
from relay.store.attachments import add_files, file_of, files_on_records
from relay.store.values import stamp
from tests.fakes import empty_store
from tests.fakes.files_org import MemoryOrg

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Connection

    from relay.store import Store

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECORD, RECORD2 = "02s000000000001", "00T000000000001"
SMALL, LARGE = 100, 300_000
RIVAL = "another worker"
SETUP = LeaseOwner("h", "b", 2, "setup")


class Time:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        """Start at noon."""
        self.moved_s = 0.0

    def now(self) -> datetime:
        """Return the time."""
        return START + timedelta(seconds=self.moved_s)

    def boottime_s(self) -> float:
        """Return the seconds since the start."""
        return self.moved_s


class FileStore:
    """A store, and its files as they were when they were last read.

    Attributes:
        real: The store.
        rows: Its files by key, brought up to date by `read`.
        raw: The mail of the files that are added next.
    """

    def __init__(self, real: Store, clock: Time, user_id: int) -> None:
        """Add nothing yet."""
        self.real = real
        self.rows: dict[str, FileRow] = {}
        self.raw = bytes(LARGE)
        self._clock = clock
        self._user_id = user_id
        self._mails: dict[int, tuple[int, str]] = {}

    async def read(self) -> None:
        """Read all files again."""
        found = await self.real.context.read(
            lambda c: c.execute(files_on_records().order_by(schema.files.c.id)).all()
        )
        self.rows = {row.key: file_of(row) for row in found}

    async def add(
        self,
        key: str,
        state: ActivityState = ActivityState.PLANNED,
        *,
        size: int = SMALL,
        sha256: str | None = None,
        mail_id: int = 1,
        record_id: str = RECORD,
        record_gone: bool = False,
        **more: Any,
    ) -> None:
        """Add a file that is due now, on a record of its own."""
        mail, blob = await self._mail(mail_id)
        draft = FileDraft(
            key, mail, f"record of {key}", blob, f"{key}.pdf", "application/pdf",
            size, key if sha256 is None else sha256, 0, size,
        )  # fmt: skip
        now = stamp(self._clock.now())
        written = ActivityState.GONE if record_gone else ActivityState.WRITTEN
        record = {
            "key": draft.activity_key,
            "mail_id": mail,
            "slot": key,
            "object": "EmailMessage",
            "fields": "{}",
            "rule": "",
            "state": written.value,
            "salesforce_id": record_id,
            "created_at": now,
        }
        values = {"state": state.value} | {
            name: stamp(value) if isinstance(value, datetime) else value
            for name, value in more.items()
        }

        def work(connection: Connection) -> None:
            connection.execute(insert(schema.activities), [record])
            add_files(connection, [draft], now)
            row = update(schema.files).where(schema.files.c.key == key)
            connection.execute(row.values(values))

        await self.real.context.write(work)
        await self.read()

    async def _mail(self, number: int) -> tuple[int, str]:
        """Return id and blob of a mail, stored where it is new."""
        if number not in self._mails:
            message = new_message_id(self._clock)
            envelope = Envelope(
                mail_from="ada@corp.example",
                peer="192.0.2.1",
                helo="client.example",
                tls=True,
                received_at=self._clock.now(),
                recipients=(Recipient(message, "log@in.example", self._user_id),),
            )
            raw = RawMail(len(self.raw), "0" * 64, self.raw)
            await self.real.messages.put(envelope, raw)
            (claimed,) = await self.real.queue.claim(SETUP, 1, 60)
            copy = (message, f"K1 {number}", f"K2 {number}", "")
            joined = await self.real.mails.join(SETUP, [copy])
            self._mails[number] = (joined[message].id, claimed.blob_id)
        return self._mails[number]

    def due_in(self, key: str) -> float:
        """Return the seconds until a file is due."""
        due = self.rows[key].due_at
        assert due is not None
        return (due - self._clock.now()).total_seconds()

    def spooled(self) -> Path:
        """Return the path of the one mail that is kept in a file."""
        (path,) = self.real.messages.spool_dir.glob("*.eml")
        return path

    async def take_away(self, *keys: str) -> None:
        """Give the leases of files to another worker."""
        files = schema.files
        row = update(files).where(files.c.key.in_(keys)).values(lease_owner=RIVAL)
        await self.real.context.write(lambda c: c.execute(row))


@pytest.fixture
def clock() -> Time:
    """Return a clock."""
    return Time()


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of an empty store."""
    return empty_store.make(tmp_path_factory.mktemp("empty"))


@pytest.fixture
async def store(tmp_path: Path, clock: Time, empty: Path) -> AsyncIterator[FileStore]:
    """Return a store without files."""
    real = await empty_store.open_copy(empty, tmp_path, clock)
    user = await real.directory.add_user(
        "Ada", "ada@corp.example", Role.REP, None, "test"
    )
    yield FileStore(real, clock, user.id)
    await real.close()


@pytest.fixture
def org(clock: Time) -> MemoryOrg:
    """Return an org without files."""
    return MemoryOrg(clock)
