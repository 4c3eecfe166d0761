# ruff: noqa: E501, ISC004, RUF001 - mails as programs write them, in many languages
"""Quoted history: taken off for sure, or left as it is."""

from __future__ import annotations

import time

import pytest

from relay.mail import own_words, without_quotes
from relay.mail.quotes import html_without_quotes, own_text, text_without_quotes
from tests.fakes.values import email

OWN = "Thank you, agreed.\n\nAda"
OLD = "Dear Ada,\n\nis 4 pm all right?"
QUOTED = "\n".join(f"> {line}" for line in OLD.split("\n"))

INTRODUCTIONS = {
    "gmail": "On Mon, Mar 2, 2026 at 9:00 AM Kim Lee <kim@acme.example> wrote:",
    "gmail-broken": "On Mon, Mar 2, 2026 at 9:00 AM Kim Lee <kim@acme.example>\nwrote:",
    "thunderbird-de": "Am 02.03.26 um 09:00 schrieb Kim Lee:",
    "apple-fr": "Le 2 mars 2026 à 09:00, Kim Lee <kim@acme.example> a écrit :",
    "es": "El lun, 2 mar 2026 a las 9:00, Kim Lee (<kim@acme.example>) escribió:",
    "pl": "W dniu 02.03.2026 o 09:00, Kim Lee pisze:",
    "ru": "пн, 2 мар. 2026 г. в 09:00, Kim Lee <kim@acme.example>:",
    "ja": "2026年3月2日(月) 9:00 Kim Lee <kim@acme.example>:",
    "zh": "Kim Lee <kim@acme.example> 于2026年3月2日周一 09:00写道：",
    "he": "\u200fבתאריך יום ב׳, 2 במרץ 2026 ב-9:00 מאת Kim Lee <kim@acme.example>:\u200e",
    "tr": "Kim Lee <kim@acme.example>, 2 Mar 2026 Pzt, 09:00 tarihinde şunu yazdı:",
}

HEADERS = {
    "outlook-en": "From: Kim Lee <kim@acme.example>\nSent: Monday, March 2, 2026 9:00 AM\n"
    "To: Ada Rep <ada@corp.example>\nSubject: The meeting",
    "outlook-de": "Von: Kim Lee <kim@acme.example>\nGesendet: Montag, 2. März 2026 09:00\n"
    "An: Ada Rep <ada@corp.example>\nBetreff: Das Treffen",
    "outlook-fr": "De : Kim Lee <kim@acme.example>\nEnvoyé : lundi 2 mars 2026 09:00\n"
    "À : Ada Rep <ada@corp.example>\nObjet : La réunion",
    "outlook-ja": "差出人: Kim Lee <kim@acme.example>\n送信日時: 2026年3月2日 9:00\n"
    "宛先: Ada Rep <ada@corp.example>\n件名: 会議",
    "original": "-----Original Message-----\nFrom: Kim Lee [mailto:kim@acme.example]\n"
    "Sent: Monday, March 2, 2026 9:00 AM\nTo: Ada Rep\nSubject: The meeting",
    "rule": "________________________________\nFrom: Kim Lee <kim@acme.example>\n"
    "Date: Monday, 2 March 2026 at 09:00\nTo: Ada Rep\nSubject: The meeting",
}


@pytest.mark.parametrize("intro", INTRODUCTIONS.values(), ids=INTRODUCTIONS)
def test_lines_with_a_quote_mark_below_who_wrote_when(intro: str) -> None:
    """Whatever the language, they go with the line above them."""
    assert text_without_quotes(f"{OWN}\n\n{intro}\n\n{QUOTED}\n\n") == OWN
    assert text_without_quotes(f"{intro}\n{QUOTED}\n\n{OWN}\n") == OWN


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_and_all_below_it(header: str) -> None:
    """As Outlook writes it, in any language that forwards are read in."""
    assert text_without_quotes(f"{OWN}\n\n{header}\n\n{OLD}\n") == OWN
    quoted = "\n".join(f"> {line}" for line in f"{header}\n\n{OLD}".split("\n"))
    assert text_without_quotes(f"{OWN}\n\n{quoted}") == OWN


