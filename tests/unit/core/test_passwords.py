"""App passwords: random, hashed with salt, read as people type them."""

from __future__ import annotations

import re

import pytest

from relay.core.passwords import hash_password, new_password, verify_password


def test_passwords_are_random_and_easy_to_type():
    """Five groups of four letters that cannot be taken for others; never one twice."""
    made = {new_password() for _ in range(100)}
    assert len(made) == 100
    for password in made:
        assert re.fullmatch(r"(?:[a-km-z2-79]{4}-){4}[a-km-z2-79]{4}", password)


def test_a_hash_fits_its_password_alone():
    """Case, blanks and hyphens do not matter; another letter does; salts differ."""
    kept = hash_password("abcd-efgh")
    assert kept.startswith("scrypt$14$8$1$")
    assert "abcd" not in kept
    assert verify_password("abcd-efgh", kept)
    assert verify_password(" ABCD efgh", kept)
    assert not verify_password("abcd-efgi", kept)
    assert not verify_password("", kept)
    assert hash_password("abcd-efgh") != kept


@pytest.mark.parametrize(
    "kept",
    ["", "abcd", "scrypt$14$8$1$$", "md5$14$8$1$AA==$AA==", "scrypt$x$8$1$AA==$AA==",
     "scrypt$40$8$1$AA==$AA==", "scrypt$14$8$1$A$A"],
)  # fmt: skip
def test_what_is_no_hash_fits_nothing(kept):
    """A damaged row lets nobody in, and breaks nothing."""
    assert not verify_password("abcd", kept)
