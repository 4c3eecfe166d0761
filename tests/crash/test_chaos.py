"""Everything goes wrong at once: still each mail is one activity.

While mail comes in over SMTP, the org drops connections before and after it has done
its work, stalls, answers HTML and half of its JSON, locks rows, ends sessions and runs
out of calls; and the relay is killed again and again. In the end every accepted mail
has its activity, none has two, and none is dead.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.processes import RelayProcess, SandboxProcess, wait_for
from tests.fakes.senders import Senders

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.crash

CALLS = "/services/data"
STALL_S = 30
KEY = "Relay_Key__c"
"""A unique field for keys, place A; without it they are looked up (B and E)."""


def faults(stall_s: float) -> list[dict[str, Any]]:
    """Return what goes wrong, each with its share of calls or records."""
    return [
        {"stage": "before", "kind": "reset", "probability": 0.03, "path": CALLS},
        {"stage": "after", "kind": "reset", "probability": 0.03, "path": CALLS},
        {"stage": "answer", "kind": "truncate", "probability": 0.03, "path": CALLS},
        {"stage": "answer", "kind": "html", "code": 503, "probability": 0.02}
        | {"path": CALLS},
        {"stage": "before", "kind": "html", "code": 503, "probability": 0.02}
        | {"path": CALLS},
        {"stage": "after", "kind": "stall", "delay_s": stall_s, "probability": 0.02}
        | {"path": CALLS},
        {"stage": "before", "kind": "expire_token", "probability": 0.02}
        | {"path": CALLS, "count": 20},
        {"kind": "lock_rows", "probability": 0.05},
    ]


QUOTA = {"stage": "before", "kind": "quota", "delay_s": 2, "count": 1, "path": CALLS}


@pytest.mark.parametrize(
    ("mode", "unique"),
    [("email_message", ""), ("task", ""), ("email_message", KEY), ("task", KEY)],
)
@pytest.mark.parametrize(
    ("mails", "kills", "stall_s"),
    [
        pytest.param(300, 3, 4, marks=pytest.mark.timeout(480), id="short"),
        pytest.param(
            5000,
            10,
            STALL_S,
            marks=[pytest.mark.slow, pytest.mark.timeout(1800)],
            id="long",
        ),
    ],
)
def test_chaos(
    tmp_path: Path, mode: str, unique: str, mails: int, kills: int, stall_s: int
) -> None:
    """Each accepted mail is logged once, whatever the org and the relay go through."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    sandbox = SandboxProcess(tmp_path)
    relay = RelayProcess(
        tmp_path / "relay",
        sandbox.url,
        salesforce__write_as=mode,
        salesforce__timeout_s=2,
        # Longer than a stall: what stalls may still be done when we look.
        salesforce__settle_s=stall_s + 2,
        salesforce__pause_max_s=3,
    )
    try:
        if unique:
            sandbox.key_fields(unique)
        sandbox.person("Contact", "kim@customer.example")
        rcpt = relay.add_user("Ada Rep", "ada@corp.example")
        relay.start()
        sandbox.post(
            "/sandbox/faults",
            {"faults": [*faults(stall_s), QUOTA], "random_seed": seed},
        )
        senders = Senders(relay, rcpt, mails=mails, sessions=20)
        senders.start()
        for _ in range(kills):
            time.sleep(chance.uniform(0.5, 2.0))
            relay.kill()
            relay.start()
        senders.join()
        wait_for(
            lambda: len(relay.log("--state", "logged")) >= mails * 0.9,
            message="most of it in spite of everything",
            timeout_s=200 if mails < 1000 else 900,
        )
        sandbox.faults()
        wait_for(
            relay.drained,
            message="an empty queue",
            timeout_s=200 if mails < 1000 else 300,
        )
        sobject = "EmailMessage" if mode == "email_message" else "Task"
        held = Counter(row["Subject"] for row in sandbox.rows(sobject))
        missing = {subject for subject in senders.accepted if subject not in held}
        assert not missing, [r for r in relay.log() if r["subject"] in missing]
        assert not {s: n for s, n in held.items() if n > 1}, "doubled"
        assert {row["state"] for row in relay.log()} == {"logged"}
        relay.run("audit", "--json")  # Exit status 0: ledger and org agree.
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        if relay.process and relay.process.running:
            relay.kill()
        sandbox.stop()
