"""`relay audit` against the sandbox: what is missing, doubled, orphaned, deleted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.processes import RelayProcess, mail_to, wait_for

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(120)

KIM = "kim@customer.example"
SHAPES = {"task": "Task", "email_message": "EmailMessage"}
ME = "relay@corp.example"
PRIVATE = {"private_activities": True}


@pytest.fixture(
    params=[
        ("task", {}),
        ("task", {**PRIVATE, "view_all_data": [ME]}),
        # Who made an EmailMessage sees it, whoever owns its Task.
        ("email_message", PRIVATE),
    ],
    ids=["task", "task-private", "email-private"],
)
def shape(request: pytest.FixtureRequest, sandbox: SandboxProcess) -> str:
    """Return a shape of logging, in an org that shares activities or does not."""
    shape, sharing = request.param
    sandbox.post("/sandbox/config", sharing)
    return str(shape)


@pytest.fixture
def logged(
    idle: RelayProcess, sandbox: SandboxProcess, shape: str
) -> list[dict[str, Any]]:
    """Log three mails; return their rows."""
    sandbox.person("Contact", KIM)
    idle.set(salesforce__write_as=shape)
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    sent = [idle.send(mail_to(KIM), rcpt) for _ in range(3)]
    rows = [idle.settled(message) for message in sent]
    assert {row["state"] for row in rows} == {"logged"}
    return rows


def delete(sandbox: SandboxProcess, row: dict[str, Any], *, purge: bool) -> str:
    """Delete the record of a message, for good if asked."""
    (record,) = row["records"]
    sandbox.call("DELETE", f"/sobjects/{record['object']}/{record['id']}")
    if purge:
        sandbox.post("/sandbox/purge", {})
    return str(record["id"])


def test_all_agree(idle: RelayProcess, logged: list[dict[str, Any]]) -> None:
    """Nothing to say, exit status 0, and the number compared."""
    assert idle.json("audit") == []
    assert b"3 records compared: 0 missing" in idle.run("audit").stdout
    assert b"3 records compared" in idle.run("audit", "--since", "1h").stdout
    assert b"0 records compared" in idle.run("audit", "--since", "0s").stdout


def test_a_missing_record_is_written_again(
    idle: RelayProcess, sandbox: SandboxProcess, logged: list[dict[str, Any]]
) -> None:
    """What vanished without a trace is told, mended once, and then agrees."""
    gone = delete(sandbox, logged[1], purge=True)
    (found,) = idle.json("audit", status=1)
    assert found["kind"] == "missing"
    assert found["ids"] == [gone]
    assert found["messages"] == [logged[1]["id"]]
    assert found["mended"] is False
    assert b"missing" in idle.run("audit", status=1).stdout
    (mended,) = idle.json("audit", "--fix")
    assert mended["mended"] is True
    row = idle.settled(logged[1]["id"])
    assert row["state"] == "logged"
    assert row["records"][0]["id"] != gone
    assert len(sandbox.rows(logged[0]["records"][0]["object"])) == 3
    assert idle.json("audit") == []


def test_what_may_be_hidden_is_not_written_again(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """The user sees no Task of the rep: --fix refuses and names the right."""
    sandbox.person("Contact", KIM)
    idle.set(salesforce__write_as="task")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    assert idle.settled(idle.send(mail_to(KIM), rcpt))["state"] == "logged"
    sandbox.post("/sandbox/config", PRIVATE)
    (found,) = idle.json("audit", "--fix", status=1)
    assert (found["kind"], found["mended"]) == ("missing", False)
    assert "View All Data" in found["detail"]
    assert not idle.log("--state", "queued")
    sandbox.post("/sandbox/config", {"view_all_data": [ME]})
    assert idle.json("audit", "--fix") == []
    assert len(sandbox.rows("Task")) == 1


def test_a_deleted_record_is_somebodys_wish(
    idle: RelayProcess, sandbox: SandboxProcess, logged: list[dict[str, Any]]
) -> None:
    """It is told and never made again; noted, it is no difference any more."""
    delete(sandbox, logged[0], purge=False)
    (found,) = idle.json("audit")
    assert found["kind"] == "deleted"
    (found,) = idle.json("audit", "--fix")
    assert found["mended"] is True
    sandbox.post("/sandbox/purge", {})
    assert idle.json("audit", "--fix") == []
    assert len(sandbox.rows(logged[0]["records"][0]["object"])) == 2


def replaced(sandbox: SandboxProcess, row: dict[str, Any], **fields: object) -> str:
    """Put another record in the place of a message's, with the same id."""
    (record,) = row["records"]
    rows = {one["Id"]: one for one in sandbox.rows(record["object"])}
    other = rows[record["id"]] | {"Subject": "Other"} | fields
    sandbox.post("/sandbox/rows", {record["object"]: [other]})
    return str(record["id"])


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("unique", ["", "Relay_Key__c"], ids=["fallback", "unique"])
@pytest.mark.parametrize("carried", ["another key", "no key"])
def test_a_record_is_present_by_its_key(
    idle: RelayProcess, sandbox: SandboxProcess, name: str, unique: str, carried: str
) -> None:
    """An org that was refreshed gives its id to another: that one is foreign."""
    sandbox.person("Contact", KIM)
    idle.set(salesforce__write_as=name)
    if unique:
        sandbox.key_fields(unique)
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    rows = [idle.settled(idle.send(mail_to(KIM), rcpt)) for _ in range(2)]
    assert idle.json("audit") == []
    fields: dict[str, object] = {unique: None} if unique else {}
    fields["Description" if name == "task" else "MessageIdentifier"] = None
    if carried == "another key" and name == "task":
        fields["Description"] = f"Other\n\nrelay-key: {'0' * 40}"
    elif carried == "another key":
        fields["MessageIdentifier"] = "<other@org.example>"
    if carried == "no key":
        fields["CreatedDate"] = "2020-01-01T00:00:00.000+0000"
    foreign = replaced(sandbox, rows[0], **fields)
    found = {row["kind"]: row for row in idle.json("audit", status=1)}
    assert found["foreign"]["ids"] == [foreign]
    assert found["foreign"]["messages"] == [rows[0]["id"]]
    assert found["foreign"]["mended"] is False
    assert b"1 foreign" in idle.run("audit", status=1).stdout
    # What carries a key that the ledger does not have is an orphan as well.
    orphans = [foreign] if carried == "another key" else []
    lines = idle.json("audit", "--fix", status=bool(orphans))
    assert [row["ids"] for row in lines if row["kind"] == "orphaned"] == (
        [orphans] if orphans else []
    )
    assert [row["mended"] for row in lines if row["kind"] == "foreign"] == [True]
    again = idle.settled(rows[0]["id"])
    assert again["state"] == "logged"
    assert again["records"][0]["id"] != foreign
    assert len(sandbox.rows(SHAPES[name])) == 3
    left = idle.json("audit", status=bool(orphans))
    assert {row["kind"] for row in left} == ({"orphaned"} if orphans else set())


