"""Trouble on either side: nothing accepted is lost, nothing is written twice."""

from __future__ import annotations

import json
import smtplib
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.processes import (
    CLIENT_SECRET,
    RelayProcess,
    free_port,
    mail_to,
    send_in,
    wait_for,
)

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(120)

MODES = ["email_message", "task"]


def configured(relay: RelayProcess, **keys: object) -> str:
    """Set keys of the [salesforce] section, and add the user Ada."""
    relay.set(**{f"salesforce__{key}": value for key, value in keys.items()})
    return relay.add_user("Ada Rep", "ada@corp.example")


def logged(relay: RelayProcess, count: int) -> list[dict[str, Any]]:
    """Wait until that many messages are logged."""
    return wait_for(
        lambda: len(rows := relay.log("--state", "logged")) >= count and rows,
        message=f"{count} logged",
        timeout_s=60,
    )


def activities(sandbox: SandboxProcess, mode: str) -> list[str]:
    """Return the subjects of what was logged, doubles included."""
    sobject = "EmailMessage" if mode == "email_message" else "Task"
    return sorted(row["Subject"] for row in sandbox.rows(sobject))


def readiness(relay: RelayProcess) -> tuple[int, dict[str, Any]]:
    """Return status and answer of /readyz."""
    url = f"http://{relay._keys['telemetry__listen']}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_salesforce_down_refuses_no_mail(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Mail is accepted while Salesforce is down, and logged when it is back."""
    sandbox.person("Contact", "kim@customer.example")
    sandbox.faults({"stage": "before", "kind": "reset", "probability": 1.0})
    message = relay.send(mail_to("kim@customer.example"), ada)
    assert relay.queued(message)["attempts"] == 0
    sandbox.faults()
    assert relay.settled(message)["state"] == "logged"
    assert len(sandbox.rows("EmailMessage")) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["reset", "truncate", "html"])
def test_an_answer_lost_after_the_commit_is_no_double(
    idle: RelayProcess, sandbox: SandboxProcess, mode: str, kind: str
) -> None:
    """Written but not answered: found by its key, not written again (modes B and E)."""
    rcpt = configured(idle, write_as=mode, settle_s=600)
    sandbox.person("Contact", "kim@customer.example")
    idle.start()
    stage = "after" if kind == "reset" else "answer"
    # Only a call that creates names the type of a record.
    writes = f'"type" *: *"{_object(mode)}"'
    sandbox.faults({"stage": stage, "kind": kind, "count": 1, "body": writes})
    row = idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    assert row["state"] == "logged"
    assert any(step["step"] == "look-up by key" for step in row["trace"]), row["trace"]
    assert len(activities(sandbox, mode)) == 1


def _object(mode: str) -> str:
    return "EmailMessage" if mode == "email_message" else "Task"


