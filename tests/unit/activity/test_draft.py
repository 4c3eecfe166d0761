"""The records that a mail becomes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from relay.activity import (
    Extras,
    Mode,
    Owner,
    activity_key,
    draft,
    message_identifier,
    named,
    open_task,
    units,
    without_secrets,
)
from relay.activity.draft import MAX_RELATIONS, MAX_SHARED_CONTACTS
from relay.config import MatchSettings
from relay.core.model import (
    Attachment,
    Draft,
    Email,
    Mailbox,
    NamedRecord,
    Person,
    Place,
)
from relay.match import choose
from relay.match.tags import with_named
from tests.fakes.values import ADA, NOON, boxes, contact, email, found, lead

if TYPE_CHECKING:
    from relay.core.model import Candidate

DEALS = [f"00600000000000{number}AAA" for number in range(1, 4)]
ANNA = contact(1, "anna@one.example")
BERT = contact(2, "bert@two.example")
LENA = lead(3, "lena@three.example")


@dataclass(frozen=True)
class Org:
    """What describe says, as far as drafts ask."""

    shared_activities: bool = False
    closed_statuses: tuple[str, ...] = ("Completed",)
    open_statuses: tuple[str, ...] = ("Not Started",)
    hidden: frozenset[str] = frozenset()
    lengths: dict[str, int] = field(default_factory=dict)
    unrelated: frozenset[str] = frozenset()

    def length(self, sobject: str, field: str) -> int | None:
        """Return a length where the test sets one."""
        return self.lengths.get(f"{sobject}.{field}")

    def field(self, sobject: str, name: str) -> None:
        """Say that no field is known."""

    def createable(self, sobject: str, field: str) -> bool:
        """Say whether the field is visible."""
        return f"{sobject}.{field}" not in self.hidden

    def may_name(self, sobject: str, field: str, target: str) -> bool:
        """Say whether the field is visible, and takes the object."""
        return self.createable(sobject, field) and target not in self.unrelated


def drafts(
    *people: Candidate,
    deals: tuple[tuple[Candidate, int], ...] = (),
    mode: Mode = Mode.TASK,
    org: Org | None = None,
    zone: str | None = None,
    mail: Email | None = None,
    extras: Extras | None = None,
) -> tuple[Draft, ...]:
    """Draft a mail to these people, the last one in Cc where there are several."""
    places = {p.email_key: Place.TO for p in people}
    if len(places) > 1:
        places[people[-1].email_key] = Place.CC
    persons = [Person(key, key, "", place) for key, place in places.items()]
    roles = tuple((who, DEALS[number]) for who, number in deals)
    mail = mail or email(
        to=boxes(*(p.address for p in persons if p.place is Place.TO)),
        cc=boxes(*(p.address for p in persons if p.place is Place.CC)),
    )
    return draft(
        mail,
        choose(persons, found(*people, roles=roles), MatchSettings()),
        mail_key="m",
        owner=Owner(ADA, zone),
        mode=mode,
        org=org or Org(),
        received_at=NOON,
        relay_domains=("in.relay.example",),
        extras=extras or Extras(),
    )


def pairs(made: tuple[Draft, ...]) -> list[tuple[object, object]]:
    """Return who and what of each Task."""
    return [(d.fields.get("WhoId"), d.fields.get("WhatId")) for d in made]


# ---------------------------------------------------------------- Task mode


def test_a_task_is_completed_and_dated_and_owned() -> None:
    """A logged mail is a completed e-mail Task of the rep, on the mail's day."""
    (task,) = drafts(ANNA)
    assert task.object == "Task"
    assert {
        name: task.fields[name]
        for name in ("Status", "TaskSubtype", "ActivityDate", "OwnerId", "Subject")
    } == {
        "Status": "Completed",
        "TaskSubtype": "Email",
        "ActivityDate": "2026-03-04",
        "OwnerId": ADA,
        "Subject": "The offer",
    }


