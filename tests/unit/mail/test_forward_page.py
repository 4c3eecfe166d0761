"""The page of a forwarded mail, cut out of that of the forward."""

from __future__ import annotations

import re

import pytest

from relay.mail import parse
from relay.mail.forward_page import MAX_PAGE, forwarded_page
from relay.mail.html import html_to_text
from tests.fakes.forwards import forwards

TEXT = "Hello Ada,\n\nhow much is it?"
PAGES = {
    "gmail": (
        (
            '<div dir="ltr">note<div class="gmail_quote"><div class="gmail_attr">'
            "---------- Forwarded message ---------<br>From: Mara</div><br><br>"
            '<div dir="ltr"><b>Hello</b> Ada,<p>how much is it?</p></div></div></div>'
        ),
        '<div dir="ltr"><b>Hello</b> Ada,<p>how much is it?</p></div>',
    ),
    "outlook": (
        (
            "<html><head><style>p {color: red}</style></head><body><p>note</p><div>"
            "<p><b>From:</b> Mara<br><b>Subject:</b> Question</p></div>"
            "<p class=MsoNormal>Hello Ada,</p><!-- c --><p>how much is&nbsp;it?</p>"
            "</div></body></html>"
        ),
        "<p class=MsoNormal>Hello Ada,</p><p>how much is&nbsp;it?</p>",
    ),
    "plain": (
        "From: Mara<br><br>Hello Ada,<br>how much is it?",
        "Hello Ada,<br>how much is it?",
    ),
    "lists": (
        "<p>From: Mara</p><ul><li>Hello</li></ul><br/>Ada, how much is it?<img src=x>",
        "<ul><li>Hello</li></ul><br/>Ada, how much is it?<img src=x>",
    ),
}


def words(text: str) -> str:
    """Return the letters of a text; quote marks do not count."""
    return "".join(re.findall(r"\w+", text.casefold()))


@pytest.mark.parametrize("name", PAGES)
def test_the_page_begins_with_the_text(name: str) -> None:
    """From the element that opens the text to the end, without loose ends."""
    page, expected = PAGES[name]
    assert forwarded_page(page, TEXT) == expected


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>From: Mara Hello Ada, how much is it?</p>", TEXT),  # within one piece
        ("<p>From: Mara</p><p>Hello Bob</p>", TEXT),
        ("<p>Hello Ada, how much is it?</p><p>Confidential</p>", TEXT),
        ("<p>it?</p>", TEXT),
        ("", TEXT),
        ("<p>Hello</p>", "!"),
        (" " * MAX_PAGE + "<p>Hello Ada, how much is it?</p>", TEXT),
    ],
)
def test_what_is_unsure_has_no_page(page: str, text: str) -> None:
    """Half a page would show what the mail does not say."""
    assert forwarded_page(page, text) is None


def test_pages_of_every_program_show_the_text_of_the_mail() -> None:
    """Where there is a page, it has the words of the forwarded mail and no others."""
    pages = shown = 0
    for mail in forwards()[::9]:
        found = parse(mail.raw)
        if found.html and found.forward:
            pages += 1
            if found.forward.html:
                shown += 1
                told = html_to_text(found.forward.html)
                assert words(told) == words(found.forward.text)
    assert pages
    assert shown / pages > 0.9


def test_a_page_that_says_more_than_the_text() -> None:
    """Links are written out in the plain text of some programs; the page counts."""
    raw = (
        b"From: ada@corp.example\nSubject: Fwd: Question\nMIME-Version: 1.0\n"
        b'Content-Type: multipart/alternative; boundary="b"\n\n'
        b"--b\nContent-Type: text/plain\n\n"
        b"---------- Forwarded message ---------\nFrom: Mara <mara@acme.example>\n"
        b"Date: 2026-11-25 16:58\nSubject: Question\nTo: Ada <ada@corp.example>\n\n"
        b"See our site (https://acme.example/x).\n"
        b"--b\nContent-Type: text/html\n\n"
        b"<div>---------- Forwarded message ---------<br>"
        b"From: Mara &lt;mara@acme.example&gt;<br>Date: 2026-11-25 16:58<br>"
        b"Subject: Question<br>To: Ada &lt;ada@corp.example&gt;<br></div><br>"
        b'<p>See <a href="https://acme.example/x">our site</a>.</p>\n--b--\n'
    )
    found = parse(raw).forward
    assert found
    assert found.html == '<p>See <a href="https://acme.example/x">our site</a>.</p>'
    other = parse(raw.replace(b"From: Mara &lt;mara@", b"From: Eve &lt;eve@")).forward
    assert other
    assert (other.from_.address, other.html) == ("mara@acme.example", None)


@pytest.mark.parametrize("piece", ["<p>", "</p>", "<p>a</p>", "<!--", "a<", "&amp;"])
def test_time_is_linear(piece: str) -> None:
    """Any page is cut, or not, in the time that its length takes."""
    assert forwarded_page(piece * 20_000, "b" * 1000) is None