def test_one_bad_record_does_not_spoil_its_neighbours(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """A refused record makes its own mail dead, with Salesforce's reason; a retry
    after the mend logs it."""
    rcpt = configured(idle, write_as="task")
    for name in ("kim", "lee", "max"):
        sandbox.person("Contact", f"{name}@customer.example")
    idle.start(roles="smtp")
    sandbox.faults(
        {
            "kind": "error_code",
            "object": "Task",
            "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            "message": "No more mail, please.",
            "count": 1,
        }
    )
    sent = [
        idle.send(mail_to(f"{name}@customer.example"), rcpt)
        for name in ("kim", "lee", "max")
    ]
    idle.stop()
    idle.start()
    states = sorted(idle.settled(message)["state"] for message in sent)
    assert states == ["dead", "logged", "logged"]
    (dead,) = idle.log("--state", "dead")
    assert dead["reason"] == "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    idle.run("retry", "--state", "dead")
    wait_for(lambda: len(sandbox.rows("Task")) == 3, message="the third Task")
    logged(idle, 3)


def test_wrong_credentials_pause_and_kill_nothing(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """A refused login keeps the mail queued, and says so."""
    sandbox.person("Contact", "kim@customer.example")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.set(salesforce__client_secret="wrong")
    idle.start()
    message = idle.send(mail_to("kim@customer.example"), rcpt)
    idle.queued(message)
    idle.stop()
    idle.set(salesforce__client_secret=CLIENT_SECRET)
    idle.start()
    idle.run("hold", message)
    idle.run("release", message)
    assert idle.settled(message)["state"] == "logged"


def test_a_locked_database_is_451_and_passes(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """While another program holds the database, mail is put off, not lost."""
    rcpt = configured(idle)
    idle.set(store__busy_timeout_s=0.5, telemetry__listen=f"127.0.0.1:{free_port()}")
    sandbox.person("Contact", "kim@customer.example")
    idle.start()
    database = idle.folder / "relay.db"
    with closing(sqlite3.connect(database, isolation_level=None, timeout=10)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        with pytest.raises(smtplib.SMTPDataError) as caught:
            idle.send(mail_to("kim@customer.example"), rcpt)
        assert caught.value.smtp_code == 451
        assert readiness(idle)[0] == 503
        lock.execute("ROLLBACK")
    assert readiness(idle)[0] == 200
    row = idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    assert row["state"] == "logged"


def test_a_full_disk_is_452(idle: RelayProcess) -> None:
    """Below the floor of free space, mail is put off with 452."""
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.set(store__min_free_bytes=10**15)
    idle.start()
    with idle.smtp() as client:
        client.ehlo()
        code, reply = client.mail("ada@corp.example")
        if code == 250:
            client.rcpt(rcpt)
            code, reply = client.data(mail_to("x@y.example").as_bytes())
    assert (code, b"4.3.1" in reply) == (452, True)


def random_bytes() -> bytes:
    """Return noise that no mail program would send, but for its From."""
    noise = bytes(n * 7919 % 251 for n in range(20_000))
    return noise.replace(b"\r", b"").replace(b"\n", b"\r\n")


def many_parts() -> bytes:
    """Return a multipart of 10,000 parts."""
    part = b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"
    return b"\r\n\r\n" + part * 10_000 + b"--b--\r\n"


HEAD = (
    b"From: ada@corp.example\r\nTo: kim@customer.example\r\n"
    b"Message-ID: <bad.%d@corp.example>\r\n"
)
BAD: dict[str, bytes] = {
    "random body": HEAD % 1 + b"\r\n" + random_bytes(),
    "10,000 parts": HEAD % 2
    + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b"
    + many_parts(),
    "long line": HEAD % 3 + b"\r\n" + b"x" * 2_000_000 + b"\r\n",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_a_clear_state(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str, name: str
) -> None:
    """Whatever the bytes: a state, and the service stays up."""
    sandbox.person("Contact", "kim@customer.example")
    row = relay.settled(relay.send(BAD[name], ada))
    assert row["state"] in {"logged", "dead"}
    after = relay.settled(relay.send(mail_to("kim@customer.example"), ada))
    assert after["state"] == "logged"


def test_a_huge_header_is_refused(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """A header block of 1 MB is refused in SMTP, and recorded."""
    raw = HEAD % 9 + b"X-Long: " + b"y" * 1_000_000 + b"\r\n\r\nbody\r\n"
    with pytest.raises(smtplib.SMTPDataError) as caught:
        relay.send(raw, ada)
    assert caught.value.smtp_code == 552
    (row,) = relay.log("--refused")
    assert row["reason"] == "header_too_large"


def test_a_drain_finishes_open_sessions(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """SIGTERM lets a mail in DATA end, then the process ends with status 0."""
    sandbox.person("Contact", "kim@customer.example")
    with closing(smtplib.SMTP("127.0.0.1", relay.port, timeout=10)) as client:
        client.ehlo()
        client.mail("ada@corp.example")
        client.rcpt(ada)
        client.putcmd("data")
        assert client.getreply()[0] == 354
        assert relay.process
        relay.process.terminate()
        wait_for(lambda: relay.logged("process_draining", process="smtp-0"))
        client.send(mail_to("kim@customer.example").as_bytes().replace(b"\n", b"\r\n"))
        client.send(b"\r\n.\r\n")
        code, reply = client.getreply()
        assert code == 250, reply
        assert client.getreply()[0] == 421
    assert relay.stop() == 0
    relay.start()
    assert relay.settled(reply.decode().split()[-1])["state"] == "logged"


def test_large_mail_goes_through_the_spool(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """A mail of megabytes is stored beside the database and logged like any other."""
    sandbox.person("Contact", "kim@customer.example")
    mail = mail_to("kim@customer.example")
    assert isinstance(mail, EmailMessage)
    mail.add_attachment(
        bytes(3_000_000), maintype="application", subtype="pdf", filename="a.pdf"
    )
    row = relay.settled(relay.send(mail, ada))
    assert row["state"] == "logged"
    assert len(sandbox.rows("EmailMessage")) == 1


def test_many_mails_in_one_session(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """A burst is logged in batches, each mail once."""
    sandbox.person("Contact", "kim@customer.example")
    with relay.smtp() as client:
        for _ in range(50):
            send_in(client, mail_to("kim@customer.example").as_bytes(), ada)
    logged(relay, 50)
    subjects = activities(sandbox, "email_message")
    assert len(subjects) == len(set(subjects)) == 50


def test_a_certificate_that_does_not_load_stops_the_start(idle: RelayProcess) -> None:
    """Exit status 2 and one line that names the key."""
    bad = idle.folder / "bad.pem"
    bad.write_text("no certificate", "utf-8")
    idle.set(smtp__tls_certificate=str(bad), smtp__tls_key=str(bad))
    done = idle.run("serve", status=2)
    assert b"smtp.tls_certificate" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unreadable_spool_file_blocks_nobody(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """One file that cannot be read waits, with the reason; all other mail goes on,
    and the mail itself once the file is back."""
    idle.set(store__inline_bytes=10)
    rcpt = configured(idle)
    for name in ("kim", "lee"):
        sandbox.person("Contact", f"{name}@customer.example")
    idle.start(roles="smtp")
    bad = idle.send(mail_to("kim@customer.example"), rcpt)
    good = idle.send(mail_to("lee@customer.example"), rcpt)
    idle.stop()
    path = idle.folder / "relay.db.spool" / f"{bad}.eml"
    away = path.rename(idle.folder / "away.eml")
    path.symlink_to(path.name)
    idle.start()
    assert idle.settled(good)["state"] == "logged"
    assert idle.queued(bad, "raw_unreadable")["attempts"]
    path.unlink()
    away.rename(path)
    assert idle.settled(bad)["state"] == "logged"
