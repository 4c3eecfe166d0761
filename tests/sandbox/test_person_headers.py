"""The headers that say what rules hold for a new Lead or Contact are read strictly."""

from __future__ import annotations

import pytest

from relay.sandbox.answers import NOTHING, Call
from relay.sandbox.errors import SandboxError


def caller(**headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Call("POST", "66.0", (), {}, names, NOTHING, "005").caller()


def test_rules_hold_unless_a_header_says_otherwise():
    """As the REST guide has it: assignment rules on, no duplicate saved."""
    made = caller()
    assert made.auto_assign
    assert not made.allow_duplicates
    assert not caller(sforce_auto_assign="FALSE").auto_assign
    assert caller(sforce_auto_assign="01Q000000000001").auto_assign
    header = "allowSave=true; includeRecordDetails=false; runAsCurrentUser=true"
    assert caller(sforce_duplicate_rule_header=header).allow_duplicates


@pytest.mark.parametrize(
    "headers",
    [
        {"sforce_auto_assign": "no"},
        {"sforce_auto_assign": "001000000000001AAA"},
        {"sforce_duplicate_rule_header": "allowSave"},
        {"sforce_duplicate_rule_header": "allowSave=yes"},
        {"sforce_duplicate_rule_header": "saveAnyway=true"},
    ],
)
def test_what_is_not_understood_is_refused(headers):
    """A misspelt header must not pass for one that was heeded."""
    with pytest.raises(SandboxError):
        caller(**headers)
