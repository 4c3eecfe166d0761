"""Three relays on one PostgreSQL: they share work, pause, budget and the first trial.

Each relay is a supervisor with an intake and a worker of its own, in a folder of its
own; they have nothing in common but the database and the org. Some are killed with
SIGKILL. Nothing is lost or doubled, and what one relay learns about the org holds for
all of them.
"""

from __future__ import annotations

import json
import random
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.children import free_port
from tests.fakes.processes import RelayProcess, SandboxProcess, mail_to, wait_for
from tests.fakes.senders import Senders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KIM = "kim@customer.example"
NAMES = ("one", "two", "three")
SESSIONS = 4
LONG_S = 120
"""A machine with two busy processors starts nine processes slowly."""

pytestmark = [pytest.mark.timeout(420), pytest.mark.crash]


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SandboxProcess]:
    """Run an org with one Contact."""
    process = SandboxProcess(tmp_path)
    process.person("Contact", KIM)
    yield process
    process.stop()


@pytest.fixture
def relays(
    tmp_path: Path, postgres_url: str, sandbox: SandboxProcess
) -> Iterator[list[RelayProcess]]:
    """Return three relays, not started, that know Ada."""
    made = [
        RelayProcess(
            tmp_path / name,
            sandbox.url,
            store_url=postgres_url,
            salesforce__write_as="task",
            salesforce__timeout_s=5,
            salesforce__settle_s=1,
            telemetry__listen=f"127.0.0.1:{free_port()}",
        )
        for name in NAMES
    ]
    made[0].add_user("Ada Rep", "ada@corp.example")
    yield made
    for relay in made:
        if relay.process and relay.process.running:
            relay.kill()


def start(*relays: RelayProcess) -> None:
    """Start relays at the same time; return once all of their processes work."""
    with ThreadPoolExecutor(len(relays)) as pool:
        list(pool.map(RelayProcess.start, relays))
    for relay in relays:
        wait_for(
            lambda relay=relay: org_of(relay),
            message="the worker of a relay",
            timeout_s=LONG_S,
        )


def address(relay: RelayProcess) -> str:
    """Return Ada's relay address."""
    return str(relay.json("user", "list")[0]["relay_address"])


def page(relay: RelayProcess, path: str) -> str:
    """Return a page of a relay's health listener."""
    place = relay._keys["telemetry__listen"]
    with urllib.request.urlopen(f"http://{place}{path}", timeout=20) as answer:
        return str(answer.read().decode())


def org_of(relay: RelayProcess) -> str:
    """Return what a relay says about the org."""
    try:
        checks = json.loads(page(relay, "/readyz"))["checks"]
    except OSError:
        return ""
    return str(checks.get("salesforce", {}).get("detail", ""))


def finding(relay: RelayProcess, check: str) -> dict[str, Any]:
    """Return one line of `relay check`, whatever its exit status is."""
    for status in (0, 1):
        try:
            rows = relay.json("check", status=status)
        except AssertionError:
            continue
        return next(row for row in rows if row["check"] == check)
    raise AssertionError("relay check")


def calls(sandbox: SandboxProcess) -> int:
    """Return how many API calls the org has answered; logins are none."""
    told = sandbox.get("/sandbox/calls")
    return sum("/services/data" in call["path"] for call in told)


# ------------------------------------------------------------------ the promise


