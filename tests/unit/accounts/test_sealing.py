"""Secrets of code apps at rest: sealed by the key, for their user alone."""

from __future__ import annotations

import pytest

from relay.accounts.sealing import Sealer, Unreadable

SECRET = "JBSWY3DPEHPK3PXP"
ONE, OTHER = (Sealer(letter * 32) for letter in "ab")
NONE = Sealer(None)


def test_a_secret_is_opened_by_its_key_for_its_user() -> None:
    """What is kept tells nothing of it, and is another each time."""
    kept = ONE.seal(7, SECRET)
    assert SECRET not in kept
    assert kept != ONE.seal(7, SECRET)
    assert ONE.open(7, kept) == SECRET
    assert not ONE.is_to_seal(kept)
    for sealer, user in ((OTHER, 7), (NONE, 7), (ONE, 8)):
        with pytest.raises(Unreadable):
            sealer.open(user, kept)
    with pytest.raises(Unreadable):
        ONE.open(7, kept[:-4])


def test_without_a_key_it_is_kept_as_it_is() -> None:
    """And a key that comes later seals it."""
    kept = NONE.seal(7, SECRET)
    assert kept == SECRET
    assert NONE.open(7, kept) == ONE.open(7, kept) == SECRET
    assert ONE.is_to_seal(kept)
    assert not NONE.is_to_seal(kept)
