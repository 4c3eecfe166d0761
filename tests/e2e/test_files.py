"""Attachments become Files: each content once, on every record, whatever happens."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.processes import DEADLINE_S, RelayProcess, mail_to, wait_for
from tests.fakes.sandbox_files import content

if TYPE_CHECKING:
    from email.message import EmailMessage

    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(150)

PDF = b"%PDF-1.7 " + bytes(range(256)) * 20


def configured(relay: RelayProcess, **keys: object) -> str:
    """Set keys of the [salesforce] section, and add the user Ada."""
    relay.set(**{f"salesforce__{key}": value for key, value in keys.items()})
    return relay.add_user("Ada Rep", "ada@corp.example")


def attach(mail: EmailMessage, name: str, content: bytes, kind: str = "pdf") -> None:
    """Attach a file."""
    mail.add_attachment(content, maintype="application", subtype=kind, filename=name)


def noise(size: int) -> bytes:
    """Return bytes that no encoding makes smaller."""
    return random.Random(size).randbytes(size)


def files(relay: RelayProcess, message: str) -> list[dict[str, Any]]:
    """Return the files of a message as `relay show` has them."""
    (row,) = relay.json("show", message)
    assert row["state"] == "logged", row
    return list(row["files"])


def in_state(
    relay: RelayProcess, message: str, state: str, *, timeout_s: float = DEADLINE_S
) -> list[dict[str, Any]]:
    """Wait until all files of a message are in a state."""

    def there() -> list[dict[str, Any]] | None:
        found = files(relay, message)
        done = found and all(file["state"] == state for file in found)
        return found if done else None

    return wait_for(there, message=f"all files {state}", timeout_s=timeout_s)


def logged_file(relay: RelayProcess, message: str) -> dict[str, Any]:
    """Return the first file of a message as `relay log` has it."""
    (row,) = (row for row in relay.log() if row["id"] == message)
    return dict(row["files"][0])


def links(sandbox: SandboxProcess, record: str) -> set[str]:
    """Return the documents that hang on a record, doubles found out."""
    found = [
        link["ContentDocumentId"]
        for link in sandbox.rows("ContentDocumentLink")
        if link["LinkedEntityId"] == record
    ]
    assert len(found) == len(set(found))
    return set(found)


def test_files_hang_on_the_record(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Several files, one content twice, a logo: each content once, the logo not."""
    sandbox.person("Contact", "kim@customer.example")
    mail = mail_to("kim@customer.example")
    mail.add_alternative('<p>Hi <img src="cid:logo@x"></p>', subtype="html")
    page = list(mail.iter_parts())[1]
    page.add_related(noise(3000), "image", "png", cid="<logo@x>", filename="logo.png")
    attach(mail, "Angebot März.pdf", PDF)
    attach(mail, "copy of it.pdf", PDF)
    attach(mail, "list.csv", b"a;b\r\n" * 9, "octet-stream")
    attach(mail, "big.zip", noise(700_000), "zip")
    attach(mail, "setup.exe", b"MZ" * 40, "octet-stream")
    message = relay.send(mail, ada)
    relay.settled(message)
    found = in_state(relay, message, "linked")
    assert [file["name"] for file in found] == [
        "Angebot März.pdf",
        "list.csv",
        "big.zip",
    ]
    (written,) = sandbox.rows("EmailMessage")
    assert {file["document_id"] for file in found} == links(sandbox, written["Id"])
    versions = {row["Id"]: row for row in sandbox.rows("ContentVersion")}
    assert len(versions) == 3
    for file, raw in zip(found, (PDF, b"a;b\r\n" * 9, noise(700_000)), strict=True):
        version = versions[file["id"]]
        assert version["PathOnClient"] == file["name"]
        assert version["ContentSize"] == len(raw) == file["size_bytes"]
        assert content(sandbox, file["id"]) == raw
    (row,) = relay.json("show", message)
    left_out = [s["detail"] for s in row["trace"] if s["result"] == "left out"]
    assert len(left_out) == 3, left_out
    assert "setup.exe: type" in " ".join(left_out)
    shown = relay.run("show", message).stdout.decode()
    assert "big.zip" in shown
    assert "linked" in shown


