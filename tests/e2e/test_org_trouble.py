"""An org that cannot be used: mail waits, visibly, and nothing hammers it."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from relay.store.values import SECOND
from tests.fakes.processes import RelayProcess, free_port, mail_to, wait_for

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(120)

KIM = "kim@customer.example"


@pytest.fixture
def watched(idle: RelayProcess, sandbox: SandboxProcess) -> RelayProcess:
    """Run a relay with Ada, a health listener and short rests."""
    sandbox.person("Contact", KIM)
    idle.set(
        salesforce__write_as="task",
        salesforce__pause_max_s=1,
        telemetry__listen=f"127.0.0.1:{free_port()}",
    )
    idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    return idle


def address(relay: RelayProcess) -> str:
    """Return Ada's relay address."""
    return str(relay.json("user", "list")[0]["relay_address"])


def page(relay: RelayProcess, path: str) -> str:
    """Return a page of the health listener."""
    place = relay._keys["telemetry__listen"]
    with urllib.request.urlopen(f"http://{place}{path}", timeout=5) as answer:
        return str(answer.read().decode())


def finding(relay: RelayProcess, check: str) -> dict[str, Any]:
    """Return one line of `relay check`, whatever its exit status is."""
    for status in (0, 1):
        try:
            rows = relay.json("check", status=status)
        except AssertionError:
            continue
        return next(row for row in rows if row["check"] == check)
    raise AssertionError("relay check")


def probed(relay: RelayProcess) -> tuple[int, float]:
    """Return how many probes of the org have failed, and how long it is paused then."""
    query = 'SELECT probes, "until" - since FROM org_pauses'
    with closing(sqlite3.connect(relay.folder / "relay.db")) as database:
        probes, paused = database.execute(query).fetchone() or (0, 0)
    return probes, (paused or 0) / SECOND


