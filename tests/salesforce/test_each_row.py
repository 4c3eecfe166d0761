"""Each row of the error table, by what happens to a real mail.

One process: the sandbox on loopback answers with the row's failure, the real client and
the real worker take one mail through one attempt, and the store says what became of
it: its state, when it is due, whether the attempt counts, and whether the org is
paused. The expectation is read from the row (its retry rule, and whether a write may
have been done) and from `EFFECTS`, and from nothing else.
"""

from __future__ import annotations

import asyncio
import importlib
import random
import shutil
import sqlite3
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from relay.config import Settings, StoreSettings
from relay.core.directory import Role
from relay.core.ids import new_message_id
from relay.core.model import Envelope, RawMail, Recipient
from relay.core.queue import LeaseOwner
from relay.core.retry import EFFECTS, SOON_S, Retry, Then
from relay.outbox.backoff import LOOK_UP_AFTER_S
from relay.salesforce import Org, errors, transport
from relay.sandbox import SandboxOrg, api, serve
from relay.sandbox.answers import Answer
from relay.store import Store
from relay.worker import Worker
from tests.fakes.values import directory

if TYPE_CHECKING:
    from relay.salesforce.errors import Rule

pytestmark = pytest.mark.timeout(
    60
)  # many tests, one after the other, on a busy machine
OWNER = LeaseOwner("host", "boot", 1, "0")
KIM = "kim@customer.example"
RAW = (
    b"From: Ada <ada@corp.example>\r\nTo: Kim <kim@customer.example>\r\n"
    b"Subject: Offer\r\nMessage-ID: <1@corp.example>\r\n"
    b"Date: Wed, 04 Mar 2026 12:00:00 +0000\r\n\r\nHello.\r\n"
)
FIRST_S = 30.0
WRITES = "composite/sobjects"
LOOK_UPS = '/query[?]q=SELECT[^"]*Contact'

CODES = {"2xx": 202, "3xx": 302, "4xx": 418, "5xx": 599, "xxx": 777}
"""A status for each row that stands for several."""


SCHEMA = {}


class StillClock:
    """A clock that stands still at the present, as the sandbox's runs on."""

    def __init__(self):
        self.at = datetime.now(UTC)

    def now(self):
        return self.at

    def boottime_s(self):
        return self.at.timestamp()


