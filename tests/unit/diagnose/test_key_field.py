"""`relay setup salesforce`: the metadata of the key fields, and what describe shows."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from relay.config import SalesforceSettings
from relay.diagnose import Level
from relay.diagnose import org as diagnose
from relay.salesforce import FieldInfo, OrgSchema
from relay.salesforce.schema import key_field_files

NAME = "Relay_Key__c"
KEY = FieldInfo(
    name=NAME,
    label="Relay Key",
    type="string",
    length=40,
    createable=True,
    updateable=True,
    filterable=True,
    nillable=True,
    defaulted=False,
    unique=True,
    external_id=True,
    restricted=False,
)
SPACE = "{http://soap.sforce.com/2006/04/metadata}"


def schema(info: FieldInfo | None = KEY) -> OrgSchema:
    """Return an org whose Tasks have this field."""
    return OrgSchema({"Task": {NAME: info} if info else {}}, frozenset({"Task"}))


def test_the_package_names_what_its_files_hold() -> None:
    """Each member of package.xml has its file, and each file is XML."""
    made = {
        name: ET.fromstring(text)
        for name, text in key_field_files(NAME, "66.0").items()
    }
    members = {m.text for m in made["package.xml"].iter(f"{SPACE}members")}
    assert members == {f"Activity.{NAME}", f"EmailMessage.{NAME}", "Relay_Keys"}
    for name in ("Activity", "EmailMessage"):
        (field,) = made[f"objects/{name}.object"].iter(f"{SPACE}fields")
        told = {child.tag.removeprefix(SPACE): child.text for child in field}
        assert told["fullName"] == NAME
        assert (told["type"], told["length"]) == ("Text", "40")
        assert (told["unique"], told["externalId"]) == ("true", "true")
    seen = made["permissionsets/Relay_Keys.permissionset"].iter(f"{SPACE}field")
    assert {each.text for each in seen} == {
        f"{name}.{NAME}" for name in ("Task", "Event", "EmailMessage")
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unique": False}, "not unique"),
        ({"createable": False}, "may not be set"),
        ({"length": 39}, "shorter than 40"),
    ],
)
def test_a_field_that_cannot_hold_keys_is_named(
    changes: dict[str, object], words: str
) -> None:
    """What it lacks is said, and the writing check does not count on it."""
    org = schema(replace(KEY, **changes))  # type: ignore[arg-type]
    finding = diagnose.key_field(org, "Task", NAME)
    assert (finding.level, words in finding.text) == (Level.FAIL, True)
    (key,) = diagnose.keys(SalesforceSettings(), org)
    assert key.level is Level.WARN
    assert "last line of Description" in key.text


def test_a_fitting_field_and_a_missing_one() -> None:
    """Both commands tell them apart; no EmailMessage needs no field."""
    assert diagnose.key_field(schema(), "Task", NAME).level is Level.OK
    assert diagnose.key_field(schema(), "EmailMessage", NAME).level is Level.OK
    missing = diagnose.key_field(schema(None), "Task", NAME)
    # What the relay does without is no failure, as in `relay check`.
    assert missing.level is Level.WARN
    assert "optional" in missing.text
    (key,) = diagnose.keys(SalesforceSettings(), schema())
    assert key.text == f"in the unique field {NAME}"
    (key,) = diagnose.keys(SalesforceSettings(), schema(None))
    assert key.level is Level.OK
