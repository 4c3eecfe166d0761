"""The one syntax in which people say which mails they mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import InvalidInput
from relay.core.filters import (
    KEYS,
    LONGEST,
    STATES,
    Filter,
    parse,
    pieces,
    read_condition,
    read_time,
    write,
)

NOW = datetime(2026, 11, 30, 15, 30, tzinfo=UTC)


def at(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", Filter()),
        ("  ", Filter()),
        ("offer", Filter(text=("offer",))),
        ("two words", Filter(text=("two", "words"))),
        ('"two  words"', Filter(text=("two words",))),
        ("a,b", Filter(text=("a,b",))),
        ("text:a,b", Filter(text=("a,b",))),
        ("state:dead", Filter(state=("dead",))),
        ("State:DEAD state:held", Filter(state=("dead", "held"))),
        ("state:dead,held,dead", Filter(state=("dead", "held"))),
        ("state:refused", Filter(state=("refused",))),
        ('user:"Ada Rep" user:b@c.d', Filter(user=("Ada Rep", "b@c.d"))),
        ('user:"Rep, Ada"', Filter(user=("Rep, Ada",))),
        ("domain:@Acme.COM domain:*@b.de", Filter(domain=("acme.com", "b.de"))),
        ("message-id:<a@b> message_id:c@d", Filter(message_id=("<a@b>", "<c@d>"))),
        (r'"say \"hi\" \\ twice"', Filter(text=(r'say "hi" \ twice',))),
        ("cause:S501 reason:loop", Filter(cause=("S501",), reason=("loop",))),
        ("id:01m8px50R9 x", Filter(id=("01m8px50r9",), text=("x",))),
        ("01m8px50r96b3qqkjqf1nkjddx", Filter(id=("01m8px50r96b3qqkjqf1nkjddx",))),
        ("01m8px50r96b3", Filter(id=("01m8px50r96b3",))),
        ('"01m8px50r96b3"', Filter(text=("01m8px50r96b3",))),
        ("0123456789012 01m8px50", Filter(text=("0123456789012", "01m8px50"))),
        ("since:2h", Filter(since=NOW - timedelta(hours=2))),
        (
            "since:2026-11-29T10:00 until:2026-11-29T11:00",
            Filter(since=at(2026, 11, 29, 10), until=at(2026, 11, 29, 11)),
        ),
        (
            'since:"yesterday 10:00" until:yesterdayT11:00',
            Filter(since=at(2026, 11, 29, 10), until=at(2026, 11, 29, 11)),
        ),
        (
            "since:yesterday until:yesterday",
            Filter(since=at(2026, 11, 29), until=at(2026, 11, 30)),
        ),
        (
            "since:2026-11-01 until:2026-11-29",
            Filter(since=at(2026, 11, 1), until=at(2026, 11, 30)),
        ),
        ("until:today", Filter(until=at(2026, 12, 1))),
        ("2026-11-29", Filter(text=("2026-11-29",))),
    ],
)
def test_what_is_written_is_read(text, wanted):
    """Each form of the syntax means what the description says."""
    assert parse(text, NOW) == wanted


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("state:ded", "'ded' is no state; write one of queued, "),
        ("subject:offer", "'subject' is no key of a filter; known: state, user, "),
        ("Re: offer", '"Re:…"'),
        ('text:"offer', "a quote is not closed"),
        ('"\\', "a quote is not closed"),
        ('user:""', "user: is empty"),
        ("user: state:,", "user: is empty"),
        ("since:soon", "'soon' is no time; write 10m, 2h, 3d, yesterday"),
        ("since:yesterdayT25:00", "is no time"),
        ("since:2h since:3h", "since: stands twice"),
        ("x " * 51, "more than 50 conditions"),
        ("x" * (LONGEST + 1), "more than 2000 characters"),
    ],
)
def test_what_has_no_meaning_is_named(text, problem):
    """A mistake is told with what fits, and never passed over."""
    with pytest.raises(InvalidInput, match=r".") as caught:
        parse(text, NOW)
    assert problem in str(caught.value)


def test_a_time_may_name_its_zone():
    """An offset is regarded; without one a time is in UTC, as the listings are."""
    assert read_time("2026-11-29T10:00+02:00", NOW) == at(2026, 11, 29, 8)
    assert read_time("yesterday 10:00+02:00", NOW) == at(2026, 11, 29, 8)
    there = NOW.astimezone(timezone(timedelta(hours=10)))
    assert read_time("today", there) == at(2026, 11, 30)


def test_two_filters_are_asked_together():
    """The fields of a page add to its search box; a time of theirs comes first."""
    box = Filter(state=("dead",), text=("a",), since=at(2026, 1, 1))
    more = Filter(state=("held", "dead"), since=at(2026, 2, 1), until=at(2026, 3, 1))
    assert box.merged(more) == Filter(
        state=("dead", "held"),
        text=("a",),
        since=at(2026, 2, 1),
        until=at(2026, 3, 1),
    )
    assert box.merged(Filter()) == box


def values(name):
    if name == "state":
        return st.sampled_from(STATES)
    return st.text(min_size=1, max_size=20)


@st.composite
def filters(draw):
    lists = {}
    for key in KEYS:
        name = key.replace("-", "_")
        if name in {"since", "until"}:
            continue
        found = {}
        for one in draw(st.lists(values(name), max_size=3)):
            try:
                found[read_condition(name, one)] = None
            except InvalidInput:
                continue
        lists[name] = tuple(found)
    times = st.none() | st.datetimes(at(2000, 1, 1).replace(tzinfo=None)).map(
        lambda one: one.replace(tzinfo=UTC)
    )
    return Filter(**lists, since=draw(times), until=draw(times))


@given(filters())
def test_what_is_written_back_means_the_same(wanted):
    """A filter as text is the filter: it can stand in a link or in a shell."""
    assert parse(write(wanted), NOW) == wanted


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    """Whatever is typed, the answer is a filter or a sentence."""
    try:
        found = parse(text, NOW)
    except InvalidInput:
        return
    assert parse(write(found), NOW) == found


def test_the_pieces_of_a_filter_are_those_that_were_typed():
    text = '  state:dead,held  "an offer" Message_ID:<a@b> x '
    found = pieces(text)
    assert [(one.key, one.value) for one in found] == [
        ("state", "dead,held"),
        ("text", "an offer"),
        ("message-id", "<a@b>"),
        ("text", "x"),
    ]
    assert [one.written for one in found] == [
        "state:dead,held",
        '"an offer"',
        "Message_ID:<a@b>",
        "x",
    ]


@pytest.mark.parametrize("text", ["a\0b", 'reason:"a\0"', "user:\ud800"])
def test_what_no_database_keeps_is_refused(text):
    """NUL and half a character are told, and never reach a store."""
    with pytest.raises(InvalidInput, match="no text has"):
        parse(text, NOW)
