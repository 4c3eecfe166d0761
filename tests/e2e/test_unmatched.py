"""What did not match, over real SMTP: resolve, remember, rematch, ignore, undo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.children import wait_for
from tests.fakes.processes import mail_to

if TYPE_CHECKING:
    from tests.fakes.processes import RelayProcess, SandboxProcess

pytestmark = pytest.mark.timeout(120)


def living(sandbox: SandboxProcess, name: str) -> list[dict[str, Any]]:
    """Return the records of an object that are not deleted."""
    return sandbox.rows(name)


def mara(sandbox: SandboxProcess) -> str:
    people = living(sandbox, "Contact")
    return str(next(r["Id"] for r in people if r["Email"] == "mara@acme.example"))


def test_a_mail_is_resolved_remembered_and_undone(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Unmatched, then logged on the record named; the next mail finds it; undone."""
    first = relay.send(mail_to("m.lindqvist@private.example"), ada)
    assert relay.settled(first)["state"] == "unmatched"
    (row,) = relay.json("unmatched", "list")
    assert (row["id"], row["best"]["name"]) == (first, "Mara Lindqvist")
    contact = mara(sandbox)
    relay.json("unmatched", "resolve", first, contact, "--remember")
    shown = relay.settled(first)
    assert shown["state"] == "logged"
    assert any("resolved by" in step["detail"] for step in shown["trace"])
    (made,) = living(sandbox, "EmailMessage")
    assert made["ToIds"] == [contact]
    relay.heed()
    second = relay.send(mail_to("m.lindqvist@private.example"), ada)
    assert relay.settled(second)["state"] == "logged"
    assert len(living(sandbox, "EmailMessage")) == 2

    plan = relay.json("undo", first, "--dry-run")
    assert {one["fate"] for one in plan} == {"delete"}
    assert len(living(sandbox, "EmailMessage")) == 2
    relay.json("undo", first, "--yes")
    (left,) = living(sandbox, "EmailMessage")
    assert left["Id"] != made["Id"]
    assert [task["Id"] for task in living(sandbox, "Task")] == [left["ActivityId"]]
    gone = relay.settled(first)
    assert gone["state"] == "discarded"
    assert any(step["step"] == "undo" for step in gone["trace"])
    # A copy of the mail that comes later brings nothing back.
    assert relay.run("undo", first, "--yes", status=1).stderr.startswith(b"relay: ")


