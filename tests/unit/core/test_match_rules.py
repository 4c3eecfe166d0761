"""Rules and conditions of an admin: what can stand in a query, and what cannot."""

from __future__ import annotations

import pytest

from relay.core.match_rules import FieldRule, condition_problem, read_field_rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Case.ContactId", FieldRule("Case", "ContactId")),
        (" Case.ContactId :  open ", FieldRule("Case", "ContactId", only_open=True)),
        (
            "A__c.B__c: newest open",
            FieldRule("A__c", "B__c", only_open=True, newest=True),
        ),
    ],
)
def test_a_rule_is_read_and_written(text: str, rule: FieldRule) -> None:
    """Words in any order; written, it is read as the same rule."""
    assert read_field_rule(text) == rule
    assert read_field_rule(str(rule)) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Case",
        "Case.",
        "Case.ContactId: closed",
        "Case.ContactId open",
        "Case.Contact.Name",
        "1.x",
        "Case.ContactId; DROP",
        "Case.ContactId:",
        "Cäse.X",
        "A." + "x" * 81,
    ],
)
def test_what_is_no_rule(text: str) -> None:
    """An object, a field, and known words are all that there is."""
    with pytest.raises(ValueError, match=r".*") as caught:
        read_field_rule(text)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "text",
    [
        "Status__c = 'Active'",
        "(A = 1 OR B = 2) AND NOT (C LIKE '%x')",
        "Name = 'O\\'Neill; LIMIT 1) OR (x'",
        "Id IN (SELECT ContactId FROM Case WHERE IsClosed = false)",
        "Order__c = 'order by' AND Limit__c > 1",
        "",
    ],
)
def test_a_condition_that_stays_in_its_brackets(text: str) -> None:
    """What stands in quotes is a value, whatever it holds."""
    assert condition_problem(text) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A = 1) OR (B = 2", "closes a bracket that it did not open"),
        ("(A = 1", "has a bracket that is not closed"),
        ("A = 'x", "has a quote that is not closed"),
        ("A = 'x\\'", "has a quote that is not closed"),
        ("A = \u2018x\u2019", "has the quote \u2018, and SOQL knows ' alone"),
        ('A = "x"', "has the quote \", and SOQL knows ' alone"),
        ("A = \\') OR (B = '", "has a backslash outside of quotes"),
        ("A = 1; B = 2", "holds a semicolon"),
        ("A = 1 limit 5", "holds LIMIT, which is no condition"),
        ("A = 1 ORDER  by Name", "holds ORDER BY, which is no condition"),
        ("A = 1 FOR VIEW", "holds FOR VIEW, which is no condition"),
        ("A = 1 ALL ROWS", "holds ALL ROWS, which is no condition"),
        ("A = 1\nAND B = 2", "holds control characters or line ends"),
        ("A = '" + "x" * 2000 + "'", "is longer than 2000 characters"),
    ],
)
def test_a_condition_that_could_leave_its_brackets(text: str, problem: str) -> None:
    """It is refused before the org is asked."""
    assert condition_problem(text) == problem
