"""What the values of sender authentication say of themselves."""

from __future__ import annotations

import pytest

from relay.core.authentication import DMARCCheck, Result, Signature


@pytest.mark.parametrize(
    ("result", "covers", "counts"),
    [
        (Result.PASS, True, True),
        (Result.PASS, False, False),
        (Result.POLICY, True, False),
        (Result.FAIL, True, False),
    ],
)
def test_signature_counts_if_good_and_covering(result, covers, counts):
    """A genuine signature that leaves a field open proves nothing of the mail."""
    assert Signature("a.example", "s", result, covers=covers).counts is counts


@pytest.mark.parametrize(
    ("policy", "testing", "effective"),
    [
        ("reject", False, "reject"),
        ("reject", True, "quarantine"),
        ("quarantine", True, "none"),
        ("none", True, "none"),
        ("", True, ""),
    ],
)
def test_testing_lowers_the_policy(policy, testing, effective):
    """RFC 9989 section 4.7: `t=y` asks for one level less."""
    found = DMARCCheck("a.example", Result.FAIL, policy=policy, testing=testing)
    assert found.effective_policy == effective