def test_the_status_is_one_that_closes() -> None:
    """An org that renamed Completed still gets a closed Task."""
    (task,) = drafts(ANNA, org=Org(closed_statuses=("Erledigt", "Storniert")))
    assert task.fields["Status"] == "Erledigt"


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Pacific/Auckland", "2026-03-05"),
        ("America/Los_Angeles", "2026-03-04"),
        ("No/Where", "2026-03-04"),
        (None, "2026-03-04"),
    ],
)
def test_the_day_is_that_of_the_owner(zone: str | None, day: str) -> None:
    """The date is taken in the owner's zone; an unknown zone is UTC."""
    (task,) = drafts(ANNA, zone=zone)
    assert task.fields["ActivityDate"] == day


@pytest.mark.parametrize(
    "date", [None, datetime(1970, 1, 1, tzinfo=UTC), NOON + timedelta(days=3)]
)
def test_an_absurd_date_becomes_the_time_of_receipt(date: datetime | None) -> None:
    """A missing, ancient or future Date header does not date the activity."""
    (task,) = drafts(ANNA, mail=email(to=boxes(ANNA.email_key), date=date))
    assert task.fields["ActivityDate"] == "2026-03-04"


def test_contacts_get_a_task_each_beside_their_opportunity() -> None:
    """Each record is named once: no timeline shows the mail twice."""
    made = drafts(ANNA, BERT, deals=((ANNA, 0), (BERT, 0), (BERT, 1)))
    assert pairs(made) == [(ANNA.id, DEALS[0]), (BERT.id, DEALS[1])]


def test_a_further_opportunity_gets_a_task_of_its_own() -> None:
    """A contact on three deals is named on one Task; each deal has one."""
    made = drafts(ANNA, deals=((ANNA, 0), (ANNA, 1), (ANNA, 2)))
    assert pairs(made) == [(ANNA.id, DEALS[0]), (None, DEALS[1]), (None, DEALS[2])]


def test_a_lead_never_stands_beside_a_what_id() -> None:
    """Salesforce refuses a Task with a Lead and a WhatId."""
    made = drafts(ANNA, LENA, deals=((ANNA, 0),))
    assert pairs(made) == [(ANNA.id, DEALS[0]), (LENA.id, None)]


def test_contacts_share_a_task_with_shared_activities() -> None:
    """One Task for up to 50 contacts, the first one as WhoId."""
    made = drafts(ANNA, BERT, LENA, deals=((BERT, 0),), org=Org(shared_activities=True))
    assert pairs(made) == [(ANNA.id, DEALS[0]), (LENA.id, None)]
    assert made[0].fields["TaskWhoIds"] == [ANNA.id, BERT.id]


def test_shared_tasks_hold_fifty_contacts() -> None:
    """The fifty-first contact starts another Task."""
    many = [contact(n, f"p{n}@one.example", created_at=NOON) for n in range(1, 61)]
    made = drafts(*many, org=Org(shared_activities=True))
    assert [len(task.fields["TaskWhoIds"]) for task in made] == [50, 10]


def test_the_key_is_the_last_line_even_of_a_cut_description() -> None:
    """The key survives however long the mail is, and the field is not overfilled."""
    mail = email(to=boxes(ANNA.email_key), text="😀" * 40_000)
    (task,) = drafts(ANNA, mail=mail)
    text = task.fields["Description"]
    assert text.splitlines()[-1] == f"relay-key: {task.key}"
    assert 31_990 <= units(text) <= 32_000


def test_the_description_names_people_and_attachments() -> None:
    """A Task has no fields for them, so the text opens with them."""
    mail = email(
        to=(Mailbox("Anna", "anna@one.example"),),
        attachments=(Attachment("offer.pdf", "application/pdf", 10),),
    )
    (task,) = drafts(ANNA, mail=mail)
    head = task.fields["Description"].split("\n\n")[0]
    assert head.splitlines() == [
        "From: Ada Rep <ada@corp.example>",
        "To: Anna <anna@one.example>",
        "Date: 2026-03-04 12:00 UTC",
        "Attachments: offer.pdf",
    ]


