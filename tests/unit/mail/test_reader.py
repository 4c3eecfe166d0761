"""An Email as a whole."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from relay.core.errors import UnparsableMessage
from relay.core.model import Mailbox
from relay.mail import parse
from relay.mail.reader import MAX_HEADERS
from tests.fakes.torture import headed, mail

RAW = (
    b"Received: from a by b\r\n"
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@corp.example>\r\n"
    b"To: Bob <bob@cust.example>,\r\n al@cust.example\r\n"
    b"Cc: c@cust.example\r\n"
    b"Bcc: d@cust.example\r\n"
    b"Reply-To: r@corp.example\r\n"
    b"Subject: The\r\n offer\r\n"
    b"Date: Mon, 02 Jun 2025 12:00:00 +0200\r\n"
    b"Message-ID: <1.2@corp.example>\r\n"
    b"In-Reply-To: <0@cust.example>\r\n"
    b"References: <a@cust.example>\r\n <0@cust.example>\r\n"
    b"\r\n"
    b"Dear Bob,\r\n\r\nhere it is.\r\n"
)


def test_a_sound_mail_is_read_whole() -> None:
    """Every field of the Email is what the mail says, and nothing was mended."""
    email = parse(RAW)
    assert email.from_ == (Mailbox("Jürgen", "j@corp.example"),)
    assert email.to == (
        Mailbox("Bob", "bob@cust.example"),
        Mailbox("", "al@cust.example"),
    )
    assert email.cc == (Mailbox("", "c@cust.example"),)
    assert email.bcc == (Mailbox("", "d@cust.example"),)
    assert email.reply_to == (Mailbox("", "r@corp.example"),)
    assert email.subject == "The offer"
    assert email.date == datetime(2025, 6, 2, 10, 0, tzinfo=UTC)
    assert email.message_id == "<1.2@corp.example>"
    assert email.in_reply_to == ("<0@cust.example>",)
    assert email.references == ("<a@cust.example>", "<0@cust.example>")
    assert email.text == "Dear Bob,\n\nhere it is.\n"
    assert email.html is None
    assert email.attachments == ()
    assert email.headers == RAW.partition(b"\r\n\r\n")[0].decode().replace("\r\n", "\n")
    assert email.repairs == ()


@pytest.mark.parametrize(
    ("value", "ident"),
    [
        (b"<a@b>", "<a@b>"),
        (b"<a@b> (comment) <c@d>", "<a@b>"),
        (b"<a@b\r\n c>", "<a@bc>"),
        (b"a@b", "<a@b>"),
        (b"plain", "<plain>"),
        (b"a@b>", "<a@b>"),
        (b"two words", None),
        (b"your mail of today, a@b", "<a@b>"),
        (b"", None),
        (b"<>", None),
        (b"< >", None),
        (b"<g\xfc@b>", "<gü@b>"),
    ],
)
def test_message_ids_have_brackets(value: bytes, ident: str | None) -> None:
    """Ids keep their brackets, get them where they are missing, or are None."""
    assert parse(headed(b"From: a@x", b"Message-ID: " + value)).message_id == ident


def test_the_first_message_id_counts() -> None:
    """A second field does not change the id."""
    raw = headed(b"From: a@x", b"Message-ID: <1@x>", b"Message-ID: <2@x>")
    assert parse(raw).message_id == "<1@x>"


def test_a_date_that_cannot_be_read_is_told() -> None:
    """It is None, as is an absent one, but not silently."""
    assert parse(mail(b"Date: yesterday")).repairs == ("date_unreadable",)
    assert parse(mail(b"Date: yesterday")).date is None
    assert parse(mail()).repairs == ()


def test_the_header_text_is_bounded() -> None:
    """At most 64 KB are kept, cut behind a whole line where there is one."""
    email = parse(mail(*[b"X-Line: " + b"y" * 60] * 2000))
    assert MAX_HEADERS - 2000 < len(email.headers) < MAX_HEADERS
    assert email.headers.endswith("y" * 60)
    assert len(parse(b"X: " + b"y" * 100_000 + b"\n\n").headers) == MAX_HEADERS


@pytest.mark.parametrize(
    "raw", [b"", b"\r\n\r\n", b"no header", b"\0" * 50, b"\r\nFrom: a@x\r\n"]
)
def test_bytes_without_a_header_field_are_no_mail(raw: bytes) -> None:
    """They raise UnparsableMessage with a text that holds nothing of them."""
    with pytest.raises(
        UnparsableMessage, match=r"^the mail (is empty|has no header field)$"
    ):
        parse(raw)
