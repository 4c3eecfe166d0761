"""A real Postfix hands mail to a relay that is killed again and again.

Postfix removes a mail from its queue when it reads the 250. So at any moment its queue
and our store together hold every mail that Postfix took: this is looked at each time
the relay has been killed, and at the end everything is in the store.
"""

from __future__ import annotations

import random
import smtplib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.fakes.postfix import PrivatePostfix, why_not
from tests.fakes.processes import RelayProcess, mail_to, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SESSIONS = 8
LOOKS = 20
TOKEN = rb"Subject: load (\d+-\d+)"

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    """Configure a relay that only takes mail in; the test starts it."""
    relay = RelayProcess(tmp_path / "relay", "http://127.0.0.1:1")
    yield relay
    if relay.process and relay.process.running:
        relay.kill()


@pytest.fixture
def postfix(relay: RelayProcess) -> Iterator[PrivatePostfix]:
    """Run a Postfix that hands its mail to the relay."""
    if lack := why_not():
        pytest.skip(f"no private Postfix here: {lack}")
    server = PrivatePostfix(relay.port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.remove()


class Load:
    """Sessions that give mail to Postfix until they are told to stop."""

    def __init__(self, port: int, rcpt: str) -> None:
        """Prepare the sessions."""
        self.taken: set[bytes] = set()
        self._port = port
        self._rcpt = rcpt
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._session, args=(number,), daemon=True)
            for number in range(SESSIONS)
        ]

    def start(self) -> None:
        """Start all sessions."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each session end its mail."""
        self._done.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(30)
                assert not thread.is_alive()

    def _session(self, number: int) -> None:
        size = random.Random(number)
        with smtplib.SMTP("127.0.0.1", self._port, timeout=30) as client:
            mail = 0
            while not self._done.is_set():
                token = f"{number}-{mail}"
                message = mail_to("kim@customer.example", Subject=f"load {token}")
                # Some in rows, some in spool files.
                filler = "x" * 70 + "\n"
                message.set_content(filler * size.choice([1, 20, 5000]))
                client.sendmail("ada@corp.example", self._rcpt, message.as_bytes())
                with self._lock:
                    self.taken.add(token.encode())
                mail += 1
                time.sleep(0.02)


def in_store(relay: RelayProcess) -> list[bytes]:
    """Return the mails in the store's files, with the relay stopped or killed."""
    with sqlite3.connect(relay.folder / "relay.db") as database:
        rows = database.execute("SELECT subject FROM messages").fetchall()
    database.close()
    return [subject.removeprefix("load ").encode() for (subject,) in rows]


def run(relay: RelayProcess, postfix: PrivatePostfix, *, kills: int) -> None:
    """Kill the relay so often under load; look each time, and at the end."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    rcpt = relay.add_user("Ada Rep", "ada@corp.example")
    relay.start(roles="smtp")
    load = Load(postfix.port, rcpt)
    load.start()
    try:
        for _ in range(kills):
            time.sleep(chance.uniform(0.1, 1.5))
            relay.kill()
            nowhere = set(load.taken) - set(in_store(relay))
            # Nobody listens now, so that no mail leaves Postfix. One that is moved to
            # another folder of its queue may be missed by a look, but not by twenty.
            for _ in range(LOOKS):
                nowhere -= postfix.holds(TOKEN)
                if not nowhere:
                    break
                time.sleep(0.1)
            assert not nowhere
            relay.start(roles="smtp")
        load.stop()
        assert len(load.taken) > 10 * kills
        wait_for(
            lambda: not postfix.files(),
            message="mails left in Postfix's queue",
            timeout_s=120,
        )
        relay.stop()
        stored = in_store(relay)
        assert load.taken == set(stored)
        # A mail whose 250 was lost comes again, as a message of its own; no more.
        assert len(stored) - len(load.taken) <= 20 * kills
        assert relay.log("--refused") == []
    except BaseException as error:
        error.add_note(f"seed {seed}; {len(load.taken)} mails")
        raise
    finally:
        load.stop()


def test_killed_behind_postfix(relay: RelayProcess, postfix: PrivatePostfix) -> None:
    """Postfix's queue and the store hold every mail, whenever the relay is killed."""
    run(relay, postfix, kills=6)


@pytest.mark.slow
@pytest.mark.timeout(590)
def test_killed_often_behind_postfix(
    relay: RelayProcess, postfix: PrivatePostfix
) -> None:
    """The same, for minutes."""
    run(relay, postfix, kills=60)