def logins(sandbox: SandboxProcess) -> list[dict[str, Any]]:
    """Return the calls that asked for a token."""
    return [c for c in sandbox.get("/sandbox/calls") if "/oauth2/token" in c["path"]]


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "quota": ({"kind": "quota"}, "quota"),
    "down": ({"kind": "html", "code": 503}, "down"),
    "unavailable": ({"kind": "error_code", "code": "SERVER_UNAVAILABLE"}, "down"),
    "sessions": ({"kind": "expire_token"}, "credentials"),
    "locked": ({"kind": "error_code", "code": "ORG_LOCKED"}, "access"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_org_that_cannot_be_used_pauses_and_comes_back(
    watched: RelayProcess, sandbox: SandboxProcess, name: str
) -> None:
    """Mail is accepted and waits uncounted; check, readyz and metrics say why."""
    fault, reason = FAULTS[name]
    rcpt = address(watched)
    sandbox.faults({"stage": "before", "path": "/services/data/", **fault})
    sent = [watched.send(mail_to(KIM), rcpt) for _ in range(3)]
    ready = wait_for(
        lambda: (
            (told := json.loads(page(watched, "/readyz")))
            and not told["checks"].get("salesforce", {"ok": True})["ok"]
            and told
        ),
        message="the pause",
    )
    assert ready["ready"] is True
    assert f"({reason})" in ready["checks"]["salesforce"]["detail"]
    assert "relay_org_paused 1.0" in page(watched, "/metrics")
    assert f'relay_org_pauses_total{{reason="{reason}"}}' in page(watched, "/metrics")
    pause = finding(watched, "salesforce pause")
    assert pause["result"] == "fail"
    assert f"({reason})" in pause["detail"]
    assert pause["mend"]
    rows = [watched.json("show", message)[0] for message in sent]
    assert {row["state"] for row in rows} <= {"queued", "claimed"}
    assert max(row["attempts"] for row in rows) <= 1
    sandbox.faults()
    if name == "sessions":
        # A login that was refused is left in peace; a restart tries at once.
        watched.stop()
        watched.start()
    for message in sent:
        row = watched.settled(message)
        assert (row["state"], row["attempts"]) == ("logged", 1)
    assert len(sandbox.rows("Task")) == 3
    wait_for(lambda: "relay_org_paused 0.0" in page(watched, "/metrics"))
    assert finding(watched, "salesforce pause")["result"] == "ok"


def test_a_refused_connection_is_not_hammered(
    watched: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Twenty mails and no org: one mail knocks at a time, and is given back."""
    rcpt = address(watched)
    watched.settled(watched.send(mail_to(KIM), rcpt))
    sandbox.stop()
    sent = [watched.send(mail_to(KIM), rcpt) for _ in range(20)]
    wait_for(lambda: probed(watched)[0] >= 4, message="probes of the org")
    calls = page(watched, "/metrics")
    failed = [
        float(line.split()[-1])
        for line in calls.splitlines()
        if line.startswith("relay_salesforce_calls_total") and "unavailable" in line
    ]
    probes, paused_s = probed(watched)
    assert sum(failed) <= 2 * (1 + probes), failed
    assert paused_s >= 1 + probes, "each pause is kept: a second, as set"
    assert watched.output().count('"org_paused"') == 1
    sandbox.start()
    sandbox.person("Contact", KIM)
    assert {watched.settled(message)["state"] for message in sent} == {"logged"}
    assert len(sandbox.rows("Task")) == 20


def test_forty_refused_sessions_cause_two_logins(
    watched: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Forty mails meet an org that ends every session: nobody knocks forty times."""
    rcpt = address(watched)
    before = len(logins(sandbox))
    sandbox.faults({"kind": "expire_token"})
    for _ in range(40):
        watched.send(mail_to(KIM), rcpt)
    wait_for(lambda: probed(watched)[0] >= 3, message="probes of the org")
    assert len(logins(sandbox)) - before <= 2


def test_one_bad_record_pauses_nobody(
    watched: RelayProcess, sandbox: SandboxProcess
) -> None:
    """An error that belongs to the org, answered for one record of many, is its own."""
    rcpt = address(watched)
    watched.stop()
    watched.start(roles="smtp")
    sandbox.faults(
        {
            "kind": "error_code",
            "object": "Task",
            "code": "STORAGE_LIMIT_EXCEEDED",
            "count": 1,
        }
    )
    sent = [watched.send(mail_to(KIM), rcpt) for _ in range(5)]
    watched.stop()
    watched.start()
    wait_for(lambda: len(watched.log("--state", "logged")) >= 4, message="neighbours")
    assert '"org_paused"' not in watched.output()
    rows = [watched.json("show", message)[0] for message in sent]
    (waiting,) = [row for row in rows if row["state"] == "queued"]
    assert waiting["reason"] == "STORAGE_LIMIT_EXCEEDED"


def test_an_address_that_breaks_the_look_up_hides_nobody(
    watched: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Salesforce fails at one address: its mail waits, its neighbours are logged."""
    rcpt = address(watched)
    watched.stop()
    watched.start(roles="smtp")
    sandbox.faults(
        {
            "kind": "error_code",
            "code": "UNKNOWN_EXCEPTION",
            "body": "SELECT.*poison%40customer",
        }
    )
    sent = [watched.send(mail_to(KIM), rcpt) for _ in range(6)]
    bad = watched.send(mail_to("poison@customer.example"), rcpt)
    watched.stop()
    watched.start()
    assert {watched.settled(message)["state"] for message in sent} == {"logged"}
    wait_for(
        lambda: (
            (row := watched.json("show", bad)[0])["state"] == "queued"
            and row["reason"] == "UNKNOWN_EXCEPTION"
        ),
        message="the mail that waits, with its reason",
    )
    assert '"org_paused"' not in watched.output()


def test_the_relay_keeps_calls_for_others(
    watched: RelayProcess, sandbox: SandboxProcess
) -> None:
    """At its share the relay stops writing, takes mail, and says until when."""
    rcpt = address(watched)
    watched.stop()
    watched.set(salesforce__daily_share=0.00002, salesforce__pause_max_s=900)
    watched.start()
    first = watched.settled(watched.send(mail_to(KIM), rcpt))
    assert first["state"] == "logged"
    second = watched.send(mail_to(KIM), rcpt)
    wait_for(lambda: "(budget)" in page(watched, "/readyz"), message="the budget")
    assert watched.json("show", second)[0]["state"] == "queued"
    assert "salesforce.daily_share" in finding(watched, "salesforce pause")["detail"]
    calls = finding(watched, "api calls")
    assert "relay" in calls["detail"], calls
    assert "relay_org_api_own" in page(watched, "/metrics")
    watched.stop()
    watched.set(salesforce__daily_share=1.0)
    watched.start()
    assert watched.settled(second)["state"] == "logged"


def test_a_pause_ends_although_no_mail_comes(
    watched: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Calls are there again: files go, although nothing is in the queue."""
    watched.stop()
    watched.set(salesforce__slow_at=0.29, salesforce__pause_at=0.3)
    watched.start()
    rcpt = address(watched)
    busy = {"kind": "error_code", "code": "CONCURRENT_REQUEST_CONFLICT"}
    sandbox.faults({**busy, "object": "ContentVersion"})
    mail = mail_to(KIM)
    mail.add_attachment(
        b"x" * 1000, maintype="application", subtype="pdf", filename="a.pdf"
    )
    assert watched.settled(watched.send(mail, rcpt))["state"] == "logged"
    sandbox.post("/sandbox/config", {"daily_limit": 10})
    assert watched.settled(watched.send(mail_to(KIM), rcpt))["state"] == "logged"
    wait_for(lambda: "(budget)" in page(watched, "/readyz"), message="the budget")
    sandbox.faults()
    assert sandbox.rows("ContentVersion") == []
    sandbox.post("/sandbox/config", {"daily_limit": 100_000})
    wait_for(lambda: "(budget)" not in page(watched, "/readyz"), message="the end")
    wait_for(lambda: sandbox.rows("ContentVersion"), message="the file")
    assert finding(watched, "salesforce pause")["result"] == "ok"


def test_a_relay_that_was_stopped_for_days_gives_no_mail_up(
    watched: RelayProcess, sandbox: SandboxProcess
) -> None:
    """The first row lock after a long outage is the first failure, not the last."""
    rcpt = address(watched)
    watched.stop()
    watched.start(roles="smtp")
    sent = [watched.send(mail_to(KIM), rcpt) for _ in range(3)]
    watched.stop()
    with closing(sqlite3.connect(watched.folder / "relay.db")) as store, store:
        store.execute(
            "UPDATE messages SET received_at = received_at - :age, "
            "next_attempt_at = next_attempt_at - :age",
            {"age": 6 * 86_400 * SECOND},
        )
    sandbox.faults({"kind": "lock_rows", "count": 3, "object": "Task"})
    watched.start()
    rows = [watched.settled(message) for message in sent]
    assert {row["state"] for row in rows} == {"logged"}
    assert max(row["attempts"] for row in rows) > 1


def test_an_id_in_a_mail_reaches_no_url(
    watched: RelayProcess, sandbox: SandboxProcess
) -> None:
    """`//evil.example/x` wherever an id may stand: no address of a call holds it, nor
    of the sub-requests in it."""
    rcpt = address(watched)
    evil = "//evil.example/x"
    mail = mail_to(
        f'"{evil}" <{KIM}>',
        Subject=f"Offer (ref: {evil}) [ref:{evil}:ref]",
        MessageID=f"<{evil}@corp.example>",
        References=f"<{evil}>",
        In_Reply_To=evil,
    )
    mail.set_content(f"(ref: {evil})\nref: {evil}\nrelay-key: {evil}\n")
    assert watched.settled(watched.send(mail, rcpt))["state"] == "logged"
    watched.run(
        "user",
        "add",
        "Eve",
        "--email",
        "e@x.example",
        "--salesforce-id",
        evil,
        status=2,
    )
    calls = sandbox.get("/sandbox/calls")
    urls = [call["path"] for call in calls]
    urls += [unquote(url) for call in calls for url in call["urls"]]
    assert len(urls) > len(calls)
    assert [url for url in urls if "evil" in url] == []


def test_a_lone_mail_waits_for_a_few_calls_alone(
    watched: RelayProcess, sandbox: SandboxProcess
) -> None:
    """From the 250 to the record: six calls at most, also on a cold start.

    With 150 ms a call that is well below two seconds. It waits for no poll.
    """
    rcpt = address(watched)
    watched.set(worker__poll_s=3600)
    watched.stop()
    watched.start()
    for _ in range(2):
        before = len(sandbox.get("/sandbox/calls"))
        message = watched.send(mail_to(KIM), rcpt)
        assert watched.settled(message)["state"] == "logged"
        calls = sandbox.get("/sandbox/calls")[before:]
        made = next(n for n, call in enumerate(calls, 1) if call["records"])
        assert made <= 6
