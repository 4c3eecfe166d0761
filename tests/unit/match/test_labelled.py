"""The labelled corpus: who is in a mail, which way it went, and what becomes of it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.fakes.deciding import decided, of, people
from tests.fakes.labelled import CORPUS, HARMLESS, Labelled, Right


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    """At least 300 mails, over 20 languages for the five kinds of programs."""
    assert len(CORPUS) >= 300
    assert max(Counter(one.name for one in CORPUS).values()) == 1
    languages = Counter(one.program for one in CORPUS if one.program)
    assert all(
        languages[program] >= 20
        for program in (
            "Gmail",
            "Outlook",
            "Outlook on the web",
            "Outlook on a phone",
            "Apple Mail",
            "Thunderbird",
            "Yahoo",
        )
    )


@pytest.mark.parametrize("mail", CORPUS, ids=lambda mail: mail.name)
def test_a_mail_is_read_and_decided_as_it_is_labelled(mail: Labelled) -> None:
    """People by place, direction, note, text, state, reason and records are right."""
    found = decided(mail.raw)
    assert len(found) == len(mail.right)
    for (email, decision), right in zip(found, mail.right, strict=True):
        said = of(email, decision)
        assert said == {name: getattr(right, name) for name in said}
        text = " ".join(email.text.split())
        assert text.startswith(right.begins)
        assert all(piece in text for piece in right.holds)
        assert not any(piece in text for piece in right.lacks)


@pytest.mark.parametrize("change", HARMLESS)
def test_a_harmless_change_changes_nobody(change: str) -> None:
    """A footer, a banner, quote marks or another width leave all people as they are."""
    for mail in CORPUS:
        if mail.made:
            lines = HARMLESS[change](list(mail.lines))
            ((email, _),) = decided(mail.made(lines))
            right: Right = mail.right[0]
            assert people(email) == ((right.sender,), right.to, right.cc), mail.name
