"""What is body and what is an attachment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.model import Attachment
from relay.mail import body as module
from relay.mail import parse
from tests.fakes.torture import HTML, PDF, PLAIN, inner, mail, multipart, part

if TYPE_CHECKING:
    import pytest


def test_attachments_say_all_that_is_known() -> None:
    """Name, type, decoded size, content id, and whether it belongs to the text."""
    raw = multipart(
        inner(
            b"related",
            b"r",
            HTML,
            part(b"image/png; name=l.png", b"12345", b"Content-ID: <l@x>"),
            part(
                b"image/gif",
                b"1",
                b"Content-ID: m@x",
                b"Content-Disposition: attachment",
            ),
        ),
        part(b"image/jpeg", b"123", b"Content-Disposition: inline; filename=i.jpg"),
        PDF,
    )
    found = parse(raw).attachments
    assert all(raw[a.start : a.end] and a.sha256 for a in found)
    assert tuple(
        Attachment(a.name, a.content_type, a.size_bytes, a.content_id, a.inline)
        for a in found
    ) == (
        Attachment("l.png", "image/png", 5, "l@x", inline=True),
        Attachment("", "image/gif", 1, "m@x", inline=False),
        Attachment("i.jpg", "image/jpeg", 3, None, inline=False),
        Attachment("x.pdf", "application/pdf", 1000, None, inline=False),
    )


def test_html_is_kept_beside_the_text() -> None:
    """The text is the plain one, the HTML stays as it is."""
    email = parse(multipart(PLAIN, HTML, kind=b"alternative"))
    assert email.text == "Grüße"
    assert email.html == "<p>Gr&uuml;&szlig;e <b>an</b> alle</p>"
    assert parse(mail()).html is None


def test_several_html_parts_are_joined() -> None:
    """Nothing of a mail in several pieces is lost."""
    email = parse(multipart(HTML, part(b"text/html", b"<p>two</p>")))
    assert email.html == "<p>Gr&uuml;&szlig;e <b>an</b> alle</p>\n<p>two</p>"
    assert email.text == "Grüße an alle\ntwo"


def test_a_named_inline_text_is_the_body_if_it_is_the_first() -> None:
    """A program that names the body's part still has a body; a second one is a file."""
    named = b"Content-Disposition: inline; filename=a.txt"
    email = parse(
        multipart(
            part(b"text/plain", b"one", named), part(b"text/plain", b"two", named)
        )
    )
    assert email.text == "one"
    assert [item.name for item in email.attachments] == ["a.txt"]


def test_text_and_html_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """All text of a mail together is held to a length, and the cut is noted."""
    monkeypatch.setattr(module, "MAX_TEXT", 10)
    email = parse(multipart(*[part(b"text/plain", b"1234567") for _ in range(3)]))
    assert email.text == "1234567\n123"
    assert email.repairs == ("text_cut",)
    whole = parse(mail(body=b"1234567890"))
    assert (whole.text, whole.repairs) == ("1234567890", ())


def test_blank_parts_make_no_lines() -> None:
    """An empty text between two others leaves no gap."""
    email = parse(
        multipart(PLAIN, part(b"text/plain", b"\r\n \r\n"), part(b"text/plain", b"x"))
    )
    assert email.text == "Grüße\nx"


def test_a_forward_with_a_subject_of_dots_has_a_name() -> None:
    """The name of a forwarded mail is never empty, and has no path in it."""
    head = b"Subject: %b\r\n\r\nx"
    names = []
    for subject in (b"...", b"", b"a/b\\c:d", b"=?utf-8?q?=C3=A4?=", b"x" * 200):
        email = parse(multipart(part(b"message/rfc822", head % subject)))
        names.append(email.attachments[0].name)
    assert names == [
        "message.eml",
        "message.eml",
        "a_b_c_d.eml",
        "ä.eml",
        "x" * 80 + ".eml",
    ]
