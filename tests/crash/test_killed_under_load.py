"""The main promise: each mail that got its 250 is logged once, whatever is killed.

Twenty sessions send 1,000 mails while the relay is killed with SIGKILL five times at
random moments. A session that is cut off starts again with the mail whose answer it
did not see. In the end the sandbox's dump holds every mail, none of them twice.
"""

from __future__ import annotations

import random
import smtplib
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import (
    RelayProcess,
    SandboxProcess,
    mail_to,
    send_in,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAILS = 1000
SESSIONS = 20
KILLS = 5

pytestmark = [pytest.mark.timeout(420), pytest.mark.crash]


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return an empty store of each kind."""
    if request.param == "sqlite":
        yield ""
    else:
        yield request.getfixturevalue("postgres_url")


class Senders:
    """Twenty sessions that insist until every mail has its 250."""

    def __init__(self, relay: RelayProcess, rcpt: str) -> None:
        """Divide the mails among the sessions."""
        self.accepted: Counter[str] = Counter()
        self._relay = relay
        self._rcpt = rcpt
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._session, args=(number,), daemon=True)
            for number in range(SESSIONS)
        ]

    def start(self) -> None:
        """Start all sessions."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for all sessions."""
        for thread in self._threads:
            thread.join(240)
            assert not thread.is_alive()

    def _session(self, number: int) -> None:
        waiting = [
            (
                f"Mail {number}-{mail}",
                mail_to(
                    "kim@customer.example", Subject=f"Mail {number}-{mail}"
                ).as_bytes(),
            )
            for mail in range(MAILS // SESSIONS)
        ]
        while waiting:
            try:
                with self._relay.smtp() as client:
                    while waiting:
                        subject, raw = waiting[0]
                        send_in(client, raw, self._rcpt)
                        with self._lock:
                            self.accepted[subject] += 1
                        waiting.pop(0)
                        # Spread the load over the kills.
                        time.sleep(0.02)
            except (OSError, smtplib.SMTPException, AssertionError):
                time.sleep(0.1)


@pytest.mark.parametrize("mode", ["email_message", "task"])
def test_killed_five_times(
    tmp_path: Path, store_url: str, mode: str, pytestconfig: pytest.Config
) -> None:
    """Each accepted mail is logged once: none missing, none twice."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    sandbox = SandboxProcess(tmp_path)
    relay = RelayProcess(
        tmp_path / "relay",
        sandbox.url,
        store_url=store_url,
        salesforce__write_as=mode,
        salesforce__timeout_s=2,
        salesforce__settle_s=1,
    )
    try:
        # A slow org, so that kills fall into calls that are under way.
        sandbox.post("/sandbox/config", {"latency_s": 0.05})
        sandbox.person("Contact", "kim@customer.example")
        rcpt = relay.add_user("Ada Rep", "ada@corp.example")
        relay.start()
        senders = Senders(relay, rcpt)
        senders.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.3, 1.5))
            relay.kill()
            relay.start()
        senders.join()
        wait_for(
            lambda: (
                not relay.log("--state", "queued")
                and not relay.log("--state", "claimed")
            ),
            message=relay.output()[-2000:],
            timeout_s=120,
        )
        sobject = "EmailMessage" if mode == "email_message" else "Task"
        held = Counter(row["Subject"] for row in sandbox.rows(sobject))
        assert not [s for s in senders.accepted if s not in held], "missing"
        assert not {s: n for s, n in held.items() if n > 1}, "doubled"
        states = Counter(row["state"] for row in relay.log())
        assert set(states) == {"logged"}
        assert states["logged"] >= MAILS
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        if relay.process and relay.process.running:
            relay.kill()
        sandbox.stop()
