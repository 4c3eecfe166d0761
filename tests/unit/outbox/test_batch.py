"""Which item of a batch is at fault: halving, and what is taken for all."""

from __future__ import annotations

import pytest

from relay.core.errors import (
    ActivityRefused,
    OrgPaused,
    RecordLocked,
    SalesforceDown,
    SalesforceUnavailable,
    StoreUnavailable,
)
from relay.outbox.batch import PASSES, Isolation, SpoiltBatchError, may_be_one


@pytest.mark.parametrize(
    ("error", "one"),
    [
        (None, False),
        (OrgPaused("quota"), False),
        (SalesforceDown("no answer"), False),
        (StoreUnavailable("down"), False),
        (RecordLocked("busy"), False),
        (SalesforceUnavailable("odd"), True),
        (ActivityRefused("MALFORMED_QUERY", "no"), True),
        (SpoiltBatchError("odd"), True),
        (ValueError("a fault of ours"), True),
    ],
)
def test_what_may_be_one_items_fault(error: Exception | None, *, one: bool) -> None:
    """What holds for the whole org is not looked for in one item."""
    assert may_be_one(error) is one
    if error is not None:
        assert bool(Isolation().halves([1, 2, 3], error)) is one


def test_a_batch_is_halved_until_one_is_left() -> None:
    """Nothing is lost between the halves; one alone is not cut."""
    isolation, error = Isolation(), ValueError("odd")
    assert isolation.halves([1, 2, 3], error) == [[1, 2], [3]]
    assert isolation.halves([1, 2], error) == [[1], [2]]
    assert isolation.halves([1], error) == isolation.halves([], error) == []
    assert isolation.left == PASSES


def test_failures_of_salesforce_cost_passes() -> None:
    """They end: each half makes calls of its own. A fault of ours costs none."""
    isolation, error = Isolation(1), SalesforceUnavailable("odd")
    assert isolation.halves([1, 2], error)
    assert isolation.halves([1, 2], error) == []
    assert isolation.halves([1, 2], ValueError("odd"))
