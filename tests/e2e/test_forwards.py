"""Forwarded mail by real SMTP into the org, in both shapes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from tests.fakes.processes import RelayProcess, wait_for

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(240)

MAILS = Path(__file__).parent / "forwarded"
SHAPES = ("email_message", "task")
MARA, TIM = "mara@acme.example", "tim@leads.example"
TEXT = "Hello Ada,\r\n\r\nhow much is it?"


class Org:
    """A relay that writes in one shape, and an org with Mara and the Lead Tim."""

    def __init__(self, relay: RelayProcess, sandbox: SandboxProcess) -> None:
        """Add the people; nothing is sent yet."""
        self.relay, self.sandbox = relay, sandbox
        self.mara = self._person("Contact", MARA)
        self.tim = self._person("Lead", TIM)
        self.user = next(
            one for one in sandbox.rows("User") if one["Email"] == "ada@corp.example"
        )
        self.rcpt = str(relay.json("user", "list")[0]["relay_address"])

    def _person(self, sobject: str, address: str) -> str:
        """Return the record of an address, which the seed may have."""
        rows = self.sandbox.rows(sobject)
        known = [row["Id"] for row in rows if row["Email"] == address]
        return str(known[0]) if known else self.sandbox.person(sobject, address)

    def send(self, raw: bytes) -> dict[str, Any]:
        """Send a mail of Ada's to her relay address; return its row at rest."""
        raw = raw.replace(b"ada@seller.example", b"ada@corp.example")
        raw = raw.replace(b"log-RELAY@bcc.relay.example", self.rcpt.encode())
        raw = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        row: dict[str, Any] = self.relay.settled(self.relay.send(raw, self.rcpt))
        return row

    def sample(self, name: str) -> dict[str, Any]:
        """Send a mail of the folder."""
        return self.send((MAILS / f"{name}.eml").read_bytes())

    def relay_explain(self, raw: bytes, *options: str) -> list[dict[str, Any]]:
        """Return what `relay explain` says of a mail."""
        file = self.relay.folder / "mail.eml"
        file.write_bytes(raw)
        return self.relay.json("explain", str(file), "--user", "Ada Rep", *options)

    def on_clock(self, *numbers: int) -> str:
        """Return a time on the clock of Ada, in UTC, as EmailMessage holds it."""
        zone = ZoneInfo(self.user["TimeZoneSidKey"])
        moment = datetime(*numbers, tzinfo=zone).astimezone(UTC)  # type: ignore[arg-type,misc]
        return moment.strftime("%Y-%m-%dT%H:%M")

    def own(self, sobject: str) -> list[dict[str, Any]]:
        """Return rows that the relay wrote, without the platform's own Tasks."""
        emails = self.sandbox.rows("EmailMessage")
        made = {row["ActivityId"] for row in emails}
        return [row for row in self.sandbox.rows(sobject) if row["Id"] not in made]


@pytest.fixture(params=SHAPES)
def org(
    request: pytest.FixtureRequest, idle: RelayProcess, sandbox: SandboxProcess
) -> Org:
    """Run a relay in one shape."""
    idle.set(salesforce__write_as=request.param, match__opportunities="none")
    idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    return Org(idle, sandbox)


def test_forwards_of_several_programs(org: Org) -> None:
    """The people, date, subject, text, direction and files of the forwarded mail."""
    expected = {
        "gmail-spanish-labels": ("Precio", (2026, 11, 25, 17, 58), True),
        "outlook-german-on-behalf": ("Angebot", (2026, 11, 25, 16, 58), True),
        "attached-without-disposition": ("Question", None, True),
        "redirected": ("Question", None, False),
    }
    for name in expected:
        row = org.sample(name)
        assert (name, row["state"], row["direction"]) == (name, "logged", "inbound")
    emails, tasks = org.own("EmailMessage"), org.own("Task")
    if emails:
        assert len(emails) == len(expected)
        assert not tasks
        for mail, (subject, clock, tim) in zip(emails, expected.values(), strict=True):
            assert (mail["Subject"], mail["Incoming"]) == (subject, True)
            assert (mail["FromAddress"], mail["FromId"]) == (MARA, org.mara)
            at = org.on_clock(*clock) if clock else "2026-11-25T15:58"
            assert mail["MessageDate"].startswith(at)
            relations = {
                (one["RelationType"], one["RelationId"])
                for one in org.sandbox.rows("EmailMessageRelation")
                if one["EmailMessageId"] == mail["Id"] and one["RelationId"]
            }
            assert ("FromAddress", org.mara) in relations
            # In base64 her address stays as it is, which is none of hers here.
            if subject != "Angebot":
                assert ("ToAddress", org.user["Id"]) in relations
            assert any(who == org.tim for _, who in relations) is tim
        assert emails[2]["MessageIdentifier"] == "<orig-1@acme.example>"
        assert emails[0]["TextBody"].startswith("Note by Ada Berger on forwarding:\n")
    else:
        assert sorted(one["Subject"] for one in tasks if one["WhoId"] == org.mara) == [
            *("Angebot", "Precio", "Question", "Question"),
        ]
        assert sorted(one["Subject"] for one in tasks if one["WhoId"] == org.tim) == [
            *("Angebot", "Precio", "Question"),
        ]
        (price,) = (one for one in tasks if one["Subject"] == "Precio"
                    and one["WhoId"] == org.mara)  # fmt: skip
        head, _, text = price["Description"].partition("\n\n")
        assert head.startswith(f"From: Mara Voss <{MARA}>\nTo: Ada Berger <ada@corp")
        assert text.startswith("Note by Ada Berger on forwarding:\nPara el CRM.\n---")
        assert "¿cuánto cuesta?" in text
    wait_for(
        lambda: [one["Title"] for one in org.sandbox.rows("ContentVersion")],
        message="the file of the attached mail",
    )
    files = {one["PathOnClient"] for one in org.sandbox.rows("ContentVersion")}
    assert files == {"rfq.pdf"}