def test_a_record_that_appears_is_found_by_itself(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Without a command: the relay asks what is new."""
    with idle.config.open("a") as config:
        config.write("[match]\nrematch_s = 1\n")
    ada = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    ident = idle.send(mail_to("zoe@new.example"), ada)
    assert idle.settled(ident)["state"] == "unmatched"
    sandbox.person("Contact", "zoe@new.example")
    wait_for(
        lambda: idle.json("show", ident)[0]["state"] == "logged",
        message="the mail is not matched anew",
        timeout_s=60,
    )


def test_ignored_mail_ends_as_skipped(relay: RelayProcess, ada: str) -> None:
    """By the exclusion that was made of its address."""
    ident = relay.send(mail_to("law@firm.example"), ada)
    assert relay.settled(ident)["state"] == "unmatched"
    relay.json("unmatched", "ignore", ident)
    row = relay.settled(ident)
    assert (row["state"], row["reason"]) == ("skipped", "excluded")


def test_kills_around_a_choice_log_the_mail_once(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """The choice is made while the relay is down; it is killed while it writes."""
    ident = relay.send(mail_to("m.lindqvist@private.example"), ada)
    assert relay.settled(ident)["state"] == "unmatched"
    relay.kill()
    contact = mara(sandbox)
    relay.json("unmatched", "resolve", ident, contact)
    assert relay.json("show", ident)[0]["state"] == "queued"
    # The request stands while the relay dies; Salesforce carries it out all the same.
    sandbox.faults(
        {"kind": "stall", "stage": "after", "body": "MessageIdentifier", "delay_s": 3,
         "count": 1}
    )  # fmt: skip
    relay.start()
    wait_for(lambda: living(sandbox, "EmailMessage"), message="no record is written")
    relay.kill()
    relay.start()
    assert relay.settled(ident, timeout_s=90)["state"] == "logged"
    (made,) = living(sandbox, "EmailMessage")
    assert made["ToIds"] == [contact]


# ------------------------------------------------------------ an open Task

OBJECTS = {"task": "Task", "email_message": "EmailMessage"}


def with_open_tasks(relay: RelayProcess, **keys: object) -> str:
    """Start a relay that makes open Tasks; return Ada's relay address."""
    relay.set(match__unmatched_task=True, **keys)
    ada = relay.add_user("Ada Rep", "ada@corp.example")
    relay.start()
    return ada


def tried_again(relay: RelayProcess, ident: str) -> dict[str, Any]:
    """Match a mail anew; return it once it rests again."""
    before = relay.json("show", ident)[0]["attempts"]
    relay.run("retry", ident)

    def resting() -> dict[str, Any] | None:
        (row,) = relay.json("show", ident)
        done = row["state"] not in {"queued", "claimed"} and row["attempts"] > before
        return row if done else None

    return wait_for(resting, message="the mail is not tried again")


@pytest.mark.parametrize("mode", OBJECTS)
def test_an_open_task_stands_for_a_mail_until_it_is_logged(
    mode: str, idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Once, however often it is tried; then the mail is logged whole, and undone."""
    ada = with_open_tasks(idle, salesforce__write_as=mode)
    ident = idle.send(mail_to("m.lindqvist@private.example"), ada)
    row = idle.settled(ident)
    assert (row["state"], row["reason"]) == ("unmatched", "no_record")
    (task,) = living(sandbox, "Task")
    assert [task.get(name) for name in ("IsClosed", "WhoId", "WhatId")] == [
        *(False, None, None)
    ]
    assert any(task["Id"] in step["result"] for step in row["trace"])
    assert tried_again(idle, ident)["state"] == "unmatched"
    assert len(living(sandbox, "Task")) == 1
    contact = mara(sandbox)
    idle.json("unmatched", "resolve", ident, contact)
    shown = idle.settled(ident)
    assert shown["state"] == "logged"
    assert ("open task", "left as it is") in [
        (step["step"], step["result"]) for step in shown["trace"]
    ]
    made = [one for one in living(sandbox, OBJECTS[mode]) if one["Id"] != task["Id"]]
    assert [one.get("WhoId") or one["ToIds"][0] for one in made] == [contact]
    assert task["Id"] in [one["Id"] for one in living(sandbox, "Task")]
    assert idle.json("audit") == []
    idle.json("undo", ident, "--yes")
    assert not living(sandbox, "Task")


@pytest.mark.parametrize("stage", ["before", "after"])
@pytest.mark.parametrize("unique", [False, True])
def test_kills_around_an_open_task_leave_one(
    stage: str, unique: bool, idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """It is killed while it writes; whether Salesforce did so or not, one is there."""
    if unique:
        sandbox.key_fields("Relay_Key__c")
    ada = with_open_tasks(
        idle, salesforce__timeout_s=5, salesforce__settle_s=1, worker__lease_s=10
    )
    sandbox.faults(
        {"kind": "stall", "stage": stage, "body": '"type" *: *"Task"', "delay_s": 3,
         "count": 1}
    )  # fmt: skip
    ident = idle.send(mail_to("m.lindqvist@private.example"), ada)
    wait_for(
        lambda: [one for one in idle.json("show", ident)[0]["records"] if one],
        message="nothing is sent",
    )
    idle.kill()
    idle.start()
    assert idle.settled(ident, timeout_s=90)["state"] == "unmatched"
    assert len(living(sandbox, "Task")) == 1
    idle.json("unmatched", "resolve", ident, mara(sandbox))
    assert idle.settled(ident, timeout_s=90)["state"] == "logged"
    open_ones = [one for one in living(sandbox, "Task") if not one["IsClosed"]]
    assert len(open_ones) == 1