def test_the_relay_address_is_never_written() -> None:
    """Whoever reads the CRM must not learn the secret address."""
    mail = email(to=boxes(ANNA.email_key, "log-secret@in.relay.example"))
    for mode in Mode:
        (made,) = drafts(ANNA, mail=mail, mode=mode)
        assert "log-secret" not in str(made.fields)


def test_fields_that_may_not_be_set_are_left_out() -> None:
    """A field hidden from our user would be refused as unknown."""
    (task,) = drafts(ANNA, org=Org(hidden=frozenset({"Task.TaskSubtype"})))
    assert "TaskSubtype" not in task.fields


def test_subject_without_text_and_over_length() -> None:
    """An empty subject says so; a long one is cut to what describe gives (D6)."""
    (task,) = drafts(ANNA, mail=email(to=boxes(ANNA.email_key), subject=" \n"))
    assert task.fields["Subject"] == "(no subject)"
    (task,) = drafts(
        ANNA,
        mail=email(to=boxes(ANNA.email_key), subject="s" * 300),
        org=Org(lengths={"Task.Subject": 80}),
    )
    assert len(task.fields["Subject"]) == 80


# ---------------------------------------------------------------- EmailMessage mode


def test_an_email_message_carries_the_people() -> None:
    """People with records go into the id lists, the others into the text lists."""
    mail = email(
        to=boxes(ANNA.email_key, "unknown@four.example", "ben@corp.example"),
        cc=boxes(BERT.email_key),
        html="<p>Hello</p>",
        references=("<0@corp.example>",),
    )
    (made,) = drafts(ANNA, BERT, mail=mail, mode=Mode.EMAIL_MESSAGE, deals=((ANNA, 0),))
    assert made.slot == "email"
    assert dict(made.fields) == {
        "Status": "3",
        "Incoming": False,
        "IsClientManaged": True,
        "MessageDate": "2026-03-04T12:00:00.000Z",
        "MessageIdentifier": "<1@corp.example>",
        "ThreadIdentifier": "<0@corp.example>",
        "Subject": "The offer",
        "TextBody": "Hello",
        "HtmlBody": "<p>Hello</p>",
        "FromAddress": "ada@corp.example",
        "FromName": "Ada Rep",
        "FromId": ADA,
        "ToAddress": "unknown@four.example, ben@corp.example",
        "ToIds": [ANNA.id],
        "CcIds": [BERT.id],
        "RelatedToId": DEALS[0],
    }


def test_further_opportunities_get_tasks() -> None:
    """An EmailMessage relates to one record; the others get a Task each."""
    made = drafts(
        ANNA, mode=Mode.EMAIL_MESSAGE, deals=((ANNA, 0), (ANNA, 1), (ANNA, 2))
    )
    assert made[0].fields["RelatedToId"] == DEALS[0]
    assert pairs(made[1:]) == [(None, DEALS[1]), (None, DEALS[2])]


def test_beside_a_lead_every_opportunity_gets_a_task() -> None:
    """A Lead in the mail leaves RelatedToId empty."""
    made = drafts(ANNA, LENA, mode=Mode.EMAIL_MESSAGE, deals=((ANNA, 0),))
    assert "RelatedToId" not in made[0].fields
    assert pairs(made[1:]) == [(None, DEALS[0])]


def test_address_lists_are_cut_between_addresses() -> None:
    """Half an address would be somebody else's."""
    mail = email(to=boxes(ANNA.email_key, *(f"u{n}@x.example" for n in range(9))))
    org = Org(lengths={"EmailMessage.ToAddress": 30})
    (made,) = drafts(ANNA, mail=mail, mode=Mode.EMAIL_MESSAGE, org=org)
    assert made.fields["ToAddress"] == "u0@x.example, u1@x.example"


