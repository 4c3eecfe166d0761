"""Record tags: what a mail names, what is no tag, and taking tags out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.core.ids import checksum
from relay.core.model import Chosen, Found, Match, NamedRecord
from relay.match.tags import (
    MAX_IDS,
    MAX_IGNORED,
    NAMED,
    SCANNED,
    not_used,
    read_tags,
    readable_records,
    with_named,
    without_tags,
)

DEAL15 = "006Hs00001LTtvp"
DEAL = DEAL15 + checksum(DEAL15)
ACME15 = "001Hs00004RsxVJ"
ACME = ACME15 + checksum(ACME15)


@pytest.mark.parametrize(
    "text",
    [
        f"(ref: {DEAL15}, {ACME15})",
        f"(ref: {DEAL}, {ACME})",
        f"(REF:{DEAL15},{ACME})",
        f"as agreed (ref:\n> {DEAL15},\n> {ACME15}) yours",
        f"\uff08ref\uff1a{DEAL15}, {ACME15}\uff09",
        f"(ref:\u00a0{DEAL15}\u200b; {ACME15})",
        f"(ref: {DEAL15} {ACME15})",
        f"ref:{DEAL15}, {ACME15}.",
        f"ref:{DEAL15} and Ref: {ACME}",
        f"_ref:{DEAL15}_ [ref:{ACME15}]",
        f"(see ref:{DEAL15}) (ref:{ACME15}",
    ],
)
def test_ids_of_both_lengths_in_brackets_or_bare(text: str) -> None:
    """Every id comes in its long form, in the order of the mail."""
    assert read_tags([text]).ids == (DEAL, ACME)


@pytest.mark.parametrize(
    "text",
    [
        "no tag at all",
        f"href:{DEAL15}",
        f"prefref:{DEAL15}",
        f"ref {DEAL15}",
        "ref: recommendations",
        f"ref:{DEAL15}abcd",
        f"ref:{DEAL15[:-1]}",
        "[ ref:_00DHs1234._500Hs5678:ref ]",
        f"ref:_{DEAL15}",
    ],
)
def test_what_is_no_tag_is_passed_over(text: str) -> None:
    """Words, URLs and the marks of Email-to-Case are no tags, and leave no trace."""
    assert not read_tags([text]).ids
    assert without_tags(text) == text


def test_what_is_no_id_is_ignored_and_told() -> None:
    """A wrong checksum is a slip; prose in brackets is told once."""
    wrong = f"{DEAL15}AAA"
    tags = read_tags([f"(ref: {wrong}, {ACME15})", "(ref: our call)", "ref: ()"])
    assert tags.ids == (ACME,)
    reason = "it is no record id"
    assert tags.ignored == ((wrong, reason), ("our call", reason))
    assert not read_tags(["(ref: )"])
    assert tags


def test_subject_before_text_and_each_record_once() -> None:
    """A record that is named twice counts where it stands first."""
    assert read_tags([f"Re: ref:{ACME15}", f"ref:{DEAL} ref:{ACME}"]).ids == (
        ACME,
        DEAL,
    )


def test_only_the_first_5000_characters_count() -> None:
    """A tag, a list and an id that the limit cuts are none."""
    bare = f"ref:{DEAL}"
    fits = "x" * (SCANNED - len(bare) - 1) + " " + bare
    assert read_tags([fits + " more"]).ids == (DEAL,)
    assert read_tags(["x" + fits]).ids == ()
    assert read_tags([fits[: SCANNED - 3] + DEAL[-6:] + "9"]).ids == ()
    both = f"(ref: {DEAL15}, {ACME15})"
    assert read_tags(["x" * (SCANNED - len(both)) + both + "y"]).ids == (DEAL, ACME)
    assert read_tags(["x" * (SCANNED - len(both) + 1) + both + "y"]).ids == ()


def test_a_mail_names_50_records_at_most() -> None:
    """The first ones count; the trace does not grow without end."""
    many = [f"006Hs000000{number:04d}" for number in range(80)]
    tags = read_tags([f"(ref: {', '.join(many)})"])
    assert len(tags.ids) == MAX_IDS
    assert len(tags.ignored) == MAX_IGNORED
    assert tags.ignored[0] == (many[50], "a mail names 50 records at most")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"Offer (ref: {DEAL15})", "Offer "),
        (f"Hello\nref:{DEAL}\nyours", "Hello\nyours"),
        (f"Hello\n> (ref: {DEAL15},\n> {ACME})\nyours", "Hello\nyours"),
        (
            f"<p>Hi (ref:&nbsp;<a href='x'>{DEAL15}</a>)</p>",
            "<p>Hi <a href='x'></a></p>",
        ),
        (f"a (ref: 4711) b ref:{ACME}", "a (ref: 4711) b "),
    ],
)
def test_tags_are_taken_out(text: str, left: str) -> None:
    """HTML stays whole, a line of its own goes, and what only looks like one stays."""
    assert without_tags(text) == left


def record(sfid: str, sobject: str, unfit: str = "") -> NamedRecord:
    """Return a record that Salesforce holds."""
    return NamedRecord(sfid, sobject, "N", unfit)


def test_named_records_join_the_match() -> None:
    """Contacts and Leads become people, all else comes before the people's deals."""
    anna = Chosen("003a", "Contact", "Anna", "Contact.Email")
    deal = Chosen("006a", "Opportunity", "Deal", "role", through=("003a",))
    other = Chosen("006b", "Opportunity", "Other", "role", through=("003a",))
    found = Found(
        {},
        {},
        {
            "003a": record("003a", "Contact"),
            "00Qx": record("003c", "Contact"),
            "00Qb": record("00Qb", "Lead"),
            "006b": record("006b", "Opportunity"),
            "500a": record("500a", "Case"),
            "005a": record("005a", "User", "nothing can be logged on it"),
        },
    )
    ids = ("500a", "003a", "00Qx", "00Qb", "006b", "005a", "701x")
    match = with_named(Match((anna,), (deal, other), ()), ids, found)
    assert match.who[0] == anna
    assert [(c.id, c.rule) for c in match.who[1:]] == [("003c", NAMED), ("00Qb", NAMED)]
    assert [c.id for c in match.what] == ["500a", "006b", "006a"]
    assert match.what[1] == other
    assert not_used(ids, found) == [
        ("005a", "nothing can be logged on it"),
        ("701x", "there is no such record that the relay may read"),
    ]


def test_a_match_without_named_records_stays() -> None:
    """Nothing is made anew where no id will do."""
    match = Match((), (), ())
    assert with_named(match, ("005a",), Found({}, {})) is match


def test_a_record_that_the_rep_cannot_read_is_not_used() -> None:
    """By visibility, if that counts; what was unfit before keeps its reason."""
    ids = [f"00600000000000{n}AAA" for n in (1, 2, 3)]
    records = {i: NamedRecord(i, "Opportunity", "D") for i in ids[:2]}
    records[ids[2]] = NamedRecord(ids[2], "User", "U", "no activities")
    held = Found({}, {}, records=records)
    assert readable_records(held, "005") is held
    seen = replace(held, readable={"005": frozenset(ids[:1])})
    assert readable_records(seen, "") is seen
    found = readable_records(seen, "005")
    assert not_used(ids, found) == [
        (ids[1], "the rep cannot read this record"),
        (ids[2], "no activities"),
    ]
