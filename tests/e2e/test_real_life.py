"""What real programs make of mail, by SMTP into the org: people, text and files."""

from __future__ import annotations

import re
import smtplib
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import RelayProcess, wait_for
from tests.fakes.real_life import MARA, MEMBERS, Member, text

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(300)

EACH = 3
"""Members of each kind that are sent; the unit tests read all of them."""

BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")
IDENT = b"<x@mail.seller.example>"


def numbered(member: Member, number: int) -> bytes:
    """Return a member as a mail of its own, with an id of its own."""
    return member.raw.replace(IDENT, b"<%d@mail.seller.example>" % number, 1)


def sendable() -> dict[str, tuple[str, Member]]:
    """Return the members that SMTP can carry, by the id they are sent with."""
    found: dict[str, tuple[str, Member]] = {}
    of_kind: Counter[str] = Counter()
    for number, (kind, member) in enumerate(MEMBERS):
        if BARE.search(member.raw) or b"\0" in member.raw or of_kind[kind] == EACH:
            continue
        of_kind[kind] += 1
        found[f"<{number}@mail.seller.example>"] = kind, member
    return found


@pytest.mark.parametrize("write_as", ["email_message", "task"])
def test_every_kind_arrives_as_it_is_right(
    idle: RelayProcess, sandbox: SandboxProcess, write_as: str
) -> None:
    """The Contact is found, or nobody; the text is whole; what is a file is a File."""
    sandbox.person("Contact", MARA)
    idle.set(salesforce__write_as=write_as)
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.run("address", "add", "ada@corp.example", "ada@seller.example")
    idle.start()
    sent: dict[str, Member] = {}
    with idle.smtp() as client:
        for number, (ident, (kind, member)) in enumerate(sendable().items()):
            raw = numbered(member, int(ident[1:].partition("@")[0]))
            client.ehlo_or_helo_if_needed()
            client.mail("ada@seller.example")
            client.rcpt(rcpt)
            code, reply = client.data(raw)
            if member.name == "not in From":
                assert code >= 500, (kind, member.name)
                continue
            assert code == 250, (kind, member.name, reply)
            sent[reply.decode().split()[-1]] = member
            assert number < len(MEMBERS)
    assert len(sent) > 60
    wait_for(idle.drained, message="all mails rest", timeout_s=120)
    rows = {row["id"]: row for row in idle.log("--limit", "1000")}
    for message, member in sent.items():
        people = (MARA,) if member.to is None else member.to
        wanted = "logged" if MARA in people else "unmatched"
        state = rows[message]["state"]
        if not people:
            wanted = "skipped"
        assert state == wanted, (member.name, rows[message])
    objects = {"email_message": "EmailMessage", "task": "Task"}
    records = sandbox.rows(objects[write_as])
    field = "TextBody" if write_as == "email_message" else "Description"
    bodies = [str(row[field] or "") for row in records]
    for member in sent.values():
        if member.to is not None and MARA not in member.to:
            continue
        for piece in (member.text or "").strip().split("\n"):
            assert any(piece.strip() in body for body in bodies), member.name
    # Files follow the text, on a way of their own.
    named = {"contract.pdf", "Angebot für Mara.pdf", "prices.csv", "o.pdf"}
    wait_for(
        lambda: (
            named <= {row["PathOnClient"] for row in sandbox.rows("ContentVersion")}
        ),
        message="all files arrive",
        timeout_s=60,
    )


def test_the_same_words_every_week(idle: RelayProcess, sandbox: SandboxProcess) -> None:
    """Without id and date, a mail that comes twice at once is one mail."""
    sandbox.person("Contact", MARA)
    idle.set(salesforce__write_as="task")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.run("address", "add", "ada@corp.example", "ada@seller.example")
    idle.start()
    raw = re.sub(
        rb"(Date|Message-ID): [^\r]*\r\n", b"", text("Ready.", subject="Weekly")
    )
    tasks = []
    for _ in range(2):
        assert idle.settled(idle.send(raw, rcpt))["state"] == "logged"
        subjects = [row["Subject"] for row in sandbox.rows("Task")]
        tasks.append(subjects.count("Weekly"))
    assert tasks[0] == tasks[1] > 0
    with pytest.raises(smtplib.SMTPDataError):
        idle.send(text("x", sender="eve@x.example"), rcpt)
