"""Record ids of the sandbox."""

from __future__ import annotations

import pytest

from relay.core.ids import record_id
from relay.sandbox.state import IdMint
from relay.sandbox.values import read_id

KNOWN = "001R0000006hfeZIAQ"


def test_minted_ids_are_valid_distinct_and_in_a_fixed_order():
    """Every id has its checksum; another mint makes the same ones."""
    one, two = IdMint(), IdMint()
    ids = [one.new("00T") for _ in range(500)]
    assert len(set(ids)) == 500
    assert len({each.lower() for each in ids}) == 500
    assert all(record_id(each) == each for each in ids)
    assert ids == [two.new("00T") for _ in range(500)]


@pytest.mark.parametrize("text", [KNOWN, KNOWN[:15], KNOWN.lower(), KNOWN.upper()])
def test_an_id_is_read_in_every_form_of_it(text):
    """15 characters, 18, and 18 that a system without case has folded."""
    assert read_id(text) == KNOWN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zzz",
        "001900K0001pPuOAAU",
        KNOWN[:17],
        KNOWN + "A",
        KNOWN[:15] + "IAA",
        KNOWN[:14].lower() + KNOWN[14:],
        "//evil.example/x",
        "001R0000006hfe\n",
        "001R0000006hf\u00e9Z",
        "001r0000006hfez9aq",
        "001r0000006hfez01!",
    ],
)
def test_what_is_no_id_is_none(text):
    """Wrong checksums, lengths, characters and half-folded ids."""
    assert read_id(text) is None