@pytest.mark.parametrize(
    "message_id", [None, "<" + "x" * 800 + "@y>", "<" + "\U0001f600" * 400 + "@y>"]
)
def test_a_missing_or_long_message_id_is_replaced(message_id: str | None) -> None:
    """The identity of the mail stands in, so that it can be looked up."""
    assert message_identifier(message_id, "abc") == "<abc@relay.invalid>"


def test_a_message_id_is_measured_by_the_org() -> None:
    """What describe says of the field counts."""
    assert message_identifier("<" + "x" * 800 + "@y>", "abc", 900).startswith("<xx")
    org = Org(lengths={"EmailMessage.MessageIdentifier": 60})
    mail = email(message_id="<" + "x" * 60 + "@y>")
    (made,) = drafts(ANNA, mail=mail, mode=Mode.EMAIL_MESSAGE, org=org)
    assert str(made.fields["MessageIdentifier"]).endswith("@relay.invalid>")


def test_domains_are_written_in_ascii() -> None:
    """Salesforce takes no other form for an address; people read them as they are."""
    mail = email(
        from_=boxes("ada@m\u00fcller.example"),
        to=boxes(ANNA.email_key, "x@b\u00fccher.example", "y@X.example"),
        cc=boxes("z\u00e9@x.example"),
    )
    extras = Extras(fields={"EmailMessage": {"From__c": "{sender}"}})
    (made,) = drafts(ANNA, mail=mail, mode=Mode.EMAIL_MESSAGE, extras=extras)
    assert made.fields["FromAddress"] == "ada@xn--mller-kva.example"
    assert made.fields["From__c"] == made.fields["FromAddress"]
    assert made.fields["ToAddress"] == "x@xn--bcher-kva.example, y@X.example"
    assert made.fields["CcAddress"] == "z\u00e9@x.example"
    (task,) = drafts(ANNA, mail=mail)
    assert "x@b\u00fccher.example" in str(task.fields["Description"])


@pytest.mark.parametrize("mode", Mode)
def test_a_quoted_relay_address_is_masked(mode: Mode) -> None:
    """Subject, text, HTML and names: whoever reads it could log as its user."""
    secret = "log-k7dq2mzx@in.relay.example"
    mail = email(
        subject=f"Re: {secret}",
        text=f"> Cc: {secret}\n" + "long " * 9000,
        html=f'<a href="mailto:{secret}">{secret.replace("@", "&#64;")}</a>',
        from_=(Mailbox(secret, "ada@corp.example"),),
        cc=(Mailbox(f"Kim via {secret}", "kim@x.example"), Mailbox("", secret)),
    )
    made = drafts(
        ANNA,
        mail=mail,
        mode=mode,
        extras=Extras(
            fields={
                each: {"X__c": "{subject} {cc}"} for each in ("Task", "EmailMessage")
            }
        ),
    )
    for record in made:
        assert "k7dq2mzx" not in str(record.fields)
        assert "xxxxxxxxxxxx@in.relay.example" in str(record.fields["Subject"])
        assert str(record.fields["X__c"]).endswith("@in.relay.example kim@x.example")


def test_headers_are_never_written() -> None:
    """Salesforce takes them for incoming mail only, whatever an admin has set."""
    extras = Extras(fields={"EmailMessage": {"Headers": "x", "Key__c": "y"}})
    (made,) = drafts(ANNA, mode=Mode.EMAIL_MESSAGE, extras=extras)
    assert "Headers" not in made.fields
    assert made.fields["Key__c"] == "y"


def test_keys_depend_on_mail_and_slot_alone() -> None:
    """Whoever's copy it is, the key is the same; another slot has another key."""
    assert activity_key("m", "email") == activity_key("m", "email")
    assert len({activity_key(m, s) for m in "ab" for s in ("email", "task:x")}) == 4
    made = drafts(ANNA, BERT, deals=((ANNA, 0), (ANNA, 1)))
    assert len({d.key for d in made}) == len(made)


# ---------------------------------------------------------------- extras


