"""`relay check` says whether attachments can become Files."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from relay.config import SalesforceSettings
from relay.diagnose.org import writing
from relay.salesforce import OrgSchema

LOCATION = SimpleNamespace(createable=True)
WHOLE = OrgSchema(
    {"ContentVersion": {"FirstPublishLocationId": LOCATION}},  # type: ignore[dict-item]
    frozenset({"ContentVersion"}),
)
BARE = OrgSchema({}, frozenset({"ContentVersion"}))


@pytest.mark.parametrize(
    ("shape", "attach", "result", "detail"),
    [
        (WHOLE, True, "ok", "attachments become Files"),
        (BARE, True, "ok", "a call of their own"),
        (OrgSchema({}), True, "warn", "may not be created"),
        (OrgSchema({}), False, "ok", "off"),
    ],
)
def test_files_are_checked(
    shape: OrgSchema, *, attach: bool, result: str, detail: str
) -> None:
    """What the org allows, and what the settings want."""
    section = SalesforceSettings(files_attach=attach)
    (found,) = (f for f in writing(section, shape) if f.area == "files")
    assert str(found.level) == result
    assert detail in found.text
