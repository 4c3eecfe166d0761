"""One mail, one activity: by a unique field, through copies, refusals and vanishing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.processes import RelayProcess, mail_to, wait_for

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(150)

KEY = "Relay_Key__c"
WRITES = '"type" *: *"Task"'
MODES = {"email_message": "EmailMessage", "task": "Task"}


@pytest.fixture(autouse=True)
def private(sandbox: SandboxProcess) -> None:
    """Hide Tasks from all but their owners and the user, who has View All Data."""
    sharing = {"private_activities": True, "view_all_data": ["relay@corp.example"]}
    sandbox.post("/sandbox/config", sharing)


def started(relay: RelayProcess, **keys: object) -> str:
    """Set keys of [salesforce], add Ada, start; return her relay address."""
    relay.set(**{f"salesforce__{key}": value for key, value in keys.items()})
    rcpt = relay.add_user("Ada Rep", "ada@corp.example")
    relay.start()
    return rcpt


def again(relay: RelayProcess, message: str) -> dict[str, Any]:
    """Try a message again that rests; return it once it rests again."""
    (before,) = relay.json("show", message)
    relay.run("retry", message)

    def resting() -> dict[str, Any] | None:
        (row,) = relay.json("show", message)
        done = row["state"] not in {"queued", "claimed"}
        return row if done and len(row["trace"]) > len(before["trace"]) + 1 else None

    return wait_for(resting, message="tried again")


def steps(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the steps of a trace with their results."""
    return [(step["step"], step["result"]) for step in row["trace"]]


def rep(sandbox: SandboxProcess, email: str = "ada@corp.example") -> str:
    """Return a user's id."""
    return next(u["Id"] for u in sandbox.rows("User") if u["Email"] == email)


# ------------------------------------------------------------ a unique field


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["reset", "truncate"])
def test_with_a_unique_field_a_lost_answer_is_made_good_at_once(
    idle: RelayProcess, sandbox: SandboxProcess, mode: str, kind: str
) -> None:
    """Place A: what was written and not answered is created again, and refused."""
    sandbox.key_fields(KEY)
    sandbox.person("Contact", "kim@customer.example")
    rcpt = started(idle, write_as=mode, settle_s=600)
    stage = "after" if kind == "reset" else "answer"
    writes = f'"type" *: *"{MODES[mode]}"'
    sandbox.faults({"stage": stage, "kind": kind, "count": 1, "body": writes})
    row = idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    assert row["state"] == "logged"
    assert not [s for s in steps(row) if s[0] == "look-up by key"]
    (written,) = sandbox.rows(MODES[mode])
    assert [(r["id"], r["key"]) for r in row["records"]] == [
        (written["Id"], written[KEY])
    ]
    assert "relay-key" not in str(written.get("Description"))


