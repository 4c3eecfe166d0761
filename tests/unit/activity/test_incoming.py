"""Mail that was received, and notes of forwarders, on the records."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from relay.activity import Mode, Owner, draft, without_secrets
from relay.activity.note import html_with_note, with_note
from relay.config import MatchSettings
from relay.core.model import Draft, Email, Mailbox, Person, Place
from relay.match import choose
from tests.fakes.values import ADA, NOON, boxes, contact, email, found, lead
from tests.unit.activity.test_draft import DEALS, Org

MARA = contact(1, "mara@acme.example")
TWIN = contact(2, "mara@acme.example")
MARAS_LEAD = lead(4, "mara@acme.example")
TIM = contact(3, "tim@leads.example")
OWNED = Owner(ADA, "America/New_York")
MAIL = email(
    from_=(Mailbox("Mara Voss", "mara@acme.example"),),
    to=boxes("ada@corp.example", "tim@leads.example"),
    subject="Question",
    date=None,
    local_date=datetime(2026, 3, 3, 21, 30),  # noqa: DTZ001 - no zone stands there
    message_id=None,
    text="How much is it?",
    incoming=True,
    forwarded="inline",
    forwarder=Mailbox("Ada Rep", "ada@corp.example"),
)


def drafts(
    *records: object,
    mail: Email = MAIL,
    mode: Mode = Mode.EMAIL_MESSAGE,
    deals: tuple[tuple[object, int], ...] = (),
) -> tuple[Draft, ...]:
    """Draft a mail of Mara's to Ada and Tim."""
    people = [
        Person("mara@acme.example", "mara@acme.example", "", Place.FROM),
        Person("tim@leads.example", "tim@leads.example", "", Place.TO),
    ]
    roles = tuple((who, DEALS[number]) for who, number in deals)
    held = found(*records, roles=roles)  # type: ignore[arg-type]
    return draft(
        mail,
        choose(people, held, MatchSettings()),
        mail_key="m",
        owner=OWNED,
        mode=mode,
        org=Org(),  # type: ignore[arg-type]
        received_at=NOON,
    )


def test_an_incoming_email_message_names_its_sender() -> None:
    """Incoming, FromId the Contact; the date is read in the zone of the rep."""
    (made,) = drafts(MARA, TIM, deals=((MARA, 0),))
    fields = dict(made.fields)
    assert fields["Incoming"] is True
    assert fields["Status"] == "3"
    assert fields["FromId"] == MARA.id
    assert (fields["FromAddress"], fields["FromName"]) == (
        "mara@acme.example",
        "Mara Voss",
    )
    assert fields["ToIds"] == [TIM.id]
    assert fields["ToAddress"] == "ada@corp.example"
    assert fields["MessageDate"] == "2026-03-04T02:30:00.000Z"
    assert fields["MessageIdentifier"] == "<m@relay.invalid>"
    assert fields["RelatedToId"] == DEALS[0]
    assert made.owner == ADA


def test_an_unknown_sender_has_no_record() -> None:
    """The rep did not write it: FromId stays empty."""
    (made,) = drafts(TIM)
    assert "FromId" not in made.fields
    assert made.fields["FromAddress"] == "mara@acme.example"


def test_further_records_of_the_sender_get_tasks() -> None:
    """FromId names one record; nobody is made a recipient who is none."""
    made = drafts(MARA, TWIN, MARAS_LEAD, deals=((MARA, 0),))
    assert made[0].fields["FromId"] == MARA.id
    assert "ToIds" not in made[0].fields
    assert made[0].fields["RelatedToId"] == DEALS[0]
    assert [each.fields.get("WhoId") for each in made[1:]] == [TWIN.id, MARAS_LEAD.id]
    (alone,) = drafts(MARAS_LEAD)
    assert "RelatedToId" not in alone.fields
    assert alone.fields["FromId"] == MARAS_LEAD.id


def test_an_incoming_task() -> None:
    """On the day of the rep's clock, for its author, with its own header lines."""
    one, other = drafts(MARA, TIM, mode=Mode.TASK)
    assert (one.fields["WhoId"], other.fields["WhoId"]) == (MARA.id, TIM.id)
    assert one.fields["ActivityDate"] == "2026-03-03"
    assert one.fields["Description"].startswith(
        "From: Mara Voss <mara@acme.example>\nTo: ada@corp.example, tim@leads.example\n"
        "Date: 2026-03-04 02:30 UTC\n\nHow much is it?\n\nrelay-key: "
    )


def test_the_note_stands_above_the_text() -> None:
    """Under a line that says whose it is; in the page as well, and there as text."""
    noted = replace(MAIL, note="<Big> deal\nfor us", text="\nHow much?\n")
    (made,) = drafts(MARA, mail=replace(noted, html="<html><BODY class=x><p>Hi</p>"))
    rule = "-" * 40
    expected = f"Note by Ada Rep on forwarding:\n<Big> deal\nfor us\n{rule}\nHow much?"
    assert made.fields["TextBody"] == expected
    assert made.fields["HtmlBody"] == (
        "<html><BODY class=x><div><b>Note by Ada Rep on forwarding:</b><br>"
        "&lt;Big&gt; deal<br>for us</div><hr><p>Hi</p>"
    )
    (task,) = drafts(MARA, mail=noted, mode=Mode.TASK)
    assert expected in task.fields["Description"]
    assert html_with_note(replace(noted, html="<p>Hi")).endswith("<hr><p>Hi")
    assert html_with_note(replace(MAIL, html="<p>Hi")) == "<p>Hi"
    assert html_with_note(noted) == ""


@pytest.mark.parametrize(
    ("who", "label"),
    [
        (None, "Note on forwarding:"),
        (Mailbox("", "a@corp.example"), "Note by a@corp.example on forwarding:"),
    ],
)
def test_whose_note_it_is(who: Mailbox | None, label: str) -> None:
    """The name, else the address, else nothing."""
    assert with_note(replace(MAIL, note="x", forwarder=who)).startswith(label + "\n")


def test_relay_addresses_are_masked_in_notes() -> None:
    """Whoever forwards may quote them."""
    secret = "log-secret@in.relay.example"
    mail = replace(MAIL, note=f"was {secret}", forwarder=Mailbox(secret, secret))
    masked = without_secrets(mail, frozenset({"in.relay.example"}))
    assert "log-secret" not in with_note(masked)
