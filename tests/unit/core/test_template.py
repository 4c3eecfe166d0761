"""Templates: placeholders, braces, and nothing else."""

from __future__ import annotations

import pytest

from relay.core import template


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain", "plain"),
        ("{subject}!", "Hi!"),
        ("{{{subject}}}", "{Hi}"),
        ("{{subject}}", "{subject}"),
        ("{to}{cc}", ""),
    ],
)
def test_what_is_in_braces_is_put_in(text: str, filled: str) -> None:
    """A name without a value is empty; doubled braces are braces."""
    assert template.problem(text) is None
    assert template.fill(text, {"subject": "Hi"}) == filled


@pytest.mark.parametrize(
    "text", ["{", "}", "{subject", "a}b", "{}", "{subject.x}", "{subject!r}", "{0}"]
)
def test_nothing_else_is_a_template(text: str) -> None:
    """No formats, no attributes, no single braces."""
    assert template.problem(text)


def test_a_value_is_not_a_template() -> None:
    """What a stranger writes into a subject stays what it is."""
    assert template.fill("{subject}", {"subject": "{to}", "to": "x"}) == "{to}"
