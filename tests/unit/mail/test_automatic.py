"""Mail that no person wrote is told by its header, and a rep's own mail is not."""

from __future__ import annotations

import pytest

from relay.core.automatic import (
    Automatic,
    AutomaticKind,
    MailKind,
    with_null_sender,
)
from relay.mail import header_fields, kind_of, parse, recognise


def found(*lines: str, method: str = "") -> Automatic | None:
    """Return what a header of these lines shows."""
    block = "\r\n".join((*lines, "", "")).encode()
    return recognise(header_fields(block), method)


REPORT = "Content-Type: multipart/report; boundary=b; report-type="


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        # RFC 3834 section 5: a keyword, then perhaps parameters and comments.
        ("Auto-Submitted: auto-replied", "auto_reply"),
        ("AUTO-SUBMITTED: (vacation) Auto-Replied; type=vacation", "auto_reply"),
        ("Auto-Submitted: auto-generated", "auto_generated"),
        ("Auto-Submitted: auto-notified; owner-email=a@b.example", "auto_generated"),
        ("Auto-Submitted: something-new", "auto_generated"),
        (REPORT + "delivery-status", "delivery_report"),
        (REPORT + '"Disposition-Notification"', "read_receipt"),
        (REPORT + "feedback-report", "abuse_report"),
        (REPORT + "tlsrpt", "auto_generated"),
        ("Content-Type: multipart/report", "auto_generated"),
        ("X-Autoreply: yes", "auto_reply"),
        ("X-Autorespond: Away", "auto_reply"),
        ("X-Auto-Reply-From: ada@corp.example", "auto_reply"),
        ("Precedence: auto_reply", "auto_reply"),
        ("Precedence: auto-reply", "auto_reply"),
        ("Delivered-To: Autoresponder", "auto_reply"),
        ("X-FC-MachineGenerated: true", "auto_generated"),
        ("List-Id: Sales talk <sales.lists.example>", "list_mail"),
        ("List-Post: <mailto:sales@lists.example>", "list_mail"),
        ("Precedence: list", "list_mail"),
        ("Mailing-List: contact sales-help@lists.example", "list_mail"),
        ("Precedence: bulk", "bulk_mail"),
        ("Precedence: Junk", "bulk_mail"),
        ("Return-Path: < >", "null_sender"),
        ("X-Auto-Response-Suppress: DR, OOF", "reply_suppressed"),
        ("List-Unsubscribe: <https://tool.example/u/1>", "campaign"),
        ("Feedback-ID: 1:2:3:tool", "campaign"),
        ("X-Relay-Notice: refused", "own_notice"),
    ],
)
def test_a_field_shows_the_kind(line: str, kind: str) -> None:
    """The sign names the field, so that a person finds it in the mail."""
    shown = found("From: ada@corp.example", line, "Subject: Offer")
    assert shown is not None
    assert shown.kind == kind
    assert shown.sign.partition(":")[0].lower() == line.partition(":")[0].lower()


@pytest.mark.parametrize(
    "line",
    [
        "Auto-Submitted: no",
        "Auto-Submitted: No (a person)",
        "Auto-Submitted:",
        "X-Autoreply: no",
        "X-FC-MachineGenerated: false",
        "X-Auto-Response-Suppress: None",
        "Precedence: first-class",
        "Precedence: normal",
        "Delivered-To: ada@corp.example",
        "Return-Path: <ada@corp.example>",
        "List-Id:",
        'Content-Type: text/plain; report-type="delivery-status"',
        "Content-Type: multipart/mixed; boundary=b",
        "Subject: Automatic reply: Question",
        "Subject: Out of office next week - shall we meet before?",
        "X-Priority: 1",
        "Importance: high",
        "X-Mailer: Tool 1.0",
        "References: <auto-replied@x.example>",
    ],
)
def test_a_persons_mail_is_not_automatic(line: str) -> None:
    """What a person's program may write, and a subject alone, show nothing."""
    assert found("From: ada@corp.example", line) is None


@pytest.mark.parametrize(
    "subject",
    [
        "Automatic reply: Question",
        "Automatische Antwort: Frage",
        "=?utf-8?Q?R=C3=A9ponse_automatique?= : Question",
        "=?utf-8?B?6Ieq5YuV5b+c562UOiDos6rllY8=?=",
        "Otomatik yan\u0131t: Soru",
        "OUT OF OFFICE: Re: Question",
    ],
)
@pytest.mark.parametrize(
    "beside",
    [
        "Precedence: bulk",
        "X-Auto-Response-Suppress: All",
        "X-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent",
        "Return-Path: <>",
    ],
)
def test_a_subject_counts_with_another_sign(subject: str, beside: str) -> None:
    """In any language; both signs are named."""
    shown = found(f"Subject: {subject}", beside)
    assert shown is not None
    assert shown.kind is AutomaticKind.AUTO_REPLY
    assert shown.sign.startswith("Subject: ")
    assert shown.sign.endswith(f", with {beside}")