def test_a_field_that_is_not_unique_is_not_trusted(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Without uniqueness the field is left alone, and the Task keeps its key line."""
    field = {"object": "Activity", "name": KEY, "length": 40}
    sandbox.post("/sandbox/config", {"custom_fields": [field]})
    sandbox.person("Contact", "kim@customer.example")
    rcpt = started(idle, write_as="task")
    row = idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    (task,) = sandbox.rows("Task")
    assert task.get(KEY) is None
    assert task["Description"].endswith(f"relay-key: {row['records'][0]['key']}")


@pytest.mark.parametrize("unique", ["", KEY])
def test_a_copy_of_the_key_elsewhere_changes_nothing(
    idle: RelayProcess, sandbox: SandboxProcess, unique: str
) -> None:
    """`{key}` in an ordinary field: a lost answer is made good in the usual way."""
    if unique:
        sandbox.key_fields(unique)
    sandbox.person("Contact", "kim@customer.example")
    idle.set(**{"salesforce.fields.Task__CallObject": "{key}"})
    rcpt = started(idle, write_as="task", settle_s=600, key_field=KEY)
    sandbox.faults({"stage": "after", "kind": "reset", "count": 1, "body": WRITES})
    row = idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    assert row["state"] == "logged", row
    (written,) = sandbox.rows("Task")
    assert [(r["id"], r["key"]) for r in row["records"]] == [
        (written["Id"], written["CallObject"])
    ]
    looked = ("look-up by key", f"found {written['Id']}") in steps(row)
    assert looked is not bool(unique)


def test_what_was_deleted_meanwhile_stays_deleted(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """A lost answer, and a record that somebody deleted before the next try."""
    sandbox.person("Contact", "kim@customer.example")
    rcpt = started(idle, write_as="email_message", settle_s=600)
    fault = {"stage": "after", "kind": "reset", "count": 1}
    sandbox.faults(
        {**fault, "body": '"type" *: *"EmailMessage"'},
        # The look-up that follows waits until the record is gone.
        {"stage": "before", "kind": "status", "code": "503", "body": "queryAll"},
    )
    message = idle.send(mail_to("kim@customer.example"), rcpt)
    (written,) = wait_for(lambda: sandbox.rows("EmailMessage"), message="written")
    sandbox.call("DELETE", f"/sobjects/EmailMessage/{written['Id']}")
    sandbox.faults()
    assert idle.settled(message)["state"] == "logged"
    assert not sandbox.rows("EmailMessage")


# ------------------------------------------------------------ what cannot be seen

LOST = {"stage": "after", "kind": "reset", "count": 1, "body": WRITES}


@pytest.mark.parametrize("unique", ["", KEY])
def test_a_task_that_cannot_be_seen_is_not_written_again(
    idle: RelayProcess, sandbox: SandboxProcess, unique: str
) -> None:
    """A lost answer waits, with a reason, until the user may see; it is never two."""
    sandbox.post("/sandbox/config", {"view_all_data": []})
    if unique:
        sandbox.key_fields(unique)
    sandbox.person("Contact", "kim@customer.example")
    rcpt = started(idle, write_as="task", timeout_s=1, settle_s=0.5, key_field=KEY)
    first = idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    sandbox.faults(LOST)
    message = idle.send(mail_to("kim@customer.example"), rcpt)

    def told() -> bool:
        (row,) = idle.json("show", message)
        assert row["state"] in {"queued", "claimed"}, row
        return any("View All Data" in step["detail"] for step in row["trace"])

    wait_for(told, message="what an admin has to do")
    assert len(sandbox.rows("Task")) == 2
    checks = {c["check"]: c for c in idle.json("check", status=0 if unique else 1)}
    assert checks["sight of Tasks"]["result"] == ("warn" if unique else "fail")
    sandbox.post("/sandbox/config", {"view_all_data": ["relay@corp.example"]})
    row = idle.settled(message)
    assert row["state"] == "logged", row
    ids = {r["id"] for each in (first, row) for r in each["records"]}
    assert {t["Id"] for t in sandbox.rows("Task")} == ids
    (check,) = (c for c in idle.json("check") if c["check"] == "sight of Tasks")
    assert check["result"] == "ok"


def test_a_request_that_was_lost_is_sent_again_where_tasks_are_seen(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """What never reached Salesforce is written once its absence is proven."""
    sharing = {"private_activities": False, "view_all_data": []}
    sandbox.post("/sandbox/config", sharing)
    sandbox.person("Contact", "kim@customer.example")
    rcpt = started(idle, write_as="task", timeout_s=1, settle_s=0.5)
    idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    sandbox.faults({**LOST, "stage": "before"})
    row = idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    assert row["state"] == "logged", row
    assert ("look-up by key", "proven absent") in steps(row)
    assert len(sandbox.rows("Task")) == 2


# ------------------------------------------------------------ the first write


@pytest.mark.parametrize("email_mode", ["enhanced", "case_only"])
def test_a_lost_first_answer_leaves_no_mail_unseen(
    idle: RelayProcess, sandbox: SandboxProcess, email_mode: str
) -> None:
    """`auto` with a unique field: that the EmailMessage is there is not enough."""
    sandbox.key_fields(KEY)
    sandbox.post("/sandbox/config", {"email_mode": email_mode})
    sandbox.person("Contact", "kim@customer.example")
    rcpt = started(idle, write_as="auto", settle_s=600)
    writes = '"type" *: *"EmailMessage"'
    sandbox.faults({"stage": "after", "kind": "reset", "count": 1, "body": writes})
    row = idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    assert row["state"] == "logged", row
    (task,) = sandbox.rows("Task")
    emails = sandbox.rows("EmailMessage")
    if email_mode == "enhanced":
        assert [email["ActivityId"] for email in emails] == [task["Id"]]
        assert [r["id"] for r in row["records"]] == [emails[0]["Id"]]
    else:
        assert not emails
        assert [r["id"] for r in row["records"]] == [task["Id"]]


def test_a_mail_that_is_logged_is_no_first_write(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """`auto` undecided: a logged mail gets its Task, a new one shows the shape."""
    sandbox.person("Contact", "kim@customer.example")
    rcpt = started(idle, write_as="task")
    old = idle.send(mail_to("kim@customer.example", cc=["lee@new.example"]), rcpt)
    assert idle.settled(old)["state"] == "logged"
    idle.stop()
    lee = sandbox.person("Lead", "lee@new.example")
    idle.set(salesforce__write_as="auto")
    # One batch, the logged mail first.
    idle.run("retry", old)
    idle.start(roles="smtp")
    new = idle.send(mail_to("kim@customer.example"), rcpt)
    idle.stop()
    idle.start()
    rows = [idle.settled(message) for message in (old, new)]
    assert [row["state"] for row in rows] == ["logged", "logged"]
    for row in rows:
        told = [result for step, result in steps(row) if step in {"mode", "attempt"}]
        assert not {"waiting", "failed"} & set(told), row["trace"]
        assert not [s for s in steps(row) if s[0] == "look-up by key"]
    assert [r["object"] for r in rows[0]["records"]] == ["Task", "Task"]
    assert [r["object"] for r in rows[1]["records"]] == ["EmailMessage"]
    assert len([t for t in sandbox.rows("Task") if t["WhoId"] == lee]) == 1


# ------------------------------------------------------------ what comes later


@pytest.mark.parametrize("mode", MODES)
def test_who_becomes_known_later_gets_a_task(
    idle: RelayProcess, sandbox: SandboxProcess, mode: str
) -> None:
    """A retry of a logged mail writes what is missing, once, and changes nothing."""
    kim = sandbox.person("Contact", "kim@customer.example")
    rcpt = started(idle, write_as=mode)
    mail = mail_to("kim@customer.example", cc=["lee@new.example"])
    message = idle.send(mail, rcpt)
    idle.settled(message)
    before = sandbox.rows(MODES[mode])
    lee = sandbox.person("Lead", "lee@new.example")
    row = again(idle, message)
    assert row["state"] == "logged"
    assert ("complete", "known later") in steps(row)
    (task,) = (t for t in sandbox.rows("Task") if t["WhoId"] == lee)
    assert task["OwnerId"] == rep(sandbox)
    assert len(row["records"]) == 2
    assert ("complete", "nothing is missing") in steps(again(idle, message))
    idle.settled(idle.send(mail, rcpt))
    assert len([t for t in sandbox.rows("Task") if t["WhoId"] == lee]) == 1
    assert [r for r in sandbox.rows(MODES[mode]) if r["Id"] != task["Id"]] == before
    assert kim


def test_what_was_deleted_is_not_made_again(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Deleted in Salesforce is somebody's wish: a retry and a copy respect it."""
    sandbox.person("Contact", "kim@customer.example")
    mail = mail_to("kim@customer.example")
    message = relay.send(mail, ada)
    relay.settled(message)
    (written,) = sandbox.rows("EmailMessage")
    sandbox.call("DELETE", f"/sobjects/EmailMessage/{written['Id']}")
    assert again(relay, message)["state"] == "logged"
    assert relay.settled(relay.send(mail, ada))["state"] == "logged"
    assert not sandbox.rows("EmailMessage")
    assert not sandbox.rows("Task")


def test_a_lead_that_became_a_contact_is_not_logged_again(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """The Contact took the Lead's mail along; the address has been done."""
    lead = sandbox.person("Lead", "lee@new.example")
    message = relay.send(mail_to("lee@new.example"), ada)
    relay.settled(message)
    sandbox.call("DELETE", f"/sobjects/Lead/{lead}")
    sandbox.person("Contact", "lee@new.example")
    assert ("complete", "nothing is missing") in steps(again(relay, message))
    assert len(sandbox.rows("EmailMessage")) == 1


# ------------------------------------------------------------ refused, drafted anew


@pytest.mark.parametrize(
    "code", ["INVALID_CROSS_REFERENCE_KEY", "ENTITY_IS_DELETED", "STRING_TOO_LONG"]
)
def test_what_a_new_draft_mends_is_drafted_anew(
    idle: RelayProcess, sandbox: SandboxProcess, code: str
) -> None:
    """A record that vanished, a field that shrank: matched and drafted once more."""
    sandbox.person("Contact", "kim@customer.example")
    rcpt = started(idle)
    fault = {"kind": "error_code", "object": "EmailMessage", "code": code, "count": 1}
    sandbox.faults({**fault, "message": "gone"})
    row = idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    assert row["state"] == "logged", row
    assert ("redraft", code) in steps(row)
    assert len(sandbox.rows("EmailMessage")) == 1


def test_a_deal_that_vanished_leaves_the_mail_logged(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Of a mail that is written in part, only the vanished record is matched anew."""
    kim = sandbox.person("Contact", "kim@customer.example")
    sandbox.deal(kim)
    sandbox.deal(kim)
    fault = {"kind": "error_code", "object": "Task", "code": "ENTITY_IS_DELETED"}
    sandbox.faults({**fault, "message": "entity is deleted", "count": 1})
    row = relay.settled(relay.send(mail_to("kim@customer.example"), ada))
    assert row["state"] == "logged", row
    assert len(sandbox.rows("EmailMessage")) == 1
    assert [r["object"] for r in row["records"]] == ["EmailMessage", "Task"]


def test_a_field_that_is_hidden_meanwhile_is_left_out(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """INVALID_FIELD: the org is described again, the mail logged without the field."""
    sandbox.person("Contact", "kim@customer.example")
    assert (
        relay.settled(relay.send(mail_to("kim@customer.example"), ada))["state"]
        == "logged"
    )
    hidden = {"Task": ["Type"], "EmailMessage": ["ThreadIdentifier"]}
    sandbox.post("/sandbox/config", {"hidden_fields": hidden})
    row = relay.settled(relay.send(mail_to("kim@customer.example"), ada))
    assert row["state"] == "logged", row
    assert any(step == "redraft" for step, _ in steps(row))


def test_an_inactive_rep_has_a_stand_in(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """INACTIVE_OWNER_OR_USER: dead with that reason, or given to the stand-in."""
    sandbox.person("Contact", "kim@customer.example")
    inactive = next(u["Id"] for u in sandbox.rows("User") if not u["IsActive"])
    rcpt = started(idle, write_as="task")
    idle.run("user", "set", "Ada Rep", "--salesforce-id", inactive)
    idle.heed()
    message = idle.send(mail_to("kim@customer.example"), rcpt)
    row = idle.settled(message)
    assert (row["state"], row["reason"]) == ("dead", "INACTIVE_OWNER_OR_USER")
    idle.stop()
    idle.set(salesforce__fallback_owner=rep(sandbox))
    idle.start()
    assert again(idle, message)["state"] == "logged"
    (task,) = sandbox.rows("Task")
    assert task["OwnerId"] == rep(sandbox)


# ------------------------------------------------------------ the platform's records


def test_the_platforms_task_is_given_to_the_rep_after_a_crash(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Who is killed before the handover makes it after the start."""
    sandbox.post("/sandbox/config", {"from_id_relates": False})
    sandbox.person("Contact", "kim@customer.example")
    rcpt = started(idle, owner_after_s=600)
    idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    idle.kill()
    (task,) = sandbox.rows("Task")
    assert task["OwnerId"] != rep(sandbox)
    idle.set(salesforce__owner_after_s=0.2)
    idle.start()
    wait_for(
        lambda: sandbox.rows("Task")[0]["OwnerId"] == rep(sandbox), message="the owner"
    )

    def senders() -> list[tuple[str, str]]:
        return [
            (r["RelationId"], r["RelationAddress"])
            for r in sandbox.rows("EmailMessageRelation")
            if r["RelationType"] == "FromAddress"
        ]

    wait_for(lambda: idle.logged("handed_over"), message="the sender's relation")
    # A later turn, for another mail, leaves this one's relation alone.
    idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    wait_for(lambda: len(idle.logged("handed_over")) == 2, message="the next mail's")
    assert senders() == [(rep(sandbox), "ada@corp.example")] * 2


def test_colleagues_are_named_as_users(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """To, Cc and Bcc name users by id; a customer in Bcc stays hidden."""
    kim = sandbox.person("Contact", "kim@customer.example")
    sandbox.person("Contact", "secret@customer.example")
    others = [
        u
        for u in sandbox.rows("User")
        if u["IsActive"] and u["Email"] != "ada@corp.example"
    ]
    relay.add_user("Bo", "bo@corp.example", "--salesforce-id", others[0]["Id"])
    relay.heed()
    mail = mail_to(
        "kim@customer.example", Bcc="bo@corp.example, secret@customer.example"
    )
    row = relay.settled(relay.send(mail.as_bytes(), ada))
    assert row["state"] == "logged", row
    relations = {
        (r["RelationType"], r["RelationId"])
        for r in sandbox.rows("EmailMessageRelation")
    }
    assert relations == {
        ("ToAddress", kim),
        ("BccAddress", others[0]["Id"]),
        ("FromAddress", rep(sandbox)),
    }


def test_a_person_account_is_logged_by_its_contact(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """WhoId is the person's Contact, never the Account."""
    sandbox.post("/sandbox/config", {"person_accounts": True})
    (account,) = sandbox.post(
        "/sandbox/rows", {"Account": [{"Name": "Kim Roe", "IsPersonAccount": True}]}
    )["Account"]
    person = {
        "LastName": "Roe",
        "Email": "kim@home.example",
        "AccountId": account,
        "IsPersonAccount": True,
    }
    (contact,) = sandbox.post("/sandbox/rows", {"Contact": [person]})["Contact"]
    rcpt = started(idle, write_as="task")
    row = idle.settled(idle.send(mail_to("kim@home.example"), rcpt))
    assert row["state"] == "logged", row
    (task,) = sandbox.rows("Task")
    assert task["WhoId"] == contact


# ------------------------------------------------------------ settings


def test_extra_fields_and_a_record_type(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Constants and templates are set, and `relay check` knows what does not fit."""
    sandbox.post(
        "/sandbox/config",
        {
            "record_types": {"Task": ["Sales_Email"]},
            "custom_fields": [
                {"object": "Activity", "name": "Source__c", "length": 20},
                {"object": "Activity", "name": "Logged__c", "type": "boolean"},
            ],
        },
    )
    sandbox.person("Contact", "kim@customer.example")
    fields = (
        "\n[salesforce.record_type]\nTask = 'Sales_Email'\n"
        "[salesforce.fields.Task]\nPriority = 'Low'\nLogged__c = true\n"
        "Source__c = 'Mail of {sender} {{x}}'\nNone__c = 'x'\n"
    )
    idle.set(salesforce__write_as="task")
    with idle.config.open("a", encoding="utf-8") as file:
        file.write(fields)
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    row = idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    assert row["state"] == "logged", row
    (task,) = sandbox.rows("Task")
    assert task["Priority"] == "Low"
    assert task["Logged__c"] is True
    assert task["Source__c"].startswith("Mail of ada")
    (kind,) = sandbox.rows("RecordType")
    assert task["RecordTypeId"] == kind["Id"]
    checks = {c["check"]: c for c in idle.json("check", status=1)}
    assert checks["salesforce.fields.Task.None__c"]["result"] == "fail"
    assert "setting_does_not_fit" in idle.output()


def test_a_mail_that_another_tool_has_logged(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """`look_before_write` leaves it alone, and the trace names who logged it."""
    sandbox.person("Contact", "kim@customer.example")
    mail = mail_to("kim@customer.example")
    other = {
        "MessageIdentifier": mail["Message-ID"],
        "Status": "3",
        "CreatedById": rep(sandbox),
    }
    (there,) = sandbox.post("/sandbox/rows", {"EmailMessage": [other]})["EmailMessage"]
    rcpt = started(idle, look_before_write=True)
    row = idle.settled(idle.send(mail, rcpt))
    assert (row["state"], row["reason"]) == ("skipped", "logged_elsewhere")
    (step,) = (s for s in row["trace"] if s["step"] == "look before write")
    assert there in step["detail"]
    assert rep(sandbox) in step["detail"]
    row = idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    assert row["state"] == "logged"


def test_setup_says_what_is_missing_and_writes_the_metadata(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Without fields status 1, with them 0; the folder is what `sf` deploys."""
    idle.run("setup", "salesforce", status=1)
    idle.run("setup", "salesforce", "--to", "deploy")
    assert (idle.folder / "deploy" / "package.xml").is_file()
    assert KEY.encode() in idle.run("setup", "salesforce", "--print").stdout
    sandbox.key_fields(KEY)
    found = idle.json("setup", "salesforce")
    assert [f["check"] for f in found] == [f"Task.{KEY}", f"EmailMessage.{KEY}"]
    checks = {c["check"]: c["detail"] for c in idle.json("check")}
    assert KEY in checks["key of Task"]


def test_contacts_share_a_task_where_the_org_allows_it(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Shared Activities: one Task for all; who is known later gets one alone."""
    sandbox.post("/sandbox/config", {"shared_activities": True})
    first = [sandbox.person("Contact", f"{n}@customer.example") for n in ("kim", "lee")]
    rcpt = started(idle, write_as="task")
    mail = mail_to(*(f"{n}@customer.example" for n in ("kim", "lee", "max")))
    message = idle.send(mail, rcpt)
    assert idle.settled(message)["state"] == "logged"
    (shared,) = sandbox.rows("Task")
    assert shared["TaskWhoIds"] == first
    late = sandbox.person("Contact", "max@customer.example")
    assert again(idle, message)["state"] == "logged"
    (alone,) = (t for t in sandbox.rows("Task") if t["Id"] != shared["Id"])
    assert alone["WhoId"] == late
