"""What org, admin and directory add to the drafts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from relay.activity import (
    Extras,
    Mode,
    Owner,
    colleagues,
    draft,
    key_fields,
    record_types,
)
from relay.config import MatchSettings, SalesforceSettings
from relay.core.model import Match, Person, Place
from relay.core.org import FieldInfo, OrgSchema
from relay.diagnose.org import setting_problems
from relay.match import choose
from tests.fakes.values import ADA, NOON, boxes, contact, directory, email, found

if TYPE_CHECKING:
    from relay.core.directory import Directory

BEN = "005000000000002AAA"
ANNA = contact(1, "anna@one.example")


def info(name: str, **changes: object) -> FieldInfo:
    """Return a text field that may be set."""
    known = {
        "type": "string",
        "length": 255,
        "createable": True,
        "updateable": True,
        "filterable": True,
        "nillable": True,
        "defaulted": False,
        "unique": False,
        "external_id": False,
        "restricted": False,
    }
    return FieldInfo(name=name, label=name, **(known | changes))  # type: ignore[arg-type]


def schema(*fields: FieldInfo, sobject: str = "Task", **types: str) -> OrgSchema:
    """Return an org with one object."""
    known = {each.name: each for each in fields}
    return OrgSchema(
        {sobject: known}, frozenset({sobject}), record_types={sobject: types}
    )


def test_only_a_unique_field_holds_keys() -> None:
    """Of the name that is set, and of the objects that have it."""
    section = SalesforceSettings(key_field="Key__c")
    assert key_fields(section, schema(info("Key__c", unique=True))) == {
        "Task": "Key__c"
    }
    assert key_fields(section, schema(info("Key__c"))) == {}
    assert key_fields(SalesforceSettings(key_field=""), schema(info(""))) == {}


def test_what_the_org_does_not_have_is_named() -> None:
    """Each setting with what is wrong; what fits is not mentioned."""
    section = SalesforceSettings(
        record_type={"Task": "Mail"},
        fields={
            "Task": {
                "Good__c": "x {subject}",
                "None__c": "x",
                "Locked__c": "x",
                "Flag__c": "yes",
                "Pick__c": "Blue",
            }
        },
    )
    fields = (
        info("Good__c"),
        info("Locked__c", createable=False),
        info("Flag__c", type="boolean"),
        info("Pick__c", restricted=True, values=("Red",)),
    )
    wrong = dict(setting_problems(section, schema(*fields)))
    assert set(wrong) == {
        "record_type.Task",
        *(f"fields.Task.{n}__c" for n in ("None", "Locked", "Flag", "Pick")),
    }
    section = SalesforceSettings(fields={"EmailMessage": {"Headers": "x"}})
    org = schema(info("Headers"), sobject="EmailMessage")
    assert list(dict(setting_problems(section, org))) == ["fields.EmailMessage.Headers"]


def test_a_record_type_that_may_be_set_is_no_problem() -> None:
    """Known by its developer name."""
    section = SalesforceSettings(record_type={"Task": "Mail"})
    org = schema(info("RecordTypeId"), Mail="012000000000001AAA")
    assert record_types(section, org) == {"Task": "012000000000001AAA"}
    assert record_types(section, schema()) == {}, "the org has no such type"
    assert "record_type.Task" not in dict(setting_problems(section, org))
    assert record_types(section, schema(info("RecordTypeId"))) == {}


def drafted(people: Directory) -> dict[str, object]:
    """Return the EmailMessage of a mail of Ada's to Anna and to Ben."""
    names = ("ToIds", "FromId", "ToAddress")
    org = schema(*(info(name) for name in names), sobject="EmailMessage")
    person = Person(ANNA.email_key, ANNA.email_key, "", Place.TO)
    match: Match = choose([person], found(ANNA), MatchSettings())
    (made,) = draft(
        email(to=boxes(ANNA.email_key, "ben@corp.example")),
        match,
        mail_key="m",
        owner=Owner(ADA),
        mode=Mode.EMAIL_MESSAGE,
        org=org,
        received_at=NOON,
        extras=Extras(colleagues=colleagues(people)),
    )
    return dict(made.fields)


def test_colleagues_come_from_the_directory() -> None:
    """Active users with a Salesforce id; a mailbox is its own user's."""
    people = directory()
    ben = replace(people.users[2], salesforce_id=BEN)
    accepted = {1: frozenset({"*@corp.example"}), 2: frozenset({"ada@corp.example"})}
    people = replace(people, users=people.users | {2: ben}, accepted=accepted)  # type: ignore[operator]
    made = drafted(people)
    assert made["ToIds"] == [ANNA.id, BEN]
    assert made["FromId"] == ADA
    assert "ToAddress" not in made
    gone = replace(people, users=people.users | {2: replace(ben, active=False)})  # type: ignore[operator]
    assert drafted(gone)["ToIds"] == [ANNA.id]


def test_the_mailbox_of_a_delegate_is_no_colleague() -> None:
    """An EmailMessage must not name the rep where the assistant takes part."""
    people = directory(accepted=("ada@corp.example", "office@corp.example"))
    people = replace(people, delegates={1: {"office@corp.example": "Carol"}})
    assert colleagues(people) == {"ada@corp.example": ADA}