def test_a_field_of_its_own_holds_the_key() -> None:
    """Then the Description ends with the mail; a hidden field is not counted on."""
    extras = Extras(key_fields={"Task": "Key__c"})
    (task,) = drafts(ANNA, extras=extras)
    assert task.fields["Key__c"] == task.key
    assert task.key_field == "Key__c"
    assert "relay-key" not in task.fields["Description"]
    (task,) = drafts(ANNA)
    assert task.key_field is None
    assert task.fields["Description"].endswith(f"relay-key: {task.key}")


def test_a_copy_of_the_key_is_not_its_place() -> None:
    """`{key}` in a field of the admin's makes that field no unique one."""
    copied = {"Task": {"CallObject": "{key}"}}
    (task,) = drafts(ANNA, extras=Extras(fields=copied))
    assert task.fields["CallObject"] == task.key
    assert task.key_field is None
    extras = Extras(fields=copied, key_fields={"Task": "Key__c"})
    (task,) = drafts(ANNA, extras=extras)
    assert task.key_field == "Key__c"


def test_a_draft_knows_whose_records_it_names() -> None:
    """People by address, records by id; the platform's Task goes to the rep."""
    made = drafts(ANNA, BERT, mode=Mode.EMAIL_MESSAGE, deals=((ANNA, 0), (BERT, 1)))
    mail, deal = made
    assert mail.people == (ANNA.email_key, BERT.email_key)
    assert named(mail.fields) == {ANNA.id, BERT.id, DEALS[0]}
    assert (mail.owner, deal.owner) == (ADA, None)
    assert (named(deal.fields), deal.people) == ({DEALS[1]}, ())


def test_colleagues_are_users_not_addresses() -> None:
    """An EmailMessage names them by id, once, where they stand first."""
    bo, cy = "005000000000002AAA", "005000000000003AAA"
    mail = email(
        to=boxes(ANNA.email_key, "bo@corp.example"),
        cc=boxes("bo@corp.example", "cy@corp.example", "x@x.example"),
        bcc=boxes("cy@corp.example", "di@corp.example", "hidden@customer.example"),
    )
    colleagues = {
        "ada@corp.example": ADA,
        "bo@corp.example": bo,
        "cy@corp.example": cy,
        "di@corp.example": "005000000000004AAA",
    }
    (made,) = drafts(
        ANNA, mail=mail, mode=Mode.EMAIL_MESSAGE, extras=Extras(colleagues=colleagues)
    )
    assert made.fields["ToIds"] == [ANNA.id, bo]
    assert made.fields["CcIds"] == [cy]
    assert made.fields["BccIds"] == ["005000000000004AAA"]
    assert made.fields["CcAddress"] == "x@x.example"
    assert "BccAddress" not in made.fields
    assert made.fields["FromId"] == ADA


def test_extra_fields_are_filled_and_cut() -> None:
    """Constants stay, templates are filled, text fits the field."""
    extras = Extras(
        fields={
            "Task": {
                "Priority": "Low",
                "Flag__c": False,
                "Who__c": "{sender} {{{sender_name}}} {to}{cc} {date} {user_id}",
                "Short__c": "{subject}{message_id}{sent_at}{attachments}",
                "Key2__c": "{key}",
                "Hidden__c": "x",
            }
        },
        record_types={"Task": "012000000000001AAA"},
    )
    org = Org(hidden=frozenset({"Task.Hidden__c"}), lengths={"Task.Short__c": 12})
    (task,) = drafts(ANNA, org=org, extras=extras)
    assert task.fields["Priority"] == "Low"
    assert task.fields["Flag__c"] is False
    sender = "ada@corp.example {Ada Rep} anna@one.example"
    assert task.fields["Who__c"] == f"{sender} 2026-03-04 {ADA}"
    assert len(task.fields["Short__c"]) == 12
    assert task.fields["Key2__c"] == task.key
    assert task.fields["RecordTypeId"] == "012000000000001AAA"
    assert "Hidden__c" not in task.fields
    nobody = email(from_=(), to=boxes(ANNA.email_key))
    (task,) = drafts(ANNA, mail=nobody, extras=extras)
    assert task.fields["Who__c"].startswith(" {} anna@one.example")


