"""The subject and the type of what is written for a mail (D2 to D7, D12)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.activity import (
    Extras,
    Mode,
    Owner,
    draft,
    is_reply,
    preview,
    subject_of_reminder,
    units,
)
from relay.activity.subject import subject_of, type_word
from relay.config import MatchSettings
from relay.core.model import Person, Place
from relay.core.org import FieldInfo, OrgSchema
from relay.core.reminders import Kind
from relay.match import choose
from tests.fakes.values import ADA, NOON, boxes, contact, email, found

ANNA = contact(1, "anna@one.example")
SENT = email(subject="An offer")
REPLY = email(subject="Re: An offer", incoming=True, in_reply_to=("<a@b>",))
TEMPLATE = "[Sales] {{activity_type}}: {{activity_subject}}"


def picklist(*values: str, default: str = "", defaulted: bool = False) -> FieldInfo:
    """Return the field Type of an org."""
    yes = (True, True, True, True)
    return FieldInfo(
        "Type",
        "Type",
        "picklist",
        40,
        *yes,
        defaulted=defaulted,
        unique=False,
        external_id=False,
        restricted=True,
        values=values,
        default=default,
    )


def org(*fields: FieldInfo) -> OrgSchema:
    """Return an org that takes Subject and OwnerId, and these fields, on a Task."""
    names = ("Subject", "OwnerId", "Description")
    text = [replace(picklist(), name=n, type="string", length=32_000) for n in names]
    known = {each.name: each for each in (*text, *fields)}
    mails = {each.name: each for each in text} | {"ToIds": text[0]}
    return OrgSchema(
        {"Task": known, "EmailMessage": mails}, frozenset({"Task", "EmailMessage"})
    )


def written(
    mail: object = SENT,
    extras: Extras | None = None,
    mode: Mode = Mode.TASK,
    where: OrgSchema | None = None,
) -> dict[str, object]:
    """Return the fields of the record of a mail to Anna."""
    person = Person(ANNA.email_key, ANNA.email_key, "", Place.TO)
    (made,) = draft(
        mail,  # type: ignore[arg-type]
        choose([person], found(ANNA), MatchSettings()),
        mail_key="m",
        owner=Owner(ADA),
        mode=mode,
        org=where or org(),
        received_at=NOON,
        extras=extras or Extras(),
    )
    return dict(made.fields)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_mail_has_the_subject_that_the_template_makes(mode: Mode) -> None:
    """In either shape; without a template it has its own (D2)."""
    assert written(mode=mode)["Subject"] == "An offer"
    made = written(extras=Extras(subject=TEMPLATE), mode=mode)
    assert made["Subject"] == "[Sales] Email: An offer"


@pytest.mark.parametrize(
    ("rule", "mail", "template", "subject"),
    [
        ("D3", SENT, "{{activity_subject}}", "An offer"),
        ("D4", SENT, "{{call_reason}}", "(no subject)"),
        ("D4", replace(SENT, subject=""), "[x] {{activity_subject}}", "[x]"),
        ("", replace(SENT, subject=""), "", "(no subject)"),
        ("D5", replace(SENT, subject="a\r\n b"), "{{activity_subject}}", "a b"),
        ("D7", REPLY, TEMPLATE, "Reply: Re: An offer"),
        ("D7", replace(REPLY, subject=""), TEMPLATE, "Reply:"),
        ("", REPLY, "", "Re: An offer"),
    ],
)
def test_the_rules_of_the_template(
    rule: str, mail: object, template: str, subject: str
) -> None:
    """Each by its number."""
    assert subject_of(mail, template) == subject, rule  # type: ignore[arg-type]


@pytest.mark.parametrize("subject", ["x" * 300, "\U0001f4e7" * 300])
def test_a_subject_is_cut_to_255_characters(subject: str) -> None:
    """D6, as Salesforce counts them; of replies and reminders, too."""
    mail = replace(SENT, subject=subject)
    made = subject_of(mail, "[a] {{activity_subject}}")
    assert made.startswith("[a] ")
    assert 250 <= units(made) <= 255
    assert units(subject_of(replace(REPLY, subject=subject), TEMPLATE)) <= 255
    assert units(subject_of_reminder(subject, Kind.CUSTOM, TEMPLATE)) <= 255
    assert units(subject_of_reminder(subject, Kind.CUSTOM, "")) <= 255
    assert units(preview("x", subject)["reply"]) <= 255


def test_a_reminder_has_its_name_in_the_template() -> None:
    """D2, D3, D21: with its own type."""
    for kind in Kind:
        made = subject_of_reminder("Ring\nAnna", kind, TEMPLATE)
        assert made == f"[Sales] {kind.value}: Ring Anna"
    assert subject_of_reminder("Ring Anna", Kind.CALL, "") == "Ring Anna"
    assert subject_of_reminder("", Kind.CALL, "") == "(no subject)"


def test_a_preview_shows_all_three() -> None:
    """As they will be written."""
    assert preview(TEMPLATE, "An offer") == {
        "mail": "[Sales] Email: An offer",
        "reply": "Reply: An offer",
        "reminder": "[Sales] Custom: An offer",
    }
    assert set(preview("", "An offer").values()) == {"An offer"}
    assert set(preview("", " ").values()) == {"(no subject)"}


@pytest.mark.parametrize(
    ("mail", "reply"),
    [
        (SENT, False),
        (replace(SENT, in_reply_to=("<a@b>",)), False),
        (REPLY, True),
        (replace(REPLY, in_reply_to=(), references=("<a@b>",)), True),
        (replace(REPLY, in_reply_to=()), False),
        (replace(REPLY, in_reply_to=(), forwarded="inline"), True),
        (replace(REPLY, in_reply_to=(), forwarded="inline", subject="News"), False),
    ],
)
def test_what_a_reply_is(mail: object, *, reply: bool) -> None:
    """A received answer; what a rep answers is a mail."""
    assert is_reply(mail) is reply  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mail", "field", "word"),
    [
        (SENT, picklist("Call", "Email"), "Email"),
        (SENT, picklist("Call", "email"), None),
        (SENT, picklist("Email", default="Call"), None),
        (SENT, picklist("Email", defaulted=True), None),
        (REPLY, picklist("Email"), None),
        (REPLY, picklist("Email", "Reply"), "Reply"),
    ],
)
def test_the_type_is_set_only_if_the_org_has_the_word(
    mail: object, field: FieldInfo, word: str | None
) -> None:
    """D12: that very word, and no default."""
    assert type_word(mail, org(field)) == word  # type: ignore[arg-type]
    assert written(mail, Extras(task_type=True), where=org(field)).get("Type") == word
    assert "Type" not in written(mail, where=org(field)), "switched off"


def test_without_the_field_no_type_is_set() -> None:
    """Field-level security may hide it."""
    assert type_word(SENT, org()) is None


def test_an_admin_sets_the_type_before_the_relay() -> None:
    """`salesforce.fields.Task.Type` holds."""
    extras = Extras(task_type=True, fields={"Task": {"Type": "Call"}})
    made = written(extras=extras, where=org(picklist("Call", "Email")))
    assert made["Type"] == "Call"


def test_a_placeholder_of_a_field_is_the_subject_of_the_mail() -> None:
    """The template is for the Subject alone."""
    extras = Extras(subject=TEMPLATE, fields={"Task": {"Note__c": "{subject}"}})
    note = replace(picklist(), name="Note__c", type="string", length=255)
    assert written(extras=extras, where=org(note))["Note__c"] == "An offer"


def test_people_in_a_subject_are_shown() -> None:
    """Nothing but relay addresses is hidden in it."""
    mail = email(subject="For anna@one.example", to=boxes(ANNA.email_key))
    made = written(mail, Extras(subject="{{activity_subject}}"))
    assert made["Subject"] == "For anna@one.example"