def sent(number: int, *, to: str = MARA) -> bytes:
    """Return a mail of Ada's to a customer."""
    return (
        f"From: Ada <ada@corp.example>\r\nTo: {to}\r\nSubject: Offer {number}\r\n"
        f"Date: Wed, 25 Nov 2026 10:58:00 -0500\r\nMessage-ID: <s{number}@corp.example>"
        f"\r\n\r\n{TEXT}\r\n"
    ).encode()


def inline(number: int, note: str = "") -> bytes:
    """Return that mail as Ada forwards it from Sent, in the text."""
    return (
        "From: Ada <ada@corp.example>\r\nTo: log-RELAY@bcc.relay.example\r\n"
        f"Subject: Fwd: Offer {number}\r\nDate: Thu, 26 Nov 2026 09:00:00 +0000\r\n"
        f"Message-ID: <i{number}{note}@corp.example>\r\n\r\n{note}\r\n\r\n"
        "---------- Forwarded message ---------\r\nFrom: Ada <ada@corp.example>\r\n"
        f"Date: Wed, Nov 25, 2026 at 10:58 AM\r\nSubject: Offer {number}\r\n"
        f"To: <{MARA}>\r\n\r\n\r\n{TEXT}\r\n"
    ).encode()


def attached(name: str, *mails: bytes) -> bytes:
    """Return mails that Ada forwards as attachments."""
    head = (
        "From: Ada <ada@corp.example>\r\nTo: log-RELAY@bcc.relay.example\r\n"
        "Subject: Fwd: mails\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\n"
        f"Message-ID: <{name}@corp.example>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    )
    parts = [
        b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + m + b"\r\n" for m in mails
    ]
    return head.encode() + b"".join(parts) + b"--b--\r\n"


def test_a_mail_is_logged_once_whatever_the_way(org: Org) -> None:
    """BCC then forward, forward then BCC, forwarded twice, inline and attached."""
    ways = {
        1: (sent(1), inline(1), attached("a1", sent(1))),
        2: (inline(2), sent(2), inline(2, "again")),
        3: (attached("a3", sent(3)), inline(3), sent(3)),
        4: (inline(4), attached("a4", sent(4))),
    }
    for number, mails in ways.items():
        for raw in mails:
            row = org.send(raw)
            assert (number, row["state"]) == (number, "logged")
            assert row["direction"] == "outbound"
    written = org.own("EmailMessage") or org.own("Task")
    assert sorted(one["Subject"] for one in written) == [f"Offer {n}" for n in ways]


def test_a_kill_loses_and_doubles_no_attached_mail(org: Org) -> None:
    """The worker dies while it divides and works on mails of several."""
    people = [f"p{number}@many.example" for number in range(6)]
    for person in people:
        org.sandbox.person("Contact", person)
    org.sandbox.faults({"stage": "before", "kind": "stall", "delay_s": 0.3})
    mails = [sent(n, to=person) for n, person in enumerate(people)]
    raw = attached("many", *mails).replace(
        b"log-RELAY@bcc.relay.example", org.rcpt.encode()
    )
    org.relay.send(raw, org.rcpt)
    for _ in range(2):
        wait_for(lambda: len(org.relay.log()) > 1, message="the message is not divided")
        org.relay.kill()
        org.relay.start()
    org.sandbox.faults()
    wait_for(org.relay.drained, message="the queue at rest", timeout_s=120)
    rows = org.relay.log()
    assert [row["state"] for row in rows] == ["logged"] * len(people)
    assert sorted(row["part"] for row in rows) == list(range(1, len(people) + 1))
    written = org.own("EmailMessage") or org.own("Task")
    subjects = sorted(one["Subject"] for one in written)
    assert subjects == sorted(f"Offer {number}" for number in range(len(people)))


def test_what_is_unsure_is_told(org: Org) -> None:
    """The row has the reason; `relay explain` says the same, and what to do."""
    raw = inline(9).replace(b"From: Ada <ada@corp.example>\r\nDate: Wed, Nov", b"Date:")
    row = org.send(raw)
    assert (row["state"], row["reason"]) == ("unmatched", "forward_unsure")
    steps = [line["step"] for line in row["trace"]]
    assert "kind" in steps
    raw = raw.replace(b"log-RELAY@bcc.relay.example", org.rcpt.encode())
    (told,) = org.relay_explain(raw)
    assert told["code"] == "forward_unsure"
    assert "as an attachment" in told["reason"]
    both = attached("two", sent(10), sent(11)).replace(
        b"log-RELAY@bcc.relay.example", org.rcpt.encode()
    )
    (told,) = org.relay_explain(both, "--part", "2")
    assert (told["subject"], told["part"], told["parts"]) == ("Offer 11", 2, 2)
    assert told["direction"] == "outbound"
    assert "kind" in [line["step"] for line in told["trace"]]