def test_a_stand_in_owns_and_what_was_refused_stays_out() -> None:
    """An inactive rep's Tasks go to another; a field that was refused is left out."""
    queue = "00G000000000001AAA"
    left_out = frozenset({("Task", "TaskSubtype")})
    extras = Extras(task_owner=queue, left_out=left_out)
    (task,) = drafts(ANNA, extras=extras)
    assert task.fields["OwnerId"] == queue
    assert "TaskSubtype" not in task.fields
    (mail,) = drafts(ANNA, mode=Mode.EMAIL_MESSAGE, extras=extras)
    assert (mail.owner, mail.fields["FromId"]) == (queue, ADA)


# ---------------------------------------------------------------- secrets

SECRET = "log-k7dq2mzx@in.relay.example"
HIDDEN = "xxxxxxxxxxxx@in.relay.example"
DOMAINS = frozenset({"in.relay.example"})


@pytest.mark.parametrize(
    "name", ["{}", "{}.eml", "{}.tar.gz", "for {} now.txt", "a {}.b@c.example.pdf"]
)
def test_file_names(name: str) -> None:
    """With and without an ending, which is no part of the domain."""
    attached = Attachment(name.format(SECRET), "text/plain", 1)
    (file,) = without_secrets(email(attachments=(attached,)), DOMAINS).attachments
    assert "k7dq2mzx" not in file.name
    assert file.name == name.format(HIDDEN)


def test_without_domains_nothing_is_looked_for() -> None:
    """The mail itself comes back."""
    mail = email(subject=SECRET)
    assert without_secrets(mail, frozenset()) is mail
    assert without_secrets(mail, DOMAINS).subject == HIDDEN


# ---------------------------------------------------------------- named by a tag


def tagged(
    *ids: tuple[str, str], who: tuple[Candidate, ...] = (), **more: Any
) -> list[tuple[str, object, object]]:
    """Draft a mail to these people on which these (object, id) are named."""
    persons = [Person(c.email_key, c.email_key, "", Place.TO) for c in who]
    records = {sfid: NamedRecord(sfid, sobject, "") for sobject, sfid in ids}
    held = found(*who)
    match = choose(persons, held, MatchSettings())
    made = draft(
        email(to=boxes(*(p.address for p in persons))),
        with_named(match, list(records), replace(held, records=records)),
        mail_key="m",
        owner=Owner(ADA),
        received_at=NOON,
        **({"mode": Mode.EMAIL_MESSAGE, "org": Org()} | more),
    )
    return [
        (
            d.object,
            d.fields.get("ToIds") or d.fields.get("WhoId"),
            d.fields.get("RelatedToId") or d.fields.get("WhatId"),
        )
        for d in made
    ]


def test_a_named_record_is_what_the_mail_is_about() -> None:
    """An EmailMessage relates to the first, further ones get Tasks."""
    case, deal = ("Case", "500a"), ("Opportunity", "006a")
    assert tagged(case, deal, who=(ANNA,)) == [
        ("EmailMessage", [ANNA.id], "500a"),
        ("Task", None, "006a"),
    ]
    assert tagged(case) == [("EmailMessage", None, "500a")]
    assert tagged(case, deal, who=(ANNA,), mode=Mode.TASK) == [
        ("Task", ANNA.id, "500a"),
        ("Task", None, "006a"),
    ]


def test_a_named_person_has_no_part_in_the_mail() -> None:
    """A Task of its own shows the mail there; a named Lead spoils no RelatedToId."""
    lead_, contact_ = ("Lead", "00Qa"), ("Contact", "003x")
    assert tagged(lead_, contact_, ("Case", "500a"), who=(ANNA,)) == [
        ("EmailMessage", [ANNA.id], "500a"),
        ("Task", "003x", None),
        ("Task", "00Qa", None),
    ]
    assert tagged(lead_, contact_) == [("Task", "003x", None), ("Task", "00Qa", None)]


