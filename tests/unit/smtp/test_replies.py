"""The reply table."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from relay.core.translate import LANGUAGES
from relay.sender.causes import BY_REASON
from relay.smtp import replies
from relay.smtp.replies import Reply, encoded, printable
from tests.fakes.intake import ADA, BEN, PEOPLE

TABLE = {name: row for name, row in vars(replies).items() if isinstance(row, Reply)}


@pytest.mark.parametrize("name", TABLE)
def test_rows_are_whole(name):
    """Each row has a code, the enhanced code that goes with it, and its source."""
    row = TABLE[name]
    assert re.fullmatch(r"RFC \d{4}( section [\d.]+)?", row.source)
    if row.enhanced:
        assert re.fullmatch(r"[245]\.\d\.\d{1,2}", row.enhanced)
        assert row.enhanced[0] == str(row.code)[0]
    else:
        assert row.code in {220, 250, 334, 354}


def test_line_has_fields_and_reference():
    """Fields are filled in, and the id stands at the end."""
    line = replies.TOO_LARGE.line(limit=10, ref="abc")
    assert line == "552 5.3.4 Mail is larger than 10 bytes (ref abc)"
    assert replies.GO_AHEAD.line() == "354 End data with <CR><LF>.<CR><LF>"
    assert encoded(replies.BYE) == b"221 2.0.0 Bye\r\n"


def test_line_fits_and_keeps_its_reference():
    """However long a text, the line keeps to 512 octets, and the id stays whole."""
    line = replies.SENDER_NOT_ACCEPTED.line(text="x" * 5000, ref="abc")
    assert len(line) == 510
    assert line.endswith("xx (ref abc)")


@pytest.mark.parametrize("nasty", ["a\r\nb", "a\x00b", "a\x7fb", "aéb", "a\u2028b"])
def test_lines_cannot_be_split(nasty):
    """What is not printable ASCII becomes a question mark."""
    line = replies.SENDER_NOT_ACCEPTED.line(text=nasty)
    assert line.isascii()
    assert line.isprintable()
    assert printable("plain") == "plain"


def test_braces_in_values_are_text():
    """A value with braces is not taken for a field."""
    assert "{ref}" in replies.SENDER_NOT_ACCEPTED.line(text="{ref}")


def test_every_reply_is_said():
    """A row that no code says any more is taken out of the table."""
    folder = Path(replies.__file__).parent
    files = [path for path in folder.glob("*.py") if path.name != "replies.py"]
    source = "\n".join(path.read_text("utf-8") for path in files)
    own = Path(replies.__file__).read_text("utf-8")
    assert [
        name
        for name in TABLE
        if f"replies.{name}" not in source and len(re.findall(rf"\b{name}\b", own)) == 1
    ] == []


def test_every_reason_is_given():
    """A reason that no code gives any more is taken out of the translation."""
    folder = Path(replies.__file__).parents[1]
    source = "\n".join(
        path.read_text("utf-8")
        for room in ("intake", "smtp", "sender")
        for path in (folder / room).glob("*.py")
        if path.name != "replies.py"
    )
    assert [reason for reason in replies.BY_REASON if f'"{reason}"' not in source] == []


SAID = {
    reason: replies.Rejection(
        reason,
        values={"limit": 25_000_000, "text": ""},
        verdict=None
        if row not in replies.SENDER_NOT_PROVEN.values()
        and row is not replies.SENDER_NOT_ACCEPTED
        else {
            "cause": BY_REASON[reason].number,
            "text": "x",
            "address": "somebody.with.a.long.name@sales.customer-company.example",
            "detail": "mail-signing.other-company.example",
        },
    )
    for reason, row in replies.BY_REASON.items()
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("reason", SAID)
def test_a_language_changes_the_words_alone(reason, language):
    """Codes and number stay, the line is ASCII, and nothing of it is cut."""
    english = replies.reply_line(SAID[reason], "abc")
    line = replies.reply_line(SAID[reason], "abc", language)
    assert line.isascii()
    assert line.isprintable()
    assert "?" not in line
    assert line.split()[:2] == english.split()[:2]
    assert re.findall(r"S\d+|section [\d.]+", line) == re.findall(
        r"S\d+|section [\d.]+", english
    )
    assert line.endswith(" (ref abc)")
    # One that fills the line to its end was cut.
    assert len(line) < replies.MAX_REPLY_LINE - 2


def test_the_language_is_that_of_the_user():
    """Their own, else the common one; a peer who is no user reads English."""
    ada, ben = replace(ADA, language="sv"), BEN
    people = replace(PEOPLE, users={1: ada, 2: ben}, language="fr")
    say = replies.replier(lambda: people)
    of = {who: replies.Rejection("too_large", "", who, {"limit": 1}) for who in (1, 2)}
    assert say(of[1], "x") == "552 5.3.4 Mejlet ar storre an 1 byte (ref x)"
    assert say(of[2], "x") == "552 5.3.4 L'e-mail depasse 1 octets (ref x)"
    common = replace(people, settings={"user.language": "es"})
    assert "El correo" in replies.replier(lambda: common)(of[2], "x")
    stranger = replace(of[1], user_id=None)
    assert say(stranger, "x") == "552 5.3.4 Mail is larger than 1 bytes (ref x)"


def test_the_detail_of_a_cause_is_in_that_language():
    """It was kept in English with the refusal."""
    verdict = {"cause": "S218", "detail": "the key is revoked", "address": "a@b.c"}
    refused = replies.Rejection("dkim_key_broken", "", 1, {"text": "x"})
    refused = replace(refused, verdict=verdict)
    line = replies.reply_line(refused, "x", "es")
    assert "de b.c no se puede usar (la clave esta revocada)" in line
    assert "(the key is revoked)" in replies.reply_line(refused, "x")


def test_a_language_does_not_tell_who_is_a_user():
    """A disabled user's relay address is answered as one that nobody has."""
    ada = replace(ADA, language="es")
    say = replies.replier(lambda: replace(PEOPLE, users={1: ada}))
    own = replies.Rejection("unknown_recipient", "disabled", 1)
    assert say(own, "x") == say(replace(own, user_id=None), "x")
