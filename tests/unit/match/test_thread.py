"""A reply takes over the related records of its thread."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.core.model import NamedRecord
from relay.match import Opportunities, choose
from relay.match.thread import MAX_EARLIER, RULE, earlier_mails, with_thread
from tests.fakes.values import contact, email, found
from tests.unit.match.test_choose import ALL, ANNA, DEAL

CASE = "500000000000001AAA"
WHO = "003000000000009AAA"
EVERY = Opportunities.ALL


def test_the_mails_before_are_those_that_the_header_names() -> None:
    """Each once, References first; of a long thread the first and the last ones."""
    mail = email(references=("<1@x>", "<2@x>"), in_reply_to=("<2@x>", "<3@x>"))
    assert earlier_mails(mail) == ("<1@x>", "<2@x>", "<3@x>")
    assert earlier_mails(email()) == ()
    long = tuple(f"<{n}@x>" for n in range(200))
    kept = earlier_mails(email(references=long))
    assert len(kept) == MAX_EARLIER
    assert (kept[0], kept[1], kept[-1]) == ("<0@x>", "<151@x>", "<199@x>")


def test_related_records_are_taken_over_and_people_are_not() -> None:
    """Behind those that the mail has by itself; what it has keeps its rule."""
    held = found(contact(1, ANNA.key), roles=((contact(1, ANNA.key), DEAL),))
    records = {
        DEAL: NamedRecord(DEAL, "Opportunity", "Deal"),
        CASE: NamedRecord(CASE, "Case", "7"),
        WHO: NamedRecord(WHO, "Contact", "Somebody else"),
    }
    held = replace(held, records=records)
    own = choose([ANNA], held, ALL)
    match = with_thread(own, (WHO, CASE, DEAL), held, EVERY)
    assert match.who == own.who
    assert [(c.id, c.rule) for c in match.what] == [
        (DEAL, own.what[0].rule),
        (CASE, RULE),
    ]
    assert match.notes == ()
    assert with_thread(own, (DEAL,), held, EVERY) == own


@pytest.mark.parametrize(
    ("record", "which", "why"),
    [
        (None, EVERY, "it is gone, or the relay may not read it"),
        (NamedRecord(DEAL, "Opportunity", "D", is_closed=True), EVERY, "it is closed"),
        (NamedRecord(DEAL, "Opportunity", "D", "hidden"), EVERY, "hidden"),
        (
            NamedRecord(DEAL, "Opportunity", "D"),
            Opportunities.NONE,
            "match.opportunities is none",
        ),
    ],
)
def test_what_is_not_taken_over_is_told(
    record: NamedRecord | None, which: Opportunities, why: str
) -> None:
    """Closed, gone, hidden, or not wanted: the trace says which."""
    held = replace(found(), records={DEAL: record} if record else {})
    match = with_thread(choose([ANNA], held, ALL), (DEAL,), held, which)
    assert match.what == ()
    assert match.notes == (("of the thread", f"{DEAL} is not taken over: {why}"),)