@pytest.mark.parametrize(
    ("mails", "kills"),
    [
        pytest.param(80, 4, id="short"),
        pytest.param(600, 20, id="long", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_lost_or_doubled(
    relays: list[RelayProcess], sandbox: SandboxProcess, mails: int, kills: int
) -> None:
    """All three take mail while they are killed and the org fails for a while."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    try:
        for relay in relays:
            relay.set(salesforce__write_as="auto", salesforce__pause_max_s=2)
        # A slow org, so that kills fall into calls that are under way.
        sandbox.post("/sandbox/config", {"latency_s": 0.05})
        rcpt = address(relays[0])
        start(*relays)
        senders = [
            Senders(relay, rcpt, mails=mails, sessions=SESSIONS, name=name)
            for relay, name in zip(relays, NAMES, strict=True)
        ]
        for each in senders:
            each.start()
        for number in range(kills):
            time.sleep(chance.uniform(0.3, 1.5))
            if number == kills // 2:
                sandbox.faults({"stage": "before", "kind": "quota", "count": 3})
            killed = chance.choice(relays)
            killed.kill()
            killed.start()
        for each in senders:
            each.join()
        wait_for(
            relays[0].drained,
            message="\n".join(relay.output()[-1500:] for relay in relays),
            timeout_s=LONG_S,
        )
        accepted = {subject for each in senders for subject in each.accepted}
        assert len(accepted) == len(NAMES) * (mails // SESSIONS) * SESSIONS
        held = Counter(row["Subject"] for row in sandbox.rows("EmailMessage"))
        assert not [subject for subject in accepted if subject not in held], "missing"
        assert not {s: n for s, n in held.items() if n > 1}, "doubled"
        assert sandbox.rows("EmailMessage")
        assert {row["state"] for row in relays[1].log()} == {"logged"}
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise


# ------------------------------------------------------------------ the org's pause


def test_one_relay_probes_and_all_follow(
    relays: list[RelayProcess], sandbox: SandboxProcess
) -> None:
    """One trips, all pause; one tries at a time; a restart and a kill end nothing."""
    for relay in relays:
        relay.set(salesforce__pause_max_s=2)
    start(*relays)
    rcpt = address(relays[0])
    first = relays[0].send(mail_to(KIM), rcpt)
    assert relays[0].settled(first, timeout_s=LONG_S)["state"] == "logged"
    sandbox.faults({"stage": "before", "path": "/services/data/", "kind": "quota"})
    sent = [relay.send(mail_to(KIM), rcpt) for relay in relays for _ in range(3)]
    for relay in relays:
        wait_for(
            lambda relay=relay: "(quota)" in org_of(relay),
            message="the pause in every relay",
            timeout_s=LONG_S,
        )
        assert "relay_org_paused 1.0" in page(relay, "/metrics")
    since = {org_of(relay).partition(" (quota)")[0] for relay in relays}
    assert len(since) == 1
    assert finding(relays[2], "salesforce pause")["result"] == "fail"

    before, began = calls(sandbox), time.monotonic()
    time.sleep(8)
    probes = calls(sandbox) - before
    most = (time.monotonic() - began) / 2 + 2
    assert 1 <= probes <= most, "each relay tries for itself"

    relays[0].stop()
    relays[0].start()
    relays[1].kill()
    relays[1].start()
    for relay in relays:
        wait_for(
            lambda relay=relay: org_of(relay).startswith(tuple(since)),
            message="the same pause after a restart and a kill",
            timeout_s=LONG_S,
        )
    sandbox.faults()
    for message in sent:
        assert relays[2].settled(message, timeout_s=LONG_S)["state"] == "logged"
    for relay in relays:
        wait_for(
            lambda relay=relay: "relay_org_paused 0.0" in page(relay, "/metrics"),
            message="the end of the pause in every relay",
        )
    assert finding(relays[1], "salesforce pause")["result"] == "ok"
    assert len(sandbox.rows("Task")) == 1 + len(sent)


# ------------------------------------------------------------------ the API calls

SHARE = 80
"""Calls that the three relays may make together."""
MAILS = 150
GAP_S = 0.3
"""Between two mails, so that no batch has several."""
UNSEEN = 30
"""Calls that relays make before they see each other's, and at a start."""


def test_three_relays_keep_to_one_share(
    relays: list[RelayProcess], sandbox: SandboxProcess
) -> None:
    """Their calls are summed; a kill and a restart forget none of what is stored."""
    sandbox.post("/sandbox/config", {"daily_limit": 10_000})
    for relay in relays:
        relay.set(
            salesforce__daily_share=SHARE / 10_000,
            salesforce__slow_at=0.94,
            salesforce__pause_at=0.95,
            salesforce__pause_max_s=900,
        )
    start(*relays)
    rcpt = address(relays[0])

    def spent() -> bool:
        return any("(budget)" in org_of(relay) for relay in relays)

    for number in range(MAILS):
        relays[number % len(relays)].send(mail_to(KIM), rcpt)
        time.sleep(GAP_S)
        if number % 5 == 0 and spent():
            break
    for relay in relays:
        wait_for(
            lambda relay=relay: "(budget)" in org_of(relay),
            message="the budget in every relay",
            timeout_s=LONG_S,
        )
    made = calls(sandbox)
    assert SHARE * 0.8 <= made <= SHARE + UNSEEN
    # What a relay had begun when the others saw the budget used up may still end.
    wait_for(
        lambda: not relays[0].log("--state", "claimed"),
        message="no mail that a relay works on",
        timeout_s=LONG_S,
    )
    left = relays[0].log("--state", "queued")

    relays[0].kill()
    relays[0].start()
    wait_for(
        lambda: "(budget)" in org_of(relays[0]), message="the budget, after a kill"
    )
    assert calls(sandbox) <= made + UNSEEN
    # A relay that looks whether it may write again has some claimed for a moment.
    waiting = relays[0].log("--state", "queued", "--state", "claimed")
    assert len(waiting) >= len(left)
    detail = finding(relays[1], "api calls")["detail"]
    assert "salesforce.daily_share" in detail
    own = int(detail.partition("the relay made ")[2].split()[0])
    assert own >= SHARE * 0.8

    # Whoever raises the share and restarts need not wait.
    for relay in relays:
        relay.set(salesforce__daily_share=1.0)
        relay.stop()
    start(*relays)
    wait_for(relays[0].drained, message="the rest", timeout_s=LONG_S)
    messages = [row for row in relays[0].log() if row["kind"] == "message"]
    assert {row["state"] for row in messages} == {"logged"}


# ------------------------------------------------------------------ the first write


def test_one_relay_makes_the_first_email_message(
    relays: list[RelayProcess], sandbox: SandboxProcess
) -> None:
    """While it is read back the others wait, and then write as it showed."""
    for relay in relays:
        relay.set(salesforce__write_as="auto", worker__batch=5)
    relays[0].start(roles="smtp")
    rcpt = address(relays[0])
    sent = [relays[0].send(mail_to(KIM), rcpt) for _ in range(30)]
    relays[0].stop()
    sandbox.post("/sandbox/config", {"latency_s": 0.5})
    start(*relays)
    for message in sent:
        assert relays[1].settled(message, timeout_s=LONG_S)["state"] == "logged"
    decided = [relay.logged("write_mode_decided") for relay in relays]
    assert sum(map(len, decided)) == 1
    assert len(sandbox.rows("EmailMessage")) == len(sent)