def test_a_key_that_a_person_has_removed_is_no_difference(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """A rep may rewrite a Task: it is still the relay's, and not written twice."""
    sandbox.person("Contact", KIM)
    idle.set(salesforce__write_as="task")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    row = idle.settled(idle.send(mail_to(KIM), rcpt))
    (rep,) = (u for u in sandbox.rows("User") if u["Email"] == "ada@corp.example")
    edited = {"Description": "Called back", "LastModifiedById": rep["Id"]}
    replaced(sandbox, row, **edited)
    assert idle.json("audit", "--fix") == []
    # An automation works as the user that made the record.
    replaced(sandbox, row, Description="Called back", Subject=row["subject"])
    assert idle.json("audit", "--since", "1h", "--fix") == []
    # Made by another user, it may be another org's; only a person can tell.
    replaced(sandbox, row, **edited, CreatedById=rep["Id"])
    (found,) = idle.json("audit", "--fix", status=1)
    assert (found["kind"], found["mended"]) == ("foreign", False)
    assert "--since" in found["detail"]
    assert len(sandbox.rows("Task")) == 1


def test_doubles_and_strangers_are_told(
    idle: RelayProcess, sandbox: SandboxProcess, logged: list[dict[str, Any]]
) -> None:
    """A second record with a key, and one that the ledger does not know."""
    (record,) = logged[0]["records"]
    (original,) = [
        row for row in sandbox.rows(record["object"]) if row["Id"] == record["id"]
    ]
    if record["object"] == "Task":
        field, stranger = "Description", "Hello\n\nrelay-key: " + "0" * 40
        fields = {"Subject": "x", "Status": "Completed"}
    else:
        field, stranger = "MessageIdentifier", "<nobody@knows.example>"
        fields = {"Subject": "x", "Status": "3"}
    double = sandbox.create(record["object"], **fields, **{field: original[field]})
    orphan = sandbox.create(record["object"], **fields, **{field: stranger})
    found = {row["kind"]: row for row in idle.json("audit", "--fix", status=1)}
    assert set(found) == {"doubled", "orphaned"}
    assert set(found["doubled"]["ids"]) == {record["id"], double}
    assert found["doubled"]["messages"] == [logged[0]["id"]]
    assert found["orphaned"]["ids"] == [orphan]


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_written_meanwhile_is_no_orphan(
    idle: RelayProcess, sandbox: SandboxProcess, name: str
) -> None:
    """A row is planned when the ledger is read, and written when the org is."""
    sandbox.person("Contact", KIM)
    idle.set(salesforce__write_as=name, salesforce__owner_after_s=600)
    idle.set(salesforce__timeout_s=20)
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    idle.settled(idle.send(mail_to(KIM), rcpt))
    locked = {"kind": "lock_rows", "object": SHAPES[name]}
    stall = {"kind": "stall", "stage": "before", "delay_s": 8, "body": "queryAll"}
    sandbox.faults(locked)
    message = idle.send(mail_to(KIM), rcpt)
    wait_for(lambda: idle.json("show", message)[0]["attempts"], message="a lock")
    sandbox.faults(locked, {**stall, "count": 1})
    with ThreadPoolExecutor(1) as pool:
        audit = pool.submit(idle.json, "audit")
        wait_for(lambda: sandbox.get("/sandbox/faults")[1]["count"] == 0)
        sandbox.faults()
        assert idle.settled(message)["state"] == "logged"
        assert not audit.done()
        assert audit.result() == []


# ------------------------------------------------------------ files


@pytest.fixture
def filed(idle: RelayProcess, sandbox: SandboxProcess, shape: str) -> dict[str, Any]:
    """Log a mail with an attachment; return its row once the file is linked."""
    sandbox.person("Contact", KIM)
    idle.set(salesforce__write_as=shape)
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    mail = mail_to(KIM)
    mail.add_attachment(b"%PDF-1.7", maintype="application", subtype="pdf")
    return linked(idle, idle.send(mail, rcpt))


def linked(relay: RelayProcess, message: str) -> dict[str, Any]:
    """Return a message's row once its file is linked."""

    def there() -> dict[str, Any] | None:
        (row,) = relay.json("show", message)
        return row if {f["state"] for f in row["files"]} == {"linked"} else None

    return dict(wait_for(there, message="a linked file"))


def test_a_missing_file_is_sent_again(
    idle: RelayProcess, sandbox: SandboxProcess, filed: dict[str, Any]
) -> None:
    """What vanished is told, sent again, and hangs on the record once more."""
    assert idle.json("audit") == []
    assert b"2 records compared" in idle.run("audit").stdout
    (version,) = sandbox.rows("ContentVersion")
    sandbox.call("DELETE", f"/sobjects/ContentDocument/{version['ContentDocumentId']}")
    (found,) = idle.json("audit")
    assert (found["kind"], found["object"]) == ("deleted", "ContentVersion")
    sandbox.post("/sandbox/purge", {})
    (found,) = idle.json("audit", status=1)
    assert (found["kind"], found["ids"]) == ("missing", [version["Id"]])
    assert found["messages"] == [filed["id"]]
    (mended,) = idle.json("audit", "--fix")
    assert mended["mended"] is True
    linked(idle, filed["id"])
    (again,) = sandbox.rows("ContentVersion")
    assert again["Id"] != version["Id"]
    record = filed["records"][0]["id"]
    links = sandbox.rows("ContentDocumentLink")
    assert (again["ContentDocumentId"], record) in {
        (link["ContentDocumentId"], link["LinkedEntityId"]) for link in links
    }
    assert idle.json("audit") == []


def test_a_record_that_is_written_again_gets_its_files(
    idle: RelayProcess, sandbox: SandboxProcess, filed: dict[str, Any]
) -> None:
    """The file is still there: it is hung on the new record, and not sent twice."""
    sandbox.post("/sandbox/config", {"view_all_data": [ME]})
    old = delete(sandbox, filed, purge=True)
    idle.json("audit", "--fix")
    row = linked(idle, idle.settled(filed["id"])["id"])
    new = row["records"][0]["id"]
    assert new != old
    (version,) = sandbox.rows("ContentVersion")
    places = {
        link["LinkedEntityId"]
        for link in sandbox.rows("ContentDocumentLink")
        if link["ContentDocumentId"] == version["ContentDocumentId"]
    }
    assert new in places
    assert idle.json("audit") == []


def test_files_that_nobody_knows_are_told(
    idle: RelayProcess, sandbox: SandboxProcess, filed: dict[str, Any]
) -> None:
    """A second file with a key, and one whose key the store does not have."""
    (version,) = sandbox.rows("ContentVersion")

    def made(key: str) -> str:
        fields = {"PathOnClient": "a.pdf", "VersionData": "aGk="}
        return sandbox.create("ContentVersion", **fields, Description=key)

    double = made(version["Description"])
    orphan = made("relay-key: " + "0" * 40)
    found = {row["kind"]: row for row in idle.json("audit", status=1)}
    assert set(found) == {"doubled", "orphaned"}
    assert set(found["doubled"]["ids"]) == {version["Id"], double}
    assert found["doubled"]["messages"] == [filed["id"]]
    assert found["orphaned"]["ids"] == [orphan]


def test_an_org_that_does_not_answer_is_one_line(
    idle: RelayProcess, sandbox: SandboxProcess, logged: list[dict[str, Any]]
) -> None:
    """Without Salesforce nothing is compared and nothing is mended."""
    idle.stop()
    sandbox.faults({"kind": "html", "code": 503})
    done = idle.run("audit", "--fix", status=1)
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == b""


def test_a_file_is_present_by_its_key(
    idle: RelayProcess, sandbox: SandboxProcess, filed: dict[str, Any]
) -> None:
    """Another file with its id is foreign, and the mail's is sent again."""
    (version,) = sandbox.rows("ContentVersion")
    other = version | {"Description": "relay-key: " + "0" * 40}
    sandbox.post("/sandbox/rows", {"ContentVersion": [other]})
    found = {row["kind"]: row for row in idle.json("audit", "--fix", status=1)}
    assert set(found) == {"foreign", "orphaned"}
    assert found["foreign"]["ids"] == found["orphaned"]["ids"] == [version["Id"]]
    assert found["foreign"]["messages"] == [filed["id"]]
    assert found["foreign"]["mended"] is True
    linked(idle, filed["id"])
    assert len(sandbox.rows("ContentVersion")) == 2


def test_a_file_on_two_records_carries_one_key(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Two Tasks of a mail share a file: it is the relay's, and not sent again."""
    sandbox.person("Lead", KIM)
    sandbox.person("Lead", "lou@other.example")
    idle.set(salesforce__write_as="task")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    mail = mail_to(KIM, "lou@other.example")
    mail.add_attachment(b"%PDF-1.7", maintype="application", subtype="pdf")
    row = linked(idle, idle.send(mail, rcpt))
    assert len(row["records"]) == len(row["files"]) == 2
    assert len(sandbox.rows("ContentVersion")) == 1
    assert idle.json("audit", "--fix") == []
