"""Who decides by which way mail goes, and when a copy stands in the way of a record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.copies import Copied
from relay.core.log_by import (
    WHO_DECIDES,
    LogBy,
    WhoDecides,
    by_bcc,
    way_of,
    who_decides,
)
from relay.core.states import ActivityState
from tests.fakes.values import NOON, directory


def decided(word: object, **chosen: str | None):
    """Return a directory in which somebody has decided, and users have chosen."""
    made = directory()
    ways = {1: chosen.get("ada"), 2: chosen.get("ben")}
    users = {i: replace(user, log_by=ways[i]) for i, user in made.users.items()}
    settings = {} if word is None else {WHO_DECIDES: word}
    return replace(made, users=users, settings=settings)


@pytest.mark.parametrize(
    ("word", "decides", "ways", "bcc"),
    [
        (None, WhoDecides.EACH_USER, (LogBy.BCC, LogBy.API), {1}),
        ("each_user", WhoDecides.EACH_USER, (LogBy.BCC, LogBy.API), {1}),
        ("api_only", WhoDecides.API_ONLY, (LogBy.API, LogBy.API), set()),
        ("bcc_only", WhoDecides.BCC_ONLY, (LogBy.BCC, LogBy.BCC), None),
        ("a word of a newer relay", WhoDecides.EACH_USER, (LogBy.BCC, LogBy.API), {1}),
    ],
)
def test_who_decides(word, decides, ways, bcc):
    """D25: an admin for everybody, or each user; the API where nobody has chosen."""
    where = decided(word, ada="bcc")
    assert who_decides(where) is decides
    assert tuple(way_of(where, where.users[i]) for i in (1, 2)) == ways
    assert by_bcc(where) == bcc


@pytest.mark.parametrize(
    ("state", "sent", "asked", "stands"),
    [
        (ActivityState.WRITTEN, 0, 9, True),
        (ActivityState.PLANNED, None, 0, False),
        (ActivityState.REFUSED, 0, 0, False),
        (ActivityState.SENT, 0, 0, True),
        (ActivityState.SENT, None, 0, True),
        (ActivityState.SENT, 0, 1, False),
    ],
)
def test_when_a_copy_stands_in_the_way(state, sent, asked, stands):
    """One that is out, or may be; not where a person has asked since it left."""
    at = None if sent is None else NOON + timedelta(seconds=sent)
    copied = Copied(state, at)
    assert copied.in_the_way(NOON + timedelta(seconds=asked)) is stands
