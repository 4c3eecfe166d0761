"""What tells copies of a mail by its words."""

from __future__ import annotations

from datetime import UTC, datetime

from relay.mail import content_of, parse
from relay.mail.forward import letters, read_inline
from tests.fakes.values import boxes, email

CLOCK = datetime(2026, 11, 25, 16, 58)  # noqa: DTZ001 - a clock has no zone


def test_letters_are_the_same_in_every_program() -> None:
    """Targets of links, pictures, marks and blanks do not count."""
    one = "Hello Ada,\nsee https://a.example/x and [image: logo] tell\u00a0me."
    other = "> Hello   Ada,\n> see <https://b.example/y> and tell me."
    assert letters(one) == letters(other) == "helloadaseeandtellme"
    assert len(letters("-" * 2000 + "x" * 9000)) == 512
    assert letters("." * 9000 + "x") == ""


def test_the_content_of_a_mail() -> None:
    """Equal whoever the copy was for; a clock is read in a zone that is known."""
    mail = email(subject="Re: AW: Offer", to=boxes("B@x.example", "a@x.example"))
    plain = email(subject="Offer", to=boxes("a@X.example", "b@x.example"))
    one, other = content_of(mail), content_of(plain)
    assert one == other
    assert one is not None
    assert one.key != one.opening or mail.text == "Hello"
    assert len(one.recipients) == 2
    inline = email(date=None, local_date=CLOCK, forwarded="inline")
    found = content_of(inline, "Europe/Berlin")
    assert found is not None
    assert found.inline
    assert found.sent_at == datetime(2026, 11, 25, 15, 58, tzinfo=UTC)
    unknown = content_of(inline)
    assert unknown is not None
    assert (unknown.sent_at, unknown.clock) == (None, CLOCK)


def test_what_tells_nothing_has_no_content() -> None:
    """A short text without a date may come again; nobody's mail is nobody's copy."""
    assert content_of(email(date=None)) is None
    assert content_of(email(from_=())) is None
    assert content_of(email(date=None, text="x" * 40)) is not None


def test_the_clock_of_a_date_field() -> None:
    """It is the one that the author saw."""
    raw = b"From: a@x.example\nDate: Wed, 25 Nov 2026 16:58:00 +0100\n\nHi"
    mail = parse(raw)
    assert (mail.date, mail.local_date) == (
        datetime(2026, 11, 25, 15, 58, tzinfo=UTC),
        CLOCK,
    )


def test_a_rule_of_a_mailbox_is_no_author() -> None:
    """Auto-forwarded says nothing about who wrote a mail, and that it was passed on."""
    for line in (
        b"Auto-Submitted: auto-forwarded",
        b"X-Forwarded-To: log@in.example",
        b"Resent-From: ada@corp.example",
    ):
        mail = parse(b"From: mara@acme.example\n" + line + b"\n\nHi")
        assert mail.passed_on
        assert mail.automatic is None
    assert not parse(b"From: a@x.example\nAuto-Submitted: no\n\nHi").passed_on
    report = parse(
        b"From: a@corp.example\nTo: log@in.example\nSubject: FW: Offer\n"
        b"Auto-Submitted: auto-generated\n\nFrom: Mara <mara@acme.example>\n"
        b"Sent: 25 November 2026 16:58\nTo: Ada\nSubject: Offer\n\nHi"
    )
    assert report.automatic
    assert report.forward
    assert report.forward.from_.address == "mara@acme.example"


def test_inline_keys_tell_recipients_and_dates() -> None:
    """A mail to many, sent one by one, is as many mails."""
    text = "\nFrom: Mara <mara@acme.example>\nDate: 2026-11-25 16:58\nTo: {}\n\nHi"
    keys = set()
    for to in ("a@x.example", "A@x.example", "b@x.example"):
        found = read_inline(text.format(to), "Fwd: Offer")
        assert found
        assert not hasattr(found, "reason")
        keys.add(found.keys)
    assert len(keys) == 2
