"""What an independent review found: each defect once, so that it stays mended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.processes import RelayProcess, mail_to, wait_for

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(120)

TASKS = '"type" *: *"Task"'
EMAILS = '"type" *: *"EmailMessage"'


def lose_answer(sandbox: SandboxProcess, body: str) -> None:
    """Lose the answer of the next call that creates such a record."""
    sandbox.faults({"stage": "after", "kind": "reset", "count": 1, "body": body})


def sent(relay: RelayProcess, message: str) -> dict[str, Any]:
    """Wait for the first attempt's end, and return the message."""
    return wait_for(
        lambda: (
            (row := relay.json("show", message)[0])["attempts"] >= 1
            and row["reason"]
            and row
        ),
        message="an attempt",
    )


def test_a_clock_ahead_of_salesforce_makes_no_double(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """A relay that starts anew learns Salesforce's time before it believes absence."""
    idle.set(salesforce__write_as="task", salesforce__timeout_s=1)
    behind = datetime.now(UTC) - timedelta(minutes=10)
    sandbox.post("/sandbox/clock", {"now": behind.strftime("%Y-%m-%dT%H:%M:%SZ")})
    sandbox.person("Contact", "kim@customer.example")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    lose_answer(sandbox, TASKS)
    message = idle.send(mail_to("kim@customer.example"), rcpt)
    sent(idle, message)
    idle.kill()
    idle.start()
    assert idle.settled(message)["state"] == "logged"
    assert len(sandbox.rows("Task")) == 1


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unproven_first_write_is_not_logged(
    idle: RelayProcess, sandbox: SandboxProcess, method: str
) -> None:
    """Where the first EmailMessage makes no activity the mail ends as a Task.

    Whatever goes wrong between the write and what it shows: reading it back, or taking
    it back.
    """
    sandbox.post("/sandbox/config", {"email_mode": "case_only"})
    contact = sandbox.person("Contact", "kim@customer.example")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    part = "FROM%20EmailMessage" if method == "GET" else '"method" *: *"DELETE"'
    sandbox.faults(
        {"stage": "before", "kind": "html", "code": 503, "count": 2, "body": part}
    )
    row = idle.settled(idle.send(mail_to("kim@customer.example"), rcpt), timeout_s=60)
    assert row["state"] == "logged", row
    assert [task["WhoId"] for task in sandbox.rows("Task")] == [contact]
    assert [record["object"] for record in row["records"]] == ["Task"]
    assert not sandbox.rows("EmailMessage")


def test_a_reused_message_id_is_another_mail(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """A record that answers one mail is not taken for another with its Message-ID."""
    idle.set(salesforce__write_as="email_message", salesforce__timeout_s=1)
    sandbox.person("Contact", "kim@customer.example")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    one = mail_to("kim@customer.example", MessageID="<same@corp.example>")
    assert idle.settled(idle.send(one, rcpt))["state"] == "logged"
    sandbox.faults({"stage": "before", "kind": "reset", "count": 1, "body": EMAILS})
    two = mail_to("kim@customer.example", MessageID="<same@corp.example>")
    row = idle.settled(idle.send(two, rcpt), timeout_s=60)
    assert row["state"] == "logged"
    subjects = {record["Subject"] for record in sandbox.rows("EmailMessage")}
    assert subjects == {one["Subject"], two["Subject"]}


def test_shadow_mode_finishes_nothing(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """A mail that is half written stays so while nothing may be written."""
    idle.set(salesforce__write_as="task")
    for name in ("kim", "lee"):
        sandbox.person("Contact", f"{name}@customer.example")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    sandbox.faults(
        {
            "kind": "error_code",
            "object": "Task",
            "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            "count": 1,
        }
    )
    idle.start()
    mail = mail_to("kim@customer.example", "lee@customer.example")
    message = idle.send(mail, rcpt)
    assert idle.settled(message)["state"] == "dead"
    assert len(sandbox.rows("Task")) == 1
    idle.stop()
    idle.set(salesforce__write_as="nothing")
    idle.start()
    idle.run("retry", message)
    wait_for(
        lambda: idle.json("show", message)[0]["reason"] == "shadow_mode",
        message="the reason",
    )
    assert len(sandbox.rows("Task")) == 1


def test_an_exclusion_is_for_its_user_alone(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Ada's rule keeps her copy out; Ben's copy of the same mail is logged."""
    sandbox.person("Contact", "kim@customer.example")
    ben = relay.add_user("Ben", "ben@corp.example")
    relay.run("address", "add", "ben@corp.example", "ada@corp.example", "--yes")
    relay.run(
        *("exclude", "add", "kim@customer.example"),
        *("--user", "ada@corp.example", "--skip", "mail"),
    )

    def accepted() -> bool:
        with relay.smtp() as client:
            client.ehlo()
            client.mail("ada@corp.example")
            return client.rcpt(ben)[0] == 250

    wait_for(accepted, message="Ben's address")
    first = relay.send(mail_to("kim@customer.example"), ada, ben)
    relay.settled(first)
    states = wait_for(
        lambda: (
            (rows := {r["user"]: r["state"] for r in relay.log()})
            and not {"queued", "claimed"} & set(rows.values())
            and len(rows) == 2
            and rows
        ),
        message="both copies",
    )
    assert states == {"ada@corp.example": "skipped", "ben@corp.example": "logged"}


def test_a_new_user_is_known_to_every_process(
    relay: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Mail for somebody who was added a moment ago is never dead for it."""
    sandbox.person("Contact", "kim@customer.example")
    for number in range(5):
        address = f"rep{number}@corp.example"
        rcpt = relay.add_user(
            f"Rep {number}", address, "--salesforce-id", _ada(sandbox)
        )

        def taken(rcpt: str = rcpt) -> bool:
            with relay.smtp() as client:
                client.ehlo()
                client.mail("x@corp.example")
                return client.rcpt(rcpt)[0] == 250

        wait_for(taken, message="the address")
        row = relay.settled(
            relay.send(mail_to("kim@customer.example", From=address), rcpt)
        )
        assert row["state"] == "logged", row


def _ada(sandbox: SandboxProcess) -> str:
    users = sandbox.rows("User")
    return str(next(u["Id"] for u in users if u["Email"] == "ada@corp.example"))


def test_a_drain_without_time_counts_no_crash(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Restarts while a call stalls do not use up the mail."""
    idle.set(smtp__drain_s=0.3, salesforce__timeout_s=3, salesforce__write_as="task")
    sandbox.person("Contact", "kim@customer.example")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    sandbox.faults({"stage": "before", "kind": "stall", "delay_s": 2, "count": 6})
    message = idle.send(mail_to("kim@customer.example"), rcpt)
    for _ in range(2):
        wait_for(
            lambda: idle.json("show", message)[0]["state"] == "claimed",
            message="a claim",
        )
        idle.stop()
        steps = {s["step"] for s in idle.json("show", message)[0]["trace"]}
        assert idle.json("show", message)[0]["state"] == "queued", steps
        idle.start()
    sandbox.faults()
    row = idle.settled(message, timeout_s=60)
    assert row["state"] == "logged"
    assert len(sandbox.rows("Task")) == 1
    assert "lease_expired" not in str(row["trace"])
