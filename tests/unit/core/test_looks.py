"""What an address looks like, to an admin who is about to accept it."""

from __future__ import annotations

import pytest

from relay.core.addresses import address_key
from relay.core.looks import drawn, glanced, looks_like, mixed_scripts, scripts

KNOWN = ("ada@corp.example", "*@modern.example")


def key(address: str) -> str:
    """Return the key of an address."""
    found = address_key(address)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("ada@\u0441orp.example", "ada@corp.example"),
        ("other@c\u043erp.example", "ada@corp.example"),
        ("ada@c0rp.example", "ada@corp.example"),
        ("x@rnodern.example", "*@modern.example"),
        ("ada@corp.example", ""),
        ("ben@corp.example", ""),
        ("ada@corporate.example", ""),
        ("ada@sub.corp.example", ""),
    ],
)
def test_domains_that_are_taken_for_known_ones(address: str, known: str) -> None:
    """The same domain looks like itself, and is no look-alike."""
    assert looks_like(key(address), KNOWN) == known


@pytest.mark.parametrize(
    ("address", "mixed"),
    [
        ("ada@p\u0430ypal.example", {"LATIN", "CYRILLIC"}),
        ("\u0430da@corp.example", {"LATIN", "CYRILLIC"}),
        ("\u0438\u0432\u0430\u043d@\u043f\u043e\u0447\u0442\u0430.example", set()),
        ("j\u00fcrgen@b\u00fccher.example", set()),
        ("\u592a\u90ce@\u3042\u65e5\u672c.example", set()),
        ("a1-b_c@corp2.example", set()),
    ],
)
def test_scripts_are_mixed_within_one_part_alone(address: str, mixed: set[str]) -> None:
    """A Cyrillic name at a Latin domain is honest."""
    assert mixed_scripts(key(address)) == mixed


def test_scripts_of_a_text() -> None:
    """Digits and marks have none."""
    assert scripts("a1-\u03b1") == {"LATIN", "GREEK"}
    assert scripts("12-") == set()


def test_drawn_and_glanced() -> None:
    """The first by shape alone, the second as a person reads who is in a hurry."""
    assert drawn(key("ada@\u0441orp.example")) == "ada@corp.example"
    assert drawn("a1@c0rp.example") == "a1@c0rp.example"
    assert glanced("a1@c0rp.example") == glanced("al@corp.example")
