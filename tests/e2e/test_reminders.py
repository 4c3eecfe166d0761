"""Reminders by mail: a tag of a relay address logs the mail and makes one reminder."""

from __future__ import annotations

import smtplib
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from relay.core.reminders import today
from tests.fakes.processes import RelayProcess, mail_to, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(150)


def tagged(rcpt: str, tag: str) -> str:
    """Return a relay address with a tag."""
    token, _, domain = rcpt.partition("@")
    return f"{token}+{tag}@{domain}"


def steps(row: dict[str, Any], name: str = "reminder") -> list[tuple[str, str]]:
    """Return result and detail of a step of the trace."""
    return [(s["result"], s["detail"]) for s in row["trace"] if s["step"] == name]


def test_a_tag_logs_the_mail_and_makes_a_reminder(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str, tmp_path: Path
) -> None:
    """Name from the subject, person and record from the match, day by Ada's zone."""
    kim = sandbox.person("Contact", "kim@customer.example")
    deal = sandbox.deal(kim)
    mail = mail_to("kim@customer.example")
    before = datetime.now(UTC)
    row = relay.settled(relay.send(mail, tagged(ada, "TODO-3d")))
    assert row["state"] == "logged"
    assert row["records"]
    (made,) = relay.json("reminder", "list")
    assert (made["name"], made["message"]) == (mail["Subject"], row["id"])
    assert (made["person"], made["record"]) == (kim, deal)
    assert (made["type"], made["assignee"]) == ("Email", "ada@corp.example")
    ((result, detail),) = steps(row)
    assert result == "made"
    where = ZoneInfo(detail.split(" in ")[1].partition(",")[0])
    days = {today(at, where) + timedelta(3) for at in (before, datetime.now(UTC))}
    assert date.fromisoformat(made["due"]) in days
    saved = tmp_path / "mail.eml"
    saved.write_bytes(mail.as_bytes())
    rcpt = tagged(ada, "todo-2030-01-31")
    (told,) = relay.json("explain", str(saved), "--rcpt", rcpt)
    assert ("made", "due 2030-01-31") in [(r, d[:14]) for r, d in steps(told)]
    (first,) = relay.json("reminder", "history", made["id"])
    assert (first["source"], first["actor"]) == ("mail", "relay")


def test_a_wrong_tag_costs_the_reminder_alone(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """The mail is logged, and the trace has the right spelling."""
    sandbox.person("Contact", "kim@customer.example")
    mail = mail_to("kim@customer.example")
    row = relay.settled(relay.send(mail, tagged(ada, "todo-tomorow")))
    assert row["state"] == "logged"
    ((result, detail),) = steps(row)
    assert result == "ignored"
    assert "+todo-tomorow" in detail
    assert "+todo-2026-12-01" in detail
    assert relay.json("reminder", "list") == []


def test_what_fits_no_record_still_makes_a_reminder(
    relay: RelayProcess, ada: str
) -> None:
    """Its person is the address that nobody has; a note to oneself has none."""
    mail = mail_to("new@stranger.example")
    row = relay.settled(relay.send(mail, tagged(ada, "todo-2030-01-31")))
    assert row["state"] == "unmatched"
    alone = tagged(ada, "todo-2030-02-01")
    relay.settled(relay.send(mail_to(alone, Subject="Buy  milk"), alone))
    first, second = relay.json("reminder", "list")
    assert (first["person"], first["due"]) == ("new@stranger.example", "2030-01-31")
    assert (second["name"], second["person"]) == ("Buy milk", None)


def test_a_mail_makes_a_reminder_once(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Sent again, tried again, removed: of one mail, user and tag there is one."""
    sandbox.person("Contact", "kim@customer.example")
    mail = mail_to("kim@customer.example")
    first = relay.settled(relay.send(mail, tagged(ada, "todo-2w")))
    again = relay.settled(relay.send(mail, tagged(ada, "todo-2w")))
    assert again["copy_of"] == first["id"]
    (made,) = relay.json("reminder", "list")
    relay.run("reminder", "remove", made["id"])
    relay.run("retry", first["id"])
    wait_for(
        lambda: len(relay.json("show", first["id"])[0]["trace"]) > len(first["trace"]),
        message="tried again",
    )
    relay.settled(first["id"])
    assert relay.json("reminder", "list") == []
    other = relay.settled(relay.send(mail, tagged(ada, "todo-1d")))
    assert other["copy_of"] == first["id"]
    (second,) = relay.json("reminder", "list")
    assert second["id"] != made["id"]


def test_mail_that_is_kept_out_makes_none(relay: RelayProcess, ada: str) -> None:
    """What a rule keeps out of the CRM does not come in by a reminder."""
    mail = mail_to("kim@customer.example", Sensitivity="Company-Confidential")
    row = relay.settled(relay.send(mail, tagged(ada, "todo-3d")))
    assert (row["state"], row["reason"]) == ("skipped", "confidential")
    assert steps(row)[0][0] == "none"
    assert relay.json("reminder", "list") == []


def test_any_other_tag_is_refused(relay: RelayProcess, ada: str) -> None:
    """As before: neither a record nor a reminder."""
    with relay.smtp() as client:
        client.helo()
        client.mail("ada@corp.example")
        assert client.rcpt(tagged(ada, "remind-3d"))[0] == 550
        assert client.rcpt(tagged(ada, "todo"))[0] == 250


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_a_killed_relay_makes_each_reminder_once(
    request: pytest.FixtureRequest,
    tmp_path: Any,
    sandbox: SandboxProcess,
    store: str,
) -> None:
    """Killed while it writes, again and again: each mail has one reminder."""
    url = ""
    if store == "postgresql":
        url = request.getfixturevalue("postgres").create("reminders")
    relay = RelayProcess(
        tmp_path / "relay",
        sandbox.url,
        store_url=url,
        salesforce__timeout_s=2,
        salesforce__settle_s=1,
    )
    sandbox.post("/sandbox/config", {"latency_s": 0.05})
    sandbox.person("Contact", "kim@customer.example")
    ada = relay.add_user("Ada Rep", "ada@corp.example")
    relay.start()
    sent = 0
    try:
        for _ in range(4):
            for _ in range(10):
                try:
                    mail = mail_to("kim@customer.example", Subject=f"Mail {sent}")
                    relay.send(mail, tagged(ada, "todo-3d"))
                except (smtplib.SMTPException, OSError):
                    continue
                sent += 1
            relay.kill()
            relay.start()
        wait_for(relay.drained, message=relay.output()[-2000:], timeout_s=100)
        rows = relay.json("reminder", "list")
        names = sorted(one["name"] for one in rows)
        assert names == sorted({row["subject"] for row in relay.log()})
        assert len(names) >= sent
    finally:
        if relay.process and relay.process.running:
            relay.kill()
