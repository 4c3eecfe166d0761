"""Which record counts as the relay's, and what may be written again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relay.reconcile.report import Difference, Kind, Whose, absent, whose
from relay.salesforce.model import KeyedRecord

ME = "005000000000001AAA"
REP = "005000000000002AAA"
NOW = datetime(2026, 3, 4, tzinfo=UTC)
YOUNG = NOW - timedelta(days=14)
OLD = NOW - timedelta(days=16)


def record(
    *keys: str,
    by: str | None = ME,
    changed_by: str | None = ME,
    at: datetime = YOUNG - timedelta(days=30),
    title: str = "Offer",
) -> KeyedRecord:
    """Return a record with these keys."""
    carried = frozenset(keys)
    return KeyedRecord("00T000000000001AAA", False, carried, by, changed_by, at, title)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (record("k"), Whose.OURS),
        (record("other", "<id>"), Whose.OURS),
        (record("k", by=REP, changed_by=REP), Whose.OURS),
        (record("other"), Whose.FOREIGN),
        (record("other", changed_by=REP), Whose.FOREIGN),
        (record(), Whose.FOREIGN),
        (record(changed_by=None), Whose.FOREIGN),
        (record(changed_by=REP), Whose.OURS),
        (record(by=REP, changed_by=REP), Whose.NOT_PROVEN),
        (record(by=REP, changed_by=ME), Whose.NOT_PROVEN),
        # An automation took the key away, or another user was the relay's then.
        (record(at=YOUNG), Whose.OURS),
        (record(at=YOUNG, by=REP, changed_by=REP), Whose.OURS),
        (record(at=YOUNG, title="Other"), Whose.NOT_PROVEN),
        (record("other", at=YOUNG), Whose.FOREIGN),
    ],
)
def test_a_record_is_known_by_its_key(found: KeyedRecord, verdict: Whose) -> None:
    """Any key decides; without one, time and title, or an edit that took it away."""
    known = {"k", "<id>", ""}
    assert whose(found, known, ME, sent_at=YOUNG, title=" Offer") is verdict


@pytest.mark.parametrize(
    ("verdict", "sent_at", "since", "kind", "repairable"),
    [
        (None, YOUNG, None, Kind.MISSING, True),
        (None, OLD, None, Kind.MISSING, False),
        (None, OLD, OLD, Kind.MISSING, True),
        (None, None, None, Kind.MISSING, False),
        (Whose.FOREIGN, YOUNG, None, Kind.FOREIGN, True),
        (Whose.FOREIGN, OLD, None, Kind.FOREIGN, False),
        (Whose.FOREIGN, OLD, OLD, Kind.FOREIGN, True),
        (Whose.NOT_PROVEN, YOUNG, None, Kind.FOREIGN, False),
        (Whose.NOT_PROVEN, OLD, OLD, Kind.FOREIGN, True),
    ],
)
def test_only_what_is_surely_absent_is_written_again(
    verdict: Whose | None,
    sent_at: datetime | None,
    since: datetime | None,
    kind: Kind,
    *,
    repairable: bool,
) -> None:
    """What may be there, or was deleted long ago, waits until a time is named."""
    found, detail, may = absent(verdict, sent_at, NOW, since)
    assert (found, may) == (kind, repairable)
    assert ("--since" in detail) is not (repairable and verdict is not Whose.NOT_PROVEN)


def test_a_difference_is_left_until_it_is_repaired() -> None:
    """A deletion is somebody's wish and no work for anybody."""
    assert Difference(Kind.FOREIGN, "Task", "k", ("id",)).left
    assert not Difference(Kind.FOREIGN, "Task", "k", ("id",), repaired=True).left
    assert not Difference(Kind.DELETED, "Task", "k", ("id",)).left
