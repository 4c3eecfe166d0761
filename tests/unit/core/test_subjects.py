"""The template of activity subjects: its fields, and nothing else."""

from __future__ import annotations

import pytest

from relay.core import subjects

VALUES = {"activity_type": "Email", "activity_subject": "An offer"}


@pytest.mark.parametrize(
    ("rule", "template", "filled"),
    [
        ("D2", "Constant text", "Constant text"),
        ("D3", "{{activity_type}}: {{activity_subject}}", "Email: An offer"),
        ("D4", "{{sales_campaign_name}}{{activity_subject}}", "An offer"),
        ("D4", "a {{call_outcome}} b", "a b"),
        ("D5", "one\r\n{{activity_subject}}\ntwo", "one An offer two"),
        ("D8", "{{Activity_type}} {{ ACTIVITY_SUBJECT }}", "Email An offer"),
        ("D9", "[CRM] {{activity_subject}}", "[CRM] An offer"),
        ("D2", "{single} } braces are text", "{single} } braces are text"),
    ],
)
def test_a_template_is_filled(rule: str, template: str, filled: str) -> None:
    """Fields in double braces have their values; all else stands as it is."""
    assert subjects.problem(template) is None, rule
    assert subjects.fill(template, VALUES) == filled, rule


@pytest.mark.parametrize("name", list(subjects.FIELDS))
def test_every_field_of_the_rules_is_known(name: str) -> None:
    """D3 names seven, in any case (D8)."""
    assert subjects.problem(f"{{{{{name.upper()}}}}}") is None
    assert len(subjects.FIELDS) == 7


def test_a_name_that_is_unknown_is_refused_with_those_that_are_known() -> None:
    """Whoever mistypes a field reads what there is."""
    text, hint = subjects.problem("x {{ activity_subjet }}") or ("", "")
    assert text == "has no field {{activity_subjet}}"
    assert all(name in hint for name in subjects.FIELDS)


@pytest.mark.parametrize("template", ["{{", "}}", "{{activity_subject}", "{{a{b}}}"])
def test_braces_that_are_no_field_are_refused(template: str) -> None:
    """A field that was begun and not ended would stand in every subject."""
    assert subjects.problem(template)


def test_a_value_is_no_template() -> None:
    """What a stranger writes into a subject stays what it is."""
    values = {"activity_subject": "{{activity_type}}", "activity_type": "Email"}
    assert subjects.fill("{{activity_subject}}", values) == "{{activity_type}}"


@pytest.mark.parametrize(
    ("template", "shows"),
    [
        ("", True),
        ("{{Activity_Subject}}", True),
        ("[x] {{activity_type}}", False),
        ("activity_subject", False),
    ],
)
def test_whether_a_template_shows_the_subject(template: str, *, shows: bool) -> None:
    """R33: a name that was changed goes into the Subject only if it stands in it."""
    assert subjects.shows_subject(template) is shows