@pytest.mark.parametrize(
    "text",
    [
        OWN,
        "",
        f"{OWN}\n\nThe law says:\n\n{QUOTED}",
        f"{OWN}\n\n{QUOTED}",
        f"On 2.3.2026 Kim wrote:\n{QUOTED}\nYes.\n> and 5 pm?\nNo.",
        f"{OWN}\n\nOn 2.3.2026 Kim wrote:\n{QUOTED}\nbroken line\n> more\nlast words",
        f"{QUOTED}\n\n{OWN}",
        f"On 2.3.2026 Kim wrote:\n\n{QUOTED}",
        f"{OWN}\n---------- Forwarded message ---------\n{HEADERS['outlook-en']}\n\n{OLD}",
        "Kim wrote\n> this",
        f"{'very long ' * 50}\nand so on:\n> this",
    ],
)
def test_unsure_keeps_the_text(text: str) -> None:
    """Answers between quotes, citations, forwards, and what would leave nothing."""
    assert text_without_quotes(text) is None
    assert own_text(text) == text


def test_own_text() -> None:
    """What stands above the quote."""
    assert own_text(f"{OWN}\n\nOn 2.3.2026 Kim wrote:\n{QUOTED}") == OWN


# ---------------------------------------------------------------- HTML

QUOTE = "<div>Dear Ada,<br>is 4 pm all right?</div>"
HEADER = (
    "<p><b>From:</b> Kim Lee &lt;kim@acme.example&gt;<br><b>Sent:</b> Monday, March 2, "
    "2026 9:00 AM<br><b>To:</b> Ada Rep &lt;ada@corp.example&gt;<br><b>Subject:</b> The "
    "meeting</p>"
)
PAGES = {
    "gmail": '<div class="gmail_quote gmail_quote_container"><div class="gmail_attr">On '
    "Mon Kim wrote:<br></div><blockquote class='gmail_quote'>{}</blockquote></div></div>",
    "apple": '<div><br><blockquote type="cite"><div>On Mar 2 Kim wrote:</div>{}'
    "</blockquote></div><br>",
    "thunderbird": '<div class="moz-cite-prefix">Am 2.3. schrieb Kim:<br></div>'
    '<blockquote type="cite" cite="mid:x">{}<blockquote>x</blockquote></blockquote>',
    "yahoo": '<div id="ydp1yahoo_quoted" class="yahoo_quoted"><div>On Monday, Kim wrote:'
    "</div>{}</div>",
    "proton": '<div class="protonmail_quote">On Monday Kim wrote:<br><blockquote>{}'
    "</blockquote><br></div>",
    "gmx": '<div name="quote" style="margin:0"><div>Gesendet: Montag</div>{}</div>',
    "outlook-web": '<div id="appendonsend"></div><hr style="width:98%">'
    '<div id="divRplyFwdMsg">' + HEADER + "</div>{}",
    "outlook": "<div><div style='border:none;border-top:solid #E1E1E1 1.0pt'>"
    + HEADER
    + "</div></div>{}",
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_the_element_of_each_client(page: str) -> None:
    """It goes, and all that it holds; the letter above it stays as it was."""
    own = "<html><body><div>Thank you.</div>"
    whole = own + page.format(QUOTE) + "</body></html>"
    cut = html_without_quotes(whole)
    assert cut is not None
    assert cut.startswith(own)
    assert "4 pm" not in cut
    assert "Kim" not in cut


@pytest.mark.parametrize(
    "html",
    [
        "<p>Hello</p>",
        "<p>The law says</p><blockquote>that</blockquote>",
        "<p>Hi</p>" + PAGES["gmail"].format(QUOTE) + "<p>One more thing</p>",
        "<p>Hi</p><blockquote type=cite>old</blockquote>yes<blockquote type=cite>old"
        "</blockquote>",
        PAGES["gmail"].format(QUOTE),
        "<p>Hi</p><hr style='border-top:solid 1px'><p>footer</p>",
        "<p>Hi</p><div class='gmail_quote'>On Mon Kim wrote:<blockquote>old</blockquote>"
        "my answer<blockquote>old</blockquote></div>",
    ],
)
def test_unsure_keeps_the_html(html: str) -> None:
    """Nothing may be written below the quote, and something must stand above it."""
    assert html_without_quotes(html) is None


def test_an_element_that_is_never_closed_goes_to_the_end() -> None:
    """Mail that was cut in the middle is read as browsers read it."""
    assert html_without_quotes("Hi<blockquote type='cite'>old<div") == "Hi"
    assert html_without_quotes("Hi<blockquote type='cite'>old</blockquote") == "Hi"


# ---------------------------------------------------------------- both

TEXT = f"{OWN}\n\nOn 2.3.2026 at 9:00 Kim wrote:\n{QUOTED}"
PAGE = "<p>Thank you</p>" + PAGES["gmail"].format(QUOTE)


def test_text_and_html_follow_each_other() -> None:
    """What was taken off the one is not shown by the other."""
    both = without_quotes(email(subject="Re: x", text=TEXT, html=PAGE))
    assert (both.text, both.html) == (OWN, "<p>Thank you</p>")
    page = without_quotes(email(text="Thank you Dear Ada", html=PAGE))
    assert (page.text, page.html) == ("Thank you", "<p>Thank you</p>")
    text = without_quotes(email(text=TEXT, html="<p>Thank you</p><p>4 pm</p>"))
    assert (text.text, text.html) == (OWN, None)
    plain = without_quotes(email(text=TEXT))
    assert (plain.text, plain.html) == (OWN, None)


@pytest.mark.parametrize("subject", ["Fwd: The offer", "WG: The offer", "TR: L'offre"])
def test_a_forward_keeps_what_it_forwards(subject: str) -> None:
    """The mail quoted there is what the mail is about."""
    mail = email(subject=subject, text=f"FYI\n\n{HEADERS['outlook-en']}\n\n{OLD}")
    assert without_quotes(mail) is mail


def test_a_mail_without_history_stays() -> None:
    """Nothing is made anew."""
    mail = email(text=OWN, html="<p>Thank you</p>")
    assert without_quotes(mail) is mail


@pytest.mark.parametrize(
    "piece",
    ["<div class=gmail_quote>", "<blockquote type=cite>x", "<hr id=appendonsend>",
     "<div id=divRplyFwdMsg class='a>", "<div " + "class=" * 90 + ">", "> a\nb:\n"],
)  # fmt: skip
def test_the_time_is_bounded(piece: str) -> None:
    """A hostile pattern takes no more than its length asks for."""
    hostile = piece * (100_000 // len(piece))
    began = time.process_time()
    without_quotes(email(text=hostile, html="x" + hostile))
    assert time.process_time() - began < 5


# ---------------------------------------------------------------- own words


@pytest.mark.parametrize(
    "theirs",
    [
        f"On 2.3.2026 at 9:00 Kim wrote:\n{QUOTED}",
        "On 2.3.2026 at 9:00 Kim\n<kim@x.example> wrote:\n\nDear Ada",
        "Am 2.3.2026 um 9:00 schrieb Kim:\nDear Ada",
        f"{HEADERS['outlook-en']}\n\n{OLD}",
        f"-----Original Message-----\n{OLD}",
        f"---------- Forwarded message ---------\nFrom: Kim <kim@x.example>\n\n{OLD}",
        f"Begin forwarded message:\n\n{OLD}",
        "\n".join(f"> {line}" for line in HEADERS["outlook-en"].split("\n")),
    ],
)
@pytest.mark.parametrize("subject", ["Re: x", "Fwd: x", "x"])
def test_own_words_hold_nothing_of_others(theirs: str, subject: str) -> None:
    """Where it is unsure whose words they are, they are not the author's."""
    mail = email(subject=subject, text=f"{OWN}\n\n{theirs}\n")
    found = own_words(mail)
    assert found.startswith(OWN)
    assert not any(line in found for line in [*OLD.split("\n")[::2], "Subject:"])


def test_own_words_stand_between_quotes_as_well() -> None:
    """Who answers below a quote wrote that; a line with a colon is no introduction."""
    text = f"On 2.3.2026 at 9:00 Kim wrote:\n{QUOTED}\nYes.\n{QUOTED}\nNo: see\nme"
    found = own_words(email(text=text))
    assert [line for line in found.split("\n") if line][1:] == ["Yes.", "No: see", "me"]
    assert own_words(email(text="I bring:\ncake\n10:30:")) == "I bring:\ncake\n10:30:"
    assert own_words(email(text="a\n" * 9_000)).count("a") == 5_000


@pytest.mark.parametrize("piece", ["a 10:30:\n\n", ":\n", "From: a\n", "-- x --\n"])
def test_the_time_for_own_words_is_bounded(piece: str) -> None:
    """No line is looked at more than a few times."""
    began = time.process_time()
    own_words(email(text=piece * (2_000_000 // len(piece))))
    assert time.process_time() - began < 5
