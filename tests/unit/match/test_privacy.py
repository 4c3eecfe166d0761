"""What is kept back: confidential mail, and the parts of a mail that are not logged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.config.match import CONFIDENTIAL_MARKS
from relay.core.bodies import BodyMode, BodyRules
from relay.core.model import Attachment
from relay.match import OurAddresses
from relay.match.privacy import as_logged, body_mode, confidential, mark_in
from tests.fakes.values import boxes, directory, email

VALUES = ("personal", "private", "company-confidential")


@pytest.mark.parametrize(
    ("subject", "mark"),
    [
        ("[private] Lunch", "[private]"),
        ("Re: AW: [ PRIVATE ] Lunch", "[private]"),
        ("Lunch [Vertraulich]", "[vertraulich]"),
        ("\uff3bprivate\uff3d Lunch", "[private]"),
        ("[Privé] déjeuner", "[privé]"),
        ("Please [do  not\tlog] this", "[do not log]"),
        ("Private equity fund", ""),
        ("(private)", ""),
        ("[private equity]", ""),
        ("", ""),
    ],
)
def test_marks_of_the_subject(subject: str, mark: str) -> None:
    """Case, width and blanks do not count; a word without brackets is no mark."""
    assert mark_in(subject, CONFIDENTIAL_MARKS) == mark


def test_a_mark_of_ones_own_is_a_whole_word() -> None:
    """`HR` is no part of `through`; an empty mark marks nothing."""
    assert mark_in("Our HR: salaries", ["", "hr"]) == "hr"
    assert mark_in("hr", ["hr"]) == "hr"
    assert mark_in("Go through HRX, xhr", ["hr"]) == ""
    assert mark_in("throughhr hr", ["hr"]) == "hr"


@pytest.mark.parametrize("value", ["Private", " personal ", "Company-Confidential"])
def test_the_sensitivity_field(value: str) -> None:
    """RFC 4021 knows three values; any other, or one that is not listed, is none."""
    verdict = confidential(email(sensitivity=value), (), VALUES)
    assert verdict is not None
    assert verdict.reason == "confidential"
    assert value.strip().lower() in verdict.detail
    assert confidential(email(sensitivity=value), (), ()) is None
    assert confidential(email(sensitivity="Normal"), (), VALUES) is None


def test_what_the_forwarder_wrote_counts_as_well() -> None:
    """A mark on either of the two subjects is one."""
    outer = email(outer_subject="Fwd: [private] The offer")
    assert confidential(outer, CONFIDENTIAL_MARKS, ())
    inner = email(subject="[confidential] The offer", outer_subject="Fwd: x")
    verdict = confidential(inner, CONFIDENTIAL_MARKS, ())
    assert verdict is not None
    assert "[confidential] in the subject" in verdict.detail
    assert confidential(email(), CONFIDENTIAL_MARKS, VALUES) is None


# ---------------------------------------------------------------- body modes

OURS = OurAddresses(directory(), ("in.relay.example",))
RULES = BodyRules.of(
    ["bank.example: headers", "ceo@bank.example: subject", "open.example: full"]
)


@pytest.mark.parametrize(
    ("to", "default", "mode", "rule"),
    [
        ("a@x.example", "text", "text", "match.body"),
        ("a@bank.example", "text", "headers", "match.body_rules, for a@bank.example"),
        ("a@bank.example,ceo@bank.example", "full", "subject", "for ceo@bank.example"),
        ("a@open.example", "text", "full", "match.body_rules, for a@open.example"),
        ("a@open.example,b@x.example", "text", "text", "match.body"),
        ("a@open.example,ben@corp.example", "text", "full", "for a@open.example"),
        ("ben@corp.example", "text", "text", "match.body"),
    ],
)
def test_the_rule_that_lets_the_least_through(
    to: str, default: str, mode: str, rule: str
) -> None:
    """A colleague counts no more than the relay; a customer without a rule does."""
    mail = email(to=boxes(*to.split(",")))
    found, why = body_mode(mail, BodyMode(default), RULES, OURS)
    assert found == mode
    assert rule in why


def test_without_rules_one_mode_holds() -> None:
    """Nobody is looked at."""
    mail = email(to=boxes("a@bank.example"))
    assert body_mode(mail, BodyMode.TEXT, BodyRules(), OURS)[0] is BodyMode.TEXT


WHOLE = email(
    subject="Offer ref:006Hs00001LTtvp",
    text="Hello\n(ref: 006Hs00001LTtvp)\nyours",
    html="<p>Hello</p>",
    note="see ref:006Hs00001LTtvp",
    attachments=(Attachment("a.pdf", "application/pdf", 3),),
)


def test_what_each_mode_leaves() -> None:
    """Text without HTML, own words alone, no text at all."""

    def logged(mode: BodyMode) -> tuple[str, str | None, int, str]:
        mail = as_logged(
            WHOLE, mode, without_quotes=lambda mail: replace(mail, text="own")
        )
        return mail.text, mail.html, len(mail.attachments), mail.subject

    text, subject = WHOLE.text, WHOLE.subject
    assert logged(BodyMode.FULL) == (text, "<p>Hello</p>", 1, subject)
    assert logged(BodyMode.TEXT) == (text, None, 1, subject)
    assert logged(BodyMode.WITHOUT_QUOTES) == ("own", "<p>Hello</p>", 1, subject)
    for mode in (BodyMode.HEADERS, BodyMode.SUBJECT):
        assert logged(mode) == ("", None, 0, subject)


def test_tags_go_from_all_that_is_logged() -> None:
    """Subject, text, HTML and note."""
    mail = as_logged(
        WHOLE, BodyMode.FULL, without_quotes=lambda mail: mail, remove_tags=True
    )
    assert (mail.subject, mail.text, mail.html, mail.note) == (
        "Offer",
        "Hello\nyours",
        "<p>Hello</p>",
        "see ",
    )
    plain = replace(WHOLE, html=None)
    mail = as_logged(
        plain, BodyMode.FULL, without_quotes=lambda mail: mail, remove_tags=True
    )
    assert mail.html is None