def test_what_an_email_message_cannot_relate_to_gets_a_task() -> None:
    """The next one is taken for it."""
    org = Org(unrelated=frozenset({"Asset__c"}))
    named_ = (("Asset__c", "a00"), ("Case", "500a"))
    assert tagged(*named_, who=(ANNA,), org=org) == [
        ("EmailMessage", [ANNA.id], "500a"),
        ("Task", None, "a00"),
    ]


# ---------------------------------------------------------------- many people


def to_many(count: int, org: Org, mode: Mode) -> tuple[Draft, ...]:
    """Draft a mail to so many Contacts."""
    people = [contact(1, f"c{n}@x.example", id=f"003{n:015d}") for n in range(count)]
    return drafts(*people, org=org, mode=mode)


@pytest.mark.parametrize("count", [220, 3000])
def test_a_mail_to_many_stays_within_the_limits(count: int) -> None:
    """50 to an EmailMessage and to a shared Task, and everybody exactly once."""
    for org in (Org(shared_activities=True), Org()):
        first, *tasks = to_many(count, org, Mode.EMAIL_MESSAGE)
        assert len(first.fields["ToIds"]) == MAX_RELATIONS
        groups = [t.fields.get("TaskWhoIds") or [t.fields["WhoId"]] for t in tasks]
        assert max(map(len, groups)) == (
            MAX_SHARED_CONTACTS if org.shared_activities else 1
        )
        ids = [*first.fields["ToIds"], *(i for group in groups for i in group)]
        assert sorted(ids) == sorted({f"003{n:015d}" for n in range(count)})
        assert units(first.fields["ToAddress"]) <= 4000
    every = to_many(count, Org(shared_activities=True), Mode.TASK)
    assert len(every) == -(-count // MAX_SHARED_CONTACTS)


def test_people_of_bcc_and_reply_to() -> None:
    """Who is in Bcc stays there; whom an answer goes to got no mail."""
    people = [
        Person("anna@one.example", "anna@one.example", "", Place.BCC),
        Person("bert@two.example", "bert@two.example", "", Place.REPLY_TO),
    ]
    mail, task = draft(
        email(bcc=boxes("anna@one.example"), reply_to=boxes("bert@two.example")),
        choose(people, found(ANNA, BERT), MatchSettings()),
        mail_key="m",
        owner=Owner(ADA),
        mode=Mode.EMAIL_MESSAGE,
        org=Org(),
        received_at=NOON,
    )
    assert mail.fields["BccIds"] == [ANNA.id]
    assert "ToIds" not in mail.fields
    assert (task.object, task.fields["WhoId"]) == ("Task", BERT.id)


# ---------------------------------------------------------------- an open Task


@pytest.mark.parametrize("statuses", [("Not Started", "Waiting"), ()])
def test_an_open_task_names_no_record_and_is_not_closed(
    statuses: tuple[str, ...],
) -> None:
    """Whatever an admin sets for Tasks; Salesforce has a default for the status."""
    constants = {"Status": "Completed", "WhatId": DEALS[0], "CallObject": "{key}"}
    task = open_task(
        email(),
        mail_key="m",
        owner=Owner(ADA),
        org=Org(open_statuses=statuses),  # type: ignore[arg-type]
        received_at=NOON,
        extras=Extras(fields={"Task": constants}),
    )
    assert (task.object, task.slot) == ("Task", "open-task")
    assert task.key == activity_key("m", "open-task")
    assert task.fields.get("Status") == (statuses[0] if statuses else None)
    assert not {"WhoId", "WhatId", "TaskWhoIds"} & task.fields.keys()
    assert task.fields["CallObject"] == task.key
    assert task.fields["OwnerId"] == ADA
    assert task.fields["ActivityDate"] == "2026-03-04"
    assert str(task.fields["Description"]).endswith(f"relay-key: {task.key}")