def test_each_record_gets_the_file_and_the_content_goes_once(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Two Tasks share one document; the original mail hides the relay address."""
    rcpt = configured(idle, write_as="task", files_original_eml=True)
    sandbox.person("Contact", "kim@customer.example")
    sandbox.person("Lead", "lee@prospect.example")
    idle.start()
    mail = mail_to("kim@customer.example", cc=["lee@prospect.example"], Bcc=rcpt)
    attach(mail, "offer.pdf", PDF)
    message = idle.send(mail, rcpt)
    idle.settled(message)
    found = in_state(idle, message, "linked")
    assert len(found) == 4
    tasks = sandbox.rows("Task")
    (first, second) = (links(sandbox, task["Id"]) for task in tasks)
    assert first == second
    assert len(first) == len(sandbox.rows("ContentDocument")) == 2
    (original,) = {file["id"] for file in found if file["name"].endswith(".eml")}
    raw = content(sandbox, original)
    assert len(raw) > len(PDF)
    assert rcpt.partition("@")[0].encode() not in raw
    assert b"kim@customer.example" in raw


def peak(process: Any) -> int:
    """Return the most memory that the relay and its children had, in bytes."""
    pids = [process._child.pid]
    total = 0
    for pid in pids:
        proc = Path(f"/proc/{pid}")
        pids += map(int, (proc / f"task/{pid}/children").read_text("ascii").split())
        found = re.search(r"VmHWM:\s+(\d+) kB", (proc / "status").read_text("ascii"))
        assert found
        total += int(found[1]) * 1024
    return total


def peak_of_a_large_mail(relay: RelayProcess, rcpt: str, size: int) -> int:
    """Start the relay, log a small mail and a large one; return the growth."""
    relay.start()
    small = mail_to("kim@customer.example")
    attach(small, "small.pdf", PDF)
    relay.settled(relay.send(small, rcpt))
    before = peak(relay.process)
    mail = mail_to("kim@customer.example")
    attach(mail, "large.bin", noise(size), "octet-stream")
    message = relay.send(mail, rcpt)
    relay.settled(message, timeout_s=60)
    if relay._keys.get("salesforce__files_attach", True):
        in_state(relay, message, "linked", timeout_s=60)
    after = peak(relay.process)
    relay.stop()
    return after - before


def test_a_large_file_takes_little_memory(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """20 MB: what the relay needs beyond reading the mail is less than a tenth."""
    rcpt = configured(idle, write_as="email_message", timeout_s=20)
    idle.set(salesforce__files_attach=False)
    sandbox.person("Contact", "kim@customer.example")
    without = peak_of_a_large_mail(idle, rcpt, 20_000_000)
    idle.set(salesforce__files_attach=True)
    growth = peak_of_a_large_mail(idle, rcpt, 20_000_001)
    assert growth - without < 2_000_000, (without, growth)
    (large,) = (
        version
        for version in sandbox.rows("ContentVersion")
        if version["ContentSize"] > 1_000_000
    )
    assert content(sandbox, large["Id"]) == noise(20_000_001)


def test_a_full_org_holds_files_and_logs_text(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Without room the file is held, visibly; with room it follows by itself."""
    rcpt = configured(idle, files_hold_s=3)
    sandbox.person("Contact", "kim@customer.example")
    sandbox.post("/sandbox/config", {"storage_full": True})
    idle.start()
    sent = []
    for size in (1000, 600_000):
        mail = mail_to("kim@customer.example")
        attach(mail, "offer.pdf", noise(size))
        sent.append(idle.send(mail, rcpt))
    for message in sent:
        assert idle.settled(message)["state"] == "logged"
        (file,) = in_state(idle, message, "held")
        assert "STORAGE_LIMIT_EXCEEDED" in file["error"]
        wait_for(lambda m=message: logged_file(idle, m)["state"] == "held")
    wait_for(lambda: "file held" in idle.run("log").stdout.decode())
    third = idle.send(mail_to("kim@customer.example"), rcpt)
    assert idle.settled(third)["state"] == "logged"
    sandbox.post("/sandbox/config", {"storage_full": False})
    for message in sent:
        in_state(idle, message, "linked")
    assert len(sandbox.rows("ContentDocument")) == 2


def test_a_refused_file_is_named_and_can_be_retried(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """A kind that the org blocks is refused alone; `relay retry` after the mend."""
    rcpt = configured(idle)
    sandbox.person("Contact", "kim@customer.example")
    sandbox.post("/sandbox/config", {"blocked_extensions": ["pdf"]})
    idle.start()
    mail = mail_to("kim@customer.example")
    attach(mail, "offer.pdf", PDF)
    attach(mail, "note.txt", b"hello", "octet-stream")
    message = idle.send(mail, rcpt)
    idle.settled(message)
    wait_for(
        lambda: (
            sorted(file["state"] for file in files(idle, message))
            == ["linked", "refused"]
        ),
        message="one refused",
    )
    (refused,) = (f for f in files(idle, message) if f["state"] == "refused")
    assert refused["error"].startswith("FILE_EXTENSION_NOT_ALLOWED")
    sandbox.post("/sandbox/config", {"blocked_extensions": []})
    idle.run("retry", message)
    idle.settled(message)
    in_state(idle, message, "linked")
    assert len(sandbox.rows("ContentDocument")) == 2
    assert len(sandbox.rows("EmailMessage")) == 1


@pytest.mark.parametrize("size", [1000, 600_000])
@pytest.mark.parametrize("kind", ["reset", "truncate", "html"])
def test_an_answer_lost_after_the_commit_is_no_double(
    idle: RelayProcess, sandbox: SandboxProcess, kind: str, size: int
) -> None:
    """Uploaded but not answered: found by its key, not sent again."""
    rcpt = configured(idle, settle_s=600)
    sandbox.person("Contact", "kim@customer.example")
    idle.start()
    stage = "after" if kind == "reset" else "answer"
    sandbox.faults({"stage": stage, "kind": kind, "count": 1, "body": "PathOnClient"})
    mail = mail_to("kim@customer.example")
    attach(mail, "offer.pdf", noise(size))
    message = idle.send(mail, rcpt)
    idle.settled(message)
    (file,) = in_state(idle, message, "linked")
    (document,) = sandbox.rows("ContentDocument")
    assert file["document_id"] == document["Id"]
    assert len(sandbox.rows("ContentVersion")) == 1
    (written,) = sandbox.rows("EmailMessage")
    assert links(sandbox, written["Id"]) == {document["Id"]}


@pytest.mark.parametrize("stage", ["before", "after"])
def test_killed_between_file_and_link(
    idle: RelayProcess, sandbox: SandboxProcess, stage: str
) -> None:
    """Where the link is a call of its own: no orphan, no second file, one link."""
    hidden = {"ContentVersion": ["FirstPublishLocationId"], "Task": ["Type"]}
    sandbox.post("/sandbox/config", {"hidden_fields": hidden})
    rcpt = configured(idle, settle_s=600)
    sandbox.person("Contact", "kim@customer.example")
    idle.start()
    sandbox.faults(
        {"stage": stage, "kind": "stall", "delay_s": 60, "body": "ShareType"}
    )
    mail = mail_to("kim@customer.example")
    attach(mail, "offer.pdf", PDF)
    message = idle.send(mail, rcpt)
    idle.settled(message)
    wait_for(lambda: sandbox.rows("ContentVersion"), message="the upload")
    wait_for(
        lambda: files(idle, message)[0]["state"] == "written", message="file written"
    )
    idle.kill()
    sandbox.faults()
    idle.start()
    (file,) = in_state(idle, message, "linked")
    (document,) = sandbox.rows("ContentDocument")
    assert file["document_id"] == document["Id"]
    (written,) = sandbox.rows("EmailMessage")
    assert links(sandbox, written["Id"]) == {document["Id"]}


@pytest.mark.parametrize("size", [1000, 600_000])
def test_killed_while_the_upload_is_answered(
    idle: RelayProcess, sandbox: SandboxProcess, size: int
) -> None:
    """Killed after the commit, before the answer: the file is found, not sent again."""
    rcpt = configured(idle, settle_s=600)
    sandbox.person("Contact", "kim@customer.example")
    idle.start()
    sandbox.faults(
        {"stage": "after", "kind": "stall", "delay_s": 60, "body": "PathOnClient"}
    )
    mail = mail_to("kim@customer.example")
    attach(mail, "offer.pdf", noise(size))
    message = idle.send(mail, rcpt)
    idle.settled(message)
    wait_for(lambda: sandbox.rows("ContentVersion"), message="the upload")
    idle.kill()
    sandbox.faults()
    idle.start()
    (file,) = in_state(idle, message, "linked")
    assert len(sandbox.rows("ContentVersion")) == 1
    assert file["id"] == sandbox.rows("ContentVersion")[0]["Id"]


def test_the_document_of_a_refused_link_is_deleted(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """A file that may not hang on its record leaves no orphan."""
    hidden = {"ContentVersion": ["FirstPublishLocationId"], "Task": ["Type"]}
    sandbox.post("/sandbox/config", {"hidden_fields": hidden})
    rcpt = configured(idle)
    sandbox.person("Contact", "kim@customer.example")
    idle.start()
    sandbox.faults(
        {
            "kind": "error_code",
            "object": "ContentDocumentLink",
            "code": "INSUFFICIENT_ACCESS_OR_READONLY",
        }
    )
    mail = mail_to("kim@customer.example")
    attach(mail, "offer.pdf", PDF)
    message = idle.send(mail, rcpt)
    idle.settled(message)
    in_state(idle, message, "refused")
    assert not sandbox.rows("ContentDocument")


def test_a_file_that_was_sent_twice_is_swept(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """A commit that comes later than can be: the double is found and deleted."""
    rcpt = configured(idle, timeout_s=1, settle_s=0, files_hold_s=1)
    sandbox.person("Contact", "kim@customer.example")
    idle.start()
    # Carried out long after the relay has given up on it.
    sandbox.faults(
        {
            "stage": "before",
            "kind": "stall",
            "delay_s": 16,
            "count": 1,
            "body": "PathOnClient",
        }
    )
    mail = mail_to("kim@customer.example")
    attach(mail, "offer.pdf", PDF)
    message = idle.send(mail, rcpt)
    idle.settled(message)
    (file,) = in_state(idle, message, "linked", timeout_s=60)
    wait_for(
        lambda: len(sandbox.rows("ContentDocument")) == 2,
        message="the late double",
        timeout_s=30,
    )
    wait_for(
        lambda: len(sandbox.rows("ContentDocument")) == 1,
        message="the sweep",
        timeout_s=60,
    )
    (document,) = sandbox.rows("ContentDocument")
    assert document["Id"] == file["document_id"]