@pytest.fixture(scope="module")
def served():
    """Return a sandbox on loopback, for all rows."""
    org = SandboxOrg()
    ready = threading.Event()
    running = {}

    async def main():
        running["stop"] = asyncio.Event()
        running["loop"] = asyncio.get_running_loop()
        await serve(org, announce=lambda _: ready.set(), stop=running["stop"])

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(5)
    org.insert_raw("Contact", [{"LastName": "Kim", "Email": KIM}])
    yield org
    running["loop"].call_soon_threadsafe(running["stop"].set)
    thread.join()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Return a database with one user, made once and copied for each row."""
    folder = tmp_path_factory.mktemp("template")
    settings = StoreSettings(
        url=f"sqlite:///{folder}/relay.db", spool=folder / "spool", min_free_bytes=0
    )

    async def make():
        store = await Store.open(settings, StillClock())
        await store.directory.add_user(
            "Ada", "ada@corp.example", Role.REP, None, "test"
        )
        await store.close()

    asyncio.run(make())
    return folder / "relay.db"


@dataclass
class End:
    """What became of the mail after one attempt."""

    state: str
    reason: str
    wait_s: float
    failures: int
    ledger: set[str]
    paused: bool


@pytest.fixture
async def attempt(served, template, tmp_path, settings_for):
    """Return a function that takes one mail through one attempt."""
    clock = StillClock()
    file = tmp_path / "relay.db"
    shutil.copy(template, file)
    served.faults.load([])
    store = await Store.open(
        StoreSettings(url=f"sqlite:///{file}", spool=tmp_path, min_free_bytes=0), clock
    )
    section = settings_for(served, timeout_s=5.0)
    org = Org(section, clock)
    settings = Settings(
        smtp={"domains": ("in.example",)},
        salesforce={**section.model_dump(), "write_as": "task"},
        worker={"retry_first_s": FIRST_S, "retry_max_s": 3600.0, "retry_days": 5},
    )
    people = directory()
    people = replace(people, users={1: replace(people.users[1], salesforce_id=None)})
    worker = Worker(
        settings,
        store,
        org,
        clock,
        owner=OWNER,
        directory=lambda: people,
        chance=random.Random(1),
    )

    async def run(*faults, warm=True):
        message = Recipient(new_message_id(clock), "log-a@in.example", 1)
        envelope = Envelope(
            mail_from="ada@corp.example",
            peer="192.0.2.1",
            helo="client.example",
            tls=True,
            received_at=clock.now(),
            recipients=(message,),
        )
        await store.messages.put(envelope, RawMail(len(RAW), "0" * 64, RAW))
        if warm:
            # The same for every row: to describe the org each time takes long.
            org.schema._known = SCHEMA.get(served) or await org.schema.get()
            org.schema._read_at_s = clock.boottime_s()
            SCHEMA[served] = org.schema._known
        served.faults.load(faults)
        await worker._turn(OWNER)
        served.faults.load([])
        with sqlite3.connect(file) as database:
            row = database.execute(
                "SELECT state, reason, next_attempt_at, failures FROM messages"
            ).fetchone()
            ledger = {s for (s,) in database.execute("SELECT state FROM activities")}
        database.close()
        wait_s = row[2] / 1e6 - clock.at.timestamp()
        paused = worker.pause is not None
        return End(row[0], row[1] or "", wait_s, row[3], ledger, paused)

    yield run
    served.faults.load([])
    worker._executor.shutdown()
    await org.close()
    await store.close()


def expect(end: End, row: Rule, retry: Retry) -> None:
    """Compare the end of an attempt with the effect of a rule."""
    effect = EFFECTS[retry]
    assert end.paused == (effect.then is Then.GIVE_BACK), end
    assert end.failures == (effect.then is Then.WAIT), end
    assert ("sent" in end.ledger) == (retry is Retry.LOOK_UP), end
    assert end.state == ("dead" if effect.then is Then.DEAD else "queued"), end
    if effect.then is not Then.WAIT:
        return
    shortest_s, longest_s = FIRST_S / 2, FIRST_S
    if retry is Retry.LOOK_UP:
        shortest_s, longest_s = LOOK_UP_AFTER_S[0], LOOK_UP_AFTER_S[0] * 1.1
    elif row.retry_after_s is not None:
        shortest_s, longest_s = row.retry_after_s, row.retry_after_s * 1.1
    elif effect.soon:
        shortest_s, longest_s = SOON_S
    assert shortest_s <= end.wait_s <= longest_s, end


def named(rows):
    """Return the rows as parameters with names of their own."""
    return [
        pytest.param(row, id=f"{row.code}~{row.contains}".rstrip("~")) for row in rows
    ]


def of_write(row: Rule) -> Retry:
    """Return the rule for a call that writes: what may have been done is looked for."""
    return row.retry if row.wrote_nothing else Retry.LOOK_UP


def of_question(row: Rule) -> Retry:
    """Return the rule for a question: that it is refused is no fault of a mail."""
    return Retry.PAUSE if row.permanent else row.retry


# ------------------------------------------------------------ by errorCode


@pytest.mark.parametrize("row", named(errors.TABLE))
async def test_a_record_that_is_answered_so(row, attempt):
    """Salesforce says of one record of a collection that it was not written."""
    end = await attempt(
        {
            "kind": "error_code",
            "object": "Task",
            "code": row.code,
            "message": f"because {row.contains}",
        }
    )
    expect(end, row, row.retry)
    if end.state == "dead":
        assert end.reason == row.code
        assert end.ledger == {"refused"}


@pytest.mark.parametrize("row", named(errors.TABLE))
async def test_a_write_that_is_answered_so(row, attempt):
    """Salesforce says it of the whole call that writes."""
    end = await attempt(
        {
            "kind": "error_code",
            "code": row.code,
            "status": 400,
            "message": f"because {row.contains}",
            "body": WRITES,
        }
    )
    expect(end, row, of_write(row))


@pytest.mark.parametrize("row", named(errors.TABLE))
async def test_a_look_up_that_is_answered_so(row, attempt):
    """Salesforce says it of the call that looks for people."""
    end = await attempt(
        {
            "kind": "error_code",
            "code": row.code,
            "status": 400,
            "message": f"because {row.contains}",
            "body": LOOK_UPS,
        }
    )
    expect(end, row, of_question(row))
    assert end.ledger == set()


# ------------------------------------------------------------ by HTTP status


@pytest.mark.parametrize("row", named(errors.STATUS_TABLE))
async def test_a_write_with_a_status_and_an_unknown_code(row, attempt):
    """The status decides where the code is new."""
    status = CODES.get(row.code) or int(row.code)
    end = await attempt(
        {
            "kind": "error_code",
            "code": "NEVER_HEARD_OF",
            "status": status,
            "body": WRITES,
        }
    )
    expect(end, row, of_write(row))


@pytest.mark.parametrize("row", named(errors.STATUS_TABLE))
async def test_a_write_that_a_page_of_html_answers(row, attempt):
    """A page says nothing, except where HTTP has it that nothing was taken up."""
    status = CODES.get(row.code) or int(row.code)
    end = await attempt({"kind": "html", "code": status, "body": WRITES})
    taken_up = status not in {302, 401, 404, 407, 410, 411, 413, 414, 415, 429, 431}
    expect(end, row, Retry.LOOK_UP if taken_up else row.retry)


# ------------------------------------------------------------ at the login


@pytest.mark.parametrize("row", named(errors.LOGIN_TABLE))
async def test_a_login_that_is_answered_so(row, attempt, monkeypatch):
    """The token endpoint refuses; nothing of a mail is lost or counted."""
    said = {"error": "never_heard_of" if row.code == "*" else row.code}
    said["error_description"] = f"because {row.contains}"
    monkeypatch.setattr(api, "token_answer", lambda *_: Answer(400, said))
    end = await attempt(warm=False)
    expect(end, row, row.retry)


# ------------------------------------------------------------ by exception


@pytest.mark.parametrize("left", [True, False], ids=["left", "not-left"])
@pytest.mark.parametrize("row", named(errors.FOREIGN_TABLE))
async def test_a_write_that_the_transport_breaks(row, left, attempt, monkeypatch):
    """Whatever is raised below: what has left is looked for, what has not is not."""
    module, _, name = row.code.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    send = transport._Adapter.send

    def breaks(self, request, **more):
        if isinstance(request.body, bytes) and WRITES.encode() in request.body:
            transport._FLIGHT.get().left = left
            raise cls.__new__(cls)
        return send(self, request, **more)

    monkeypatch.setattr(transport._Adapter, "send", breaks)
    end = await attempt()
    expect(end, row, Retry.LOOK_UP if left else row.retry)