def test_the_most_telling_sign_wins() -> None:
    """An out-of-office reply has many of them, and is one thing."""
    lines = ("X-Auto-Response-Suppress: All", "Precedence: bulk", "List-Id: <l.x>")
    reply = found(*lines, "Auto-Submitted: auto-replied")
    assert reply == Automatic(AutomaticKind.AUTO_REPLY, "Auto-Submitted: auto-replied")
    generated = ("Auto-Submitted: auto-generated", "Subject: Automatic reply: Hi")
    shown = found(*lines, *generated)
    assert shown is not None
    assert shown.kind is AutomaticKind.AUTO_REPLY
    report = found(*lines, REPORT + "delivery-status")
    assert report is not None
    assert report.kind is AutomaticKind.DELIVERY_REPORT


def test_every_field_of_a_name_is_read() -> None:
    """A first field that denies it does not hide a second one."""
    lines = ("Auto-Submitted: no", "Auto-Submitted: auto-replied")
    shown = found(*lines)
    assert shown is not None
    assert shown.sign == "Auto-Submitted: auto-replied"


def test_a_hostile_header_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of thousands of fields of one name the first few are read."""
    decoded = []
    monkeypatch.setattr(
        "relay.mail.automatic.decode_header", lambda v: decoded.append(v) or "no"
    )
    assert found(*["Auto-Submitted: no"] * 5000) is None
    assert len(decoded) == 20


def test_a_long_sign_is_cut() -> None:
    """It stands on one line of the trace."""
    shown = found("List-Id: " + "x" * 500)
    assert shown is not None
    assert len(shown.sign) == 120
    assert shown.sign.endswith("…")


@pytest.mark.parametrize("method", ["reply", "counter", "declinecounter"])
def test_a_calendar_answers(method: str) -> None:
    """Without any header field as well."""
    shown = found(method=method)
    assert shown is not None
    assert shown.kind is AutomaticKind.CALENDAR_REPLY
    assert shown.sign == f"Content-Type: text/calendar; method={method.upper()}"


@pytest.mark.parametrize("method", ["", "request", "cancel", "publish"])
def test_an_invitation_is_a_persons(method: str) -> None:
    """Whoever invites a customer has written to them."""
    assert found("From: ada@corp.example", method=method) is None
    assert found(method=method) is None


def calendar(method: str) -> bytes:
    """Return a mail with a calendar part, as Outlook and Google send it."""
    return (
        b"From: ada@corp.example\r\nTo: kim@customer.example\r\n"
        b"Subject: Accepted: Demo\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\n\r\nAda has accepted.\r\n"
        b"--b\r\nContent-Type: text/calendar; charset=utf-8; method="
        + method.encode()
        + b"\r\n\r\nBEGIN:VCALENDAR\r\n--b--\r\n"
    )


def test_the_reader_finds_the_calendar_part() -> None:
    """The method stands in the header of the part."""
    read = parse(calendar('"REPLY"')).automatic
    assert read is not None
    assert read.kind is AutomaticKind.CALENDAR_REPLY
    assert parse(calendar("REQUEST")).automatic is None


def test_the_reader_tells_the_kind() -> None:
    """An `Email` carries it."""
    read = parse(b"From: ada@corp.example\r\nPrecedence: bulk\r\n\r\nHello\r\n")
    assert read.automatic == Automatic(AutomaticKind.BULK_MAIL, "Precedence: bulk")
    assert parse(b"From: ada@corp.example\r\n\r\nHello\r\n").automatic is None


def test_the_null_sender_is_a_sign() -> None:
    """A sign that says more stands before it, a weaker one does not."""
    alone = Automatic(AutomaticKind.NULL_SENDER, "MAIL FROM:<>")
    assert with_null_sender(None) == alone
    assert with_null_sender(found("Feedback-ID: 1")) == alone
    assert with_null_sender(found("X-Auto-Response-Suppress: All")) == alone
    report = found(REPORT + "delivery-status")
    assert with_null_sender(report) == report


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ((), MailKind.DIRECT),
        (("List-Unsubscribe: <https://tool.example>",), MailKind.DIRECT),
        (("Precedence: bulk",), MailKind.DIRECT),
        (("List-Id: <sales.lists.example>",), MailKind.LIST),
        (("List-Id: <l.x>", "Resent-From: list@l.x"), MailKind.LIST),
        (("Resent-From: ada@corp.example",), MailKind.REDIRECTED),
        (("X-Forwarded-To: log-a@in.relay.example",), MailKind.FORWARDED),
        (("X-MS-Exchange-Inbox-Rules-Loop: a@b.example",), MailKind.FORWARDED),
        (("Auto-Submitted: auto-replied", "List-Id: <l.x>"), MailKind.AUTOMATIC),
        ((REPORT + "delivery-status",), MailKind.AUTOMATIC),
        (("X-Relay-Notice: digest",), MailKind.AUTOMATIC),
    ],
)
def test_the_way_of_a_mail(lines: tuple[str, ...], kind: MailKind) -> None:
    """Direct, by a list, forwarded, redirected, or made by a program."""
    block = "\r\n".join(("From: ada@corp.example", *lines, "", "")).encode()
    assert kind_of(header_fields(block)) is kind
    assert kind_of(header_fields(block), null_sender=True) is MailKind.AUTOMATIC
