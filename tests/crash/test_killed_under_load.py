"""The main promise: each mail that got its 250 is logged once, whatever is killed.

Twenty sessions send 1,000 mails while the relay is killed with SIGKILL five times at
random moments. A session that is cut off starts again with the mail whose answer it
did not see. In the end the sandbox's dump holds every mail, none of them twice.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import RelayProcess, SandboxProcess, wait_for
from tests.fakes.senders import Senders

if TYPE_CHECKING:
    from pathlib import Path

MAILS = 1000
SESSIONS = 20
KILLS = 5
KEY = "Relay_Key__c"
"""A unique field for keys, place A; without it they are looked up (B and E)."""
MAILS_WITH_KEY = 300
KILLS_WITH_KEY = 3

pytestmark = [pytest.mark.timeout(420), pytest.mark.crash]


@pytest.mark.parametrize(
    ("store", "mode", "unique"),
    [
        ("sqlite", "email_message", ""),
        ("sqlite", "task", ""),
        ("postgresql", "email_message", ""),
        ("postgresql", "task", ""),
        # Where the key lives in Salesforce is nothing to the store: once is enough.
        ("sqlite", "email_message", KEY),
        ("sqlite", "task", KEY),
    ],
)
def test_killed_under_load(
    request: pytest.FixtureRequest, tmp_path: Path, store: str, mode: str, unique: str
) -> None:
    """Each accepted mail is logged once: none missing, none twice."""
    store_url = ""
    if store == "postgresql":
        store_url = request.getfixturevalue("postgres_url")
    mails, kills = (MAILS_WITH_KEY, KILLS_WITH_KEY) if unique else (MAILS, KILLS)
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
        if unique:
            sandbox.key_fields(unique)
        sandbox.person("Contact", "kim@customer.example")
        rcpt = relay.add_user("Ada Rep", "ada@corp.example")
        relay.start()
        senders = Senders(relay, rcpt, mails=mails, sessions=SESSIONS)
        senders.start()
        for _ in range(kills):
            time.sleep(chance.uniform(0.3, 1.5))
            relay.kill()
            relay.start()
        senders.join()
        wait_for(
            relay.drained,
            message=relay.output()[-2000:],
            timeout_s=120,
        )
        sobject = "EmailMessage" if mode == "email_message" else "Task"
        held = Counter(row["Subject"] for row in sandbox.rows(sobject))
        assert not [s for s in senders.accepted if s not in held], "missing"
        assert not {s: n for s, n in held.items() if n > 1}, "doubled"
        if unique:
            assert all(row[unique] for row in sandbox.rows(sobject))
        states = Counter(row["state"] for row in relay.log())
        assert set(states) == {"logged"}
        assert states["logged"] >= mails
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        if relay.process and relay.process.running:
            relay.kill()
        sandbox.stop()
