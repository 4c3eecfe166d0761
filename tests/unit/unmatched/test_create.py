"""The fields of a new record: what is required is always filled, and sensibly."""

from __future__ import annotations

import pytest

from relay.core.model import Person, Place
from relay.core.org import FieldInfo, OrgSchema
from relay.unmatched.create import fields_of, key_of

NAMES = ("FirstName", "LastName", "Email", "Company", "OwnerId", "AccountId")
YES = (True, True, True, True, False, False, False, False)
SCHEMA = OrgSchema(
    {
        name: {n: FieldInfo(n, n, "string", 20, *YES) for n in NAMES}
        for name in ("Lead", "Contact")
    }
)


@pytest.mark.parametrize(
    ("address", "name", "first", "last", "company"),
    [
        ("zoe@new.example", "Zoe Pine", "Zoe", "Pine", "New"),
        ("zoe@new.example", "Pine, Zoe M.", "Zoe M", "Pine", "New"),
        ("zoe.pine@new-foods.de", "", "Zoe", "Pine", "New Foods"),
        ("info@new.example", "", None, "Info", "New"),
        ("zoe@new.example", "zoe@new.example", None, "Zoe", "New"),
        ("1234@new.example", "", None, "1234", "New"),
        ("z.pine77@gmail.com", "Zoe Pine", "Zoe", "Pine", "Zoe Pine"),
        ("o'neil@x.example", "Sam O'Neil", "Sam", "O'Neil", "X"),
        ("x@y.example", "\x00\x1b", None, "X", "Y"),
        ("x@y.example", "A" * 50, None, "A" * 20, "Y"),
    ],
)
def test_a_lead_has_a_name_and_a_company(address, name, first, last, company):
    """From the display name, else from the address; cut to what the org holds."""
    fields = fields_of(Person(address, address, name, Place.TO), "Lead", SCHEMA)
    assert fields.get("FirstName") == first
    assert (fields["LastName"], fields["Company"]) == (last, company)
    assert fields["Email"] == address[:20]


def test_a_contact_has_an_account_where_one_is_named():
    """And an owner; what our user may not set is left out."""
    person = Person("zoe@new.example", "zoe@new.example", "Zoe", Place.TO)
    fields = fields_of(person, "Contact", SCHEMA, owner="005", account="001")
    assert fields == {
        "LastName": "Zoe",
        "Email": "zoe@new.example",
        "OwnerId": "005",
        "AccountId": "001",
    }
    assert fields_of(person, "Contact", OrgSchema({"Contact": {}})) == {}


def test_an_address_has_one_key():
    """Whatever is made for it."""
    assert key_of("a@b.example") == key_of("a@b.example") != key_of("b@b.example")
    assert len(key_of("a@b.example")) == 40
