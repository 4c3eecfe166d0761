"""Planning the files of a mail: what is sent, what is left out, and what is said."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from relay.attachments.stage import Attachments
from relay.config import Settings
from relay.core.model import Activity, MailState
from relay.core.queue import LeaseOwner
from relay.core.states import ActivityState
from relay.mail import parse
from relay.outbox.backoff import Backoff
from relay.outbox.batch import Batch, BatchMail
from relay.outbox.engine import Parts

RECORD = "02s000000000001"
SEEDED = random.Random(1)


class Time:
    """Stands still."""

    def now(self) -> datetime:
        """Return noon."""
        return datetime(2026, 3, 1, 12, tzinfo=UTC)

    def boottime_s(self) -> float:
        """Return anything."""
        return 1.0


RAW = (
    b"From: ada@corp.example\r\nSubject: s\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: text/plain\r\n\r\nhello\r\n"
) + b"".join(
    b"--b\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Disposition: attachment; filename=%s\r\n\r\ncontent of %s\r\n"
    % (name, name)
    for name in (b"a.pdf", *(b"%d.exe" % number for number in range(12)))
) + b"--b--\r\n"  # fmt: skip


def plan(**section: Any) -> tuple[list[str], list[tuple[str, ...]]]:
    """Plan the files of a mail with one record; return their names, and the trace."""
    settings = Settings(salesforce=section)
    backoff = Backoff(settings.worker, SEEDED)
    owner = LeaseOwner("h", "b", 1, "1")
    parts = Parts(settings, None, None, Time(), owner, backoff)  # type: ignore[arg-type]
    lines: list[tuple[str, ...]] = []
    message = SimpleNamespace(
        email=parse(RAW),
        claimed=SimpleNamespace(blob_id="blob", size_bytes=len(RAW)),
        trace=lambda *line: lines.append(line),
    )
    row = Activity("k", 1, "s", "Task", {}, "r", ActivityState.WRITTEN, RECORD)
    state = MailState(1, "m", (row,), leased=True)
    batch = Batch(owner)
    mail = BatchMail(state, [message], {"k": row})  # type: ignore[list-item]
    Attachments(parts, paused=lambda: False).plan(batch, mail)
    return [draft.name for draft in batch.files], lines


def test_what_is_planned_and_left_out_stands_in_the_trace() -> None:
    """Each file by its name; a long list of those left out is cut."""
    names, lines = plan(files_attach=True, files_deny=(".exe",))
    assert names == ["a.pdf"]
    assert ("files", "1 to send", "a.pdf") in lines
    assert len([line for line in lines if line[1] == "left out"]) == 11
    assert lines[-1] == ("files", "left out", "2 more")


def test_the_trace_is_silent_about_what_there_is_none_of() -> None:
    """All files left out, or a few, or none: no line about the others."""
    names, lines = plan(files_attach=True, files_deny=(".exe", ".pdf"))
    assert names == []
    assert {line[1] for line in lines} == {"left out"}
    names, lines = plan(files_attach=True, files_deny=())
    assert len(names) == 13
    assert [line[1] for line in lines] == ["13 to send"]


async def test_without_files_nothing_is_planned_or_run() -> None:
    """`salesforce.files_attach = false`."""
    assert plan(files_attach=False) == ([], [])
    settings = Settings(salesforce={"files_attach": False})
    backoff, owner = Backoff(settings.worker, SEEDED), LeaseOwner("h", "b", 1, "1")
    parts = Parts(settings, None, None, Time(), owner, backoff)  # type: ignore[arg-type]
    await Attachments(parts, paused=lambda: False).run(asyncio.Event())
