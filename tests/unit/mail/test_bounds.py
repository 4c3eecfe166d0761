"""What is read of a mail is bounded, and what is left out is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.mail import addresses, decoded, mailboxes, parse, smime
from relay.mail.addresses import is_cut
from relay.mail.forward import Unsure, read_inline
from relay.mail.html import html_to_text
from tests.fakes.hostile import smime_of_chunks

if TYPE_CHECKING:
    from pytest import MonkeyPatch  # noqa: PT013 - the type alone

HEAD = b"From: a@x.example\r\nSubject: Fwd: Offer\r\n"
LINE = "----- Forwarded Message -----"


def test_a_number_that_names_no_character_is_one_mark() -> None:
    """Digits by thousands are read; zeros before a number mean nothing."""
    assert html_to_text(f"a&#{'1' * 9_000};b") == "a\ufffdb"
    assert (
        html_to_text("a&#xFFFFFFFFFF;b&#0000000000065;&#x0000000041;") == "a\ufffdbAA"
    )


def test_of_a_long_field_of_ids_the_first_and_the_last_are_read() -> None:
    """The first began the thread, the last is answered; the cut is told."""
    many = b" ".join(b"<%d@x.example>" % n for n in range(20_000))
    email = parse(HEAD + b"References: " + many + b"\r\n\r\nHello")
    assert email.references[0] == "<0@x.example>"
    assert email.references[-1] == "<19999@x.example>"
    assert len(email.references) < 20_000
    assert all(one.endswith("@x.example>") for one in email.references)
    assert "value_cut" in email.repairs


def test_words_of_an_address_field_have_a_limit(monkeypatch: MonkeyPatch) -> None:
    """What stands behind them is left out, and `is_cut` says so."""
    words = b"=?utf-8?q?Mara?= <mara@x.example>, "
    assert is_cut([words * (addresses.MAX_WORDS + 1)])
    monkeypatch.setattr(addresses, "MAX_WORDS", 5)
    assert len(mailboxes([words * 6], recipients=True)) == 4


def test_pieces_of_an_address_field_have_a_limit(monkeypatch: MonkeyPatch) -> None:
    """Quotes and comments cost time as well."""
    value = b"mara@x.example, " + b'"a" ' * 100_000 + b"tim@x.example"
    assert is_cut([value])
    monkeypatch.setattr(addresses, "MAX_TOKENS", 100)
    found = mailboxes([b"mara@x.example, " + b'"a" ' * 100 + b"tim@x.example"])
    assert [box.address for box in found] == ["mara@x.example"]


def test_padded_groups_on_one_line_are_read_to_a_limit() -> None:
    """Behind it the padding is left out, whatever it does to the content."""
    content = b"".join(decoded([b"QUI=" * 60_000], "base64"))
    assert content.startswith(b"AB" * 49_000)
    mixed = b"".join(decoded([b"QUI=" * 60_000 + b"=" * 7], "base64"))
    assert mixed.startswith(b"AB" * 49_000)


def test_an_envelope_in_too_many_chunks_stays_a_file() -> None:
    """No walk through millions of chunks."""
    email = parse(smime_of_chunks(400_000))
    assert smime.UNREADABLE in email.repairs
    assert [file.name for file in email.attachments] == ["smime.p7m"]


def test_a_long_text_of_another_charset_is_cut() -> None:
    """One whose charset may have to be guessed is read to 256 KB; UTF-8 is not cut."""
    kind = b"Content-Type: text/plain; charset=%s\r\n\r\n"
    text = "größe\n" * 60_000
    cut = parse(HEAD + kind % b"iso-8859-1" + text.encode("latin-1"))
    assert "text_cut" in cut.repairs
    assert cut.text == text[: 1 << 18]
    assert parse(HEAD + kind % b"utf-8" + text.encode()).text == text
    escaped = parse(HEAD + kind % b"iso-2022-jp" + b'\x1b$B$"\x1b(B\n' * 40_000)
    assert "text_cut" in escaped.repairs


def test_a_page_is_read_once_for_a_forward() -> None:
    """A page without links to addresses shows no more than its text did."""
    email = parse(HEAD + b"Content-Type: text/html\r\n\r\n<p>see below</p>")
    assert email.forward_unsure == "no_header"


def test_a_header_on_one_line_is_read() -> None:
    """Fields without a gap, and a label that lacks its colon."""
    line = (
        f"{LINE} From: Mara Voss <mara@x.example>To: Ada <ada@y.example>"
        "Cc Tim <tim@z.example>Sent: Wed, 25 Nov 2026, 04:58:50 PM GMT+1Subject: Offer"
    )
    found = read_inline(f"A note.\n   {line}\n Hello\n", "Fwd: Offer")
    assert not isinstance(found, Unsure)
    assert found is not None
    assert found.from_.address == "mara@x.example"
    assert [box.address for box in found.to] == ["ada@y.example"]
    assert [box.address for box in found.cc] == ["tim@z.example"]
    assert (found.subject, found.note, found.text) == ("Offer", "A note.", " Hello")
    broken = line.replace(" ", "\n", 12)
    assert read_inline(broken, "Fwd: Offer") != found


def test_a_line_that_only_looks_like_a_header_is_none() -> None:
    """Labels within words, no labels, too many lines: nobody is guessed."""
    for text in (
        f"{LINE} see what From: says to To: you",
        f"{LINE} nothing of it",
        "\n".join([f"{LINE} no label here"] * 5),
        "\n".join([f"{LINE} From: Mara <mara@x.example>", *["more"] * 60]),
        f"{LINE} From: Mara <mara@x.example> " + "x:y " * 300,
        f"{LINE} From: Mara <mara@x.example>Xyz Ada",
    ):
        assert read_inline(text, "Fwd: Offer") == Unsure("no_header")


def test_what_is_set_in_is_a_quote_below_a_day_and_a_name_alone() -> None:
    """People set lines in as well."""
    quote = "\n\n    how much is it?\n"
    found = read_inline(
        f'On 25/11/2026, "Mara" <m@x.example> wrote:{quote}', "FW: Offer"
    )
    assert not isinstance(found, Unsure)
    assert found is not None
    assert found.text == "how much is it?"
    for line in (
        "Write to m@x.example:",
        "25/11/2026:",
        "25/11/2026, m@x.example, n@x.example:",
    ):
        assert read_inline(f"{line}{quote}", "FW: Offer") == Unsure("no_header")
