"""Whether the reps' Tasks can be read is words with what comes of it."""

from __future__ import annotations

import pytest

from relay.config import SalesforceSettings
from relay.diagnose import Level
from relay.diagnose.org import visible
from relay.salesforce import OrgSchema

SECTION = SalesforceSettings(key_field="")


@pytest.mark.parametrize(
    ("owners", "blind", "result", "words"),
    [
        (0, 0, Level.OK, "not proven yet"),
        (3, 0, Level.OK, "all 3 reps"),
        (3, 1, Level.FAIL, "of 1 of 3 reps"),
    ],
)
def test_what_is_said(owners: int, blind: int, result: Level, words: str) -> None:
    """Only reps whose Tasks were tried and not one was read are a failure."""
    finding = visible(SECTION, OrgSchema({"Task": {}}), owners, blind)
    assert (finding.level, words in finding.text) == (result, True)
    assert ("View All Data" in finding.hint) is (result is Level.FAIL)
