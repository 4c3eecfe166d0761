"""Whether the reps' Tasks can be read is told with what comes of it."""

from __future__ import annotations

import pytest

from relay.cli.check_sight import judged
from relay.cli.finding import Result
from relay.config import SalesforceSettings
from relay.salesforce import OrgShape

SECTION = SalesforceSettings(key_field="")


@pytest.mark.parametrize(
    ("owners", "blind", "result", "told"),
    [
        (0, 0, Result.OK, "not proven yet"),
        (3, 0, Result.OK, "all 3 reps"),
        (3, 1, Result.FAIL, "of 1 of 3 reps"),
    ],
)
def test_what_is_said(owners: int, blind: int, result: Result, told: str) -> None:
    """Only reps whose Tasks were tried and not one was read are a failure."""
    finding = judged(SECTION, OrgShape({"Task": {}}), owners, blind)
    assert (finding.result, told in finding.detail) == (result, True)
    assert ("View All Data" in finding.mend) is (result is Result.FAIL)
