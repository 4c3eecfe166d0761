"""Records by id: which questions are asked, and what their rows mean."""

from __future__ import annotations

from dataclasses import replace

from relay.core.ids import record_id
from relay.core.model import NamedRecord
from relay.core.org import FieldInfo, OrgSchema
from relay.salesforce import named
from relay.salesforce.schema import read_objects
from relay.salesforce.soql import Ask

YES = (True,) * 3 + (False,) * 5


def reference(name, *objects):
    return FieldInfo(name, name, "reference", 18, *YES, references=objects)


SCHEMA = OrgSchema(
    {
        "Task": {
            "WhoId": reference("WhoId", "Contact", "Lead"),
            "WhatId": reference("WhatId", "Opportunity", "Case", "Deal__c", "Asset"),
        }
    },
    key_prefixes={"Contact": "003", "Lead": "00Q", "Opportunity": "006", "User": "005"},
)
OTHERS = {"500": "Case", "a0D": "Deal__c", "02i": "Asset", "xyz": "1=1; DROP"}


def sfid(prefix, number=1):
    return record_id(f"{prefix}0000000000{number:02d}")


def test_one_question_for_each_object():
    """Whatever the mails name; what takes no activity is not asked for."""
    ids = [sfid(p) for p in ("006", "500", "a0D", "02i", "005", "xyz", "qqq")]
    asks, unfit = named.plan_named([*ids, sfid("006", 2)], SCHEMA, OTHERS)
    assert [ask.template for ask in asks] == [
        "SELECT Id FROM Asset WHERE Id IN {}",
        "SELECT Id, CaseNumber, IsClosed FROM Case WHERE Id IN {}",
        "SELECT Id, Name FROM Deal__c WHERE Id IN {}",
        "SELECT Id, Name, IsClosed FROM Opportunity WHERE Id IN {}",
    ]
    assert asks[-1].values == (sfid("006"), sfid("006", 2))
    user = sfid("005")
    reason = "nothing can be logged on a record of User"
    assert unfit == {user: NamedRecord(user, "User", "", reason)}


def test_all_objects_are_asked_for_only_where_needed():
    """The list of all objects is a large answer."""
    assert not named.unknown_objects([sfid("003"), sfid("006")], SCHEMA)
    assert named.unknown_objects([sfid("003"), sfid("500")], SCHEMA)


def test_a_hidden_reference_takes_nothing():
    """Without WhatId no record but a person's can be named."""
    fields = {"Task": {"WhoId": reference("WhoId")}}
    schema = replace(SCHEMA, fields=fields)
    assert named.takes_activities("Contact", schema)
    assert not named.takes_activities("Opportunity", schema)


def test_rows_become_records():
    """A converted Lead is its Contact; one without a Contact is unfit."""
    asks, _ = named.plan_named([sfid("00Q"), sfid("006")], SCHEMA, {})
    (leads, deals) = asks
    plain, gone, lost = (sfid("00Q", n) for n in (1, 2, 3))
    rows = [
        {"Id": plain[:15], "Name": "L", "IsConverted": False},
        {
            "Id": gone,
            "Name": "G",
            "IsConverted": True,
            "ConvertedContactId": sfid("003"),
        },
        {"Id": lost, "Name": None, "IsConverted": True, "ConvertedContactId": None},
        {"Id": None},
    ]
    answers = [(leads, rows), (deals, [{"Id": sfid("006"), "Name": "D"}])]
    assert named.read_named(answers) == {
        plain: NamedRecord(plain, "Lead", "L"),
        gone: NamedRecord(sfid("003"), "Contact", "G"),
        lost: NamedRecord(lost, "Lead", "", "the Lead is converted, to no Contact"),
        sfid("006"): NamedRecord(sfid("006"), "Opportunity", "D"),
    }
    unnamed = Ask("SELECT Id FROM Asset WHERE Id IN {}", ())
    (asset,) = named.read_named([(unnamed, [{"Id": sfid("02i")}])]).values()
    assert (asset.object, asset.name) == ("Asset", "")


def test_objects_by_prefix():
    """What cannot be queried, or makes no sense, is left out."""
    listed = [
        {"name": "Case", "keyPrefix": "500", "queryable": True},
        {"name": "Hidden", "keyPrefix": "0xx", "queryable": False},
        {"name": "NoPrefix", "keyPrefix": None, "queryable": True},
        7,
    ]
    assert read_objects({"sobjects": listed}) == {"500": "Case"}
    assert read_objects({"sobjects": None}) == read_objects([]) == {}
