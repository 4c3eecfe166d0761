"""A retry is taken back while the worker is at it, and killed: each mail once or never.

Mails that Salesforce refused are dead. Again and again all of them are retried, the
relay is killed with SIGKILL at a random moment, and the retry is taken back before or
after it starts anew. What came back is dead and was not written; what the worker had
claimed is written once.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import RelayProcess, SandboxProcess, wait_for
from tests.fakes.senders import Senders

if TYPE_CHECKING:
    from pathlib import Path

MAILS = 120
ROUNDS = 6

pytestmark = [pytest.mark.timeout(420), pytest.mark.crash]


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_what_is_taken_back_is_not_written(
    request: pytest.FixtureRequest, tmp_path: Path, store: str
) -> None:
    """The ledger of the org says of each mail what its state says."""
    store_url = ""
    if store == "postgresql":
        store_url = request.getfixturevalue("postgres_url")
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    sandbox = SandboxProcess(tmp_path)
    relay = RelayProcess(
        tmp_path / "relay",
        sandbox.url,
        store_url=store_url,
        salesforce__write_as="task",
        salesforce__timeout_s=2,
        salesforce__settle_s=1,
        worker__batch=5,
    )
    try:
        # A slow org, so that kills and undos fall into calls that are under way.
        sandbox.post("/sandbox/config", {"latency_s": 0.1})
        sandbox.person("Contact", "kim@customer.example")
        sandbox.faults(
            {
                "kind": "error_code",
                "object": "Task",
                "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            }
        )
        rcpt = relay.add_user("Ada Rep", "ada@corp.example")
        relay.start()
        senders = Senders(relay, rcpt, mails=MAILS, sessions=10)
        senders.start()
        senders.join()
        wait_for(relay.drained, message=relay.output()[-2000:], timeout_s=120)
        assert {row["state"] for row in relay.log()} == {"dead"}
        sandbox.faults()
        back = 0
        for number in range(ROUNDS):
            changes = {row["change"] for row in relay.json("retry", "--state", "dead")}
            if not changes:
                break
            (change,) = changes
            time.sleep(chance.uniform(0, 0.5))
            if number % 3 == 0:
                relay.kill()
            if taken(relay, change):
                back += 1
            if number % 3 == 1:
                relay.kill()
            if number % 3 != 2:
                relay.start()
        assert back
        wait_for(relay.drained, message=relay.output()[-2000:], timeout_s=120)
        assert_alike(relay, sandbox, {"dead", "logged"})
        relay.run("retry", "--state", "dead")
        wait_for(relay.drained, message=relay.output()[-2000:], timeout_s=120)
        assert_alike(relay, sandbox, {"logged"})
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        if relay.process and relay.process.running:
            relay.kill()
        sandbox.stop()


def taken(relay: RelayProcess, change: int) -> bool:
    """Take a retry back; say whether any message came back."""
    with suppress(AssertionError):
        relay.run("history", "undo", str(change))
        return True
    failed = relay.run("history", "undo", str(change), status=1)
    assert b"moved on since" in failed.stderr
    return False


def assert_alike(
    relay: RelayProcess, sandbox: SandboxProcess, states: set[str]
) -> None:
    """What is logged has one record, and what is dead has none."""
    held = Counter(row["Subject"] for row in sandbox.rows("Task"))
    rows = relay.log()
    assert len(rows) >= MAILS
    assert {row["state"] for row in rows} <= states
    for row in rows:
        wanted = 1 if row["state"] == "logged" else 0
        assert held[row["subject"]] == wanted, row
