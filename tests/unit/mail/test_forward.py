# ruff: noqa: E501, RUF001 - lines as programs write them.
"""The mail within a mail is read, in any program and language, or there is a reason."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from relay.core.model import Forward
from relay.mail import decoded, forward, parse
from relay.mail import reader as reading
from relay.mail.forward import Unsure, bare_subject, content_key, read_inline
from relay.mail.forward_labels import LANGUAGES
from relay.mail.local_dates import parse_local
from tests.fakes.cpu import assert_cpu_below
from tests.fakes.forwards import (
    BODY,
    CORPUS,
    PROGRAMS,
    SUBJECT,
    WORDS,
    Mail,
    compose,
    gmail,
    outlook,
    special,
    variants,
)
from tests.fakes.real_life import B64, PDF, b64, mixed, multi, part, text

EN = WORDS["en"]


def said(mail: Mail) -> dict[str, object]:
    """Return what is read of a mail of the corpus."""
    email = parse(mail.raw)
    found = email.forward
    if found is None:
        why = {} if mail.unsure is None else {"unsure": email.forward_unsure}
        return {"sender": None, **why}
    return {
        "sender": found.from_.address,
        "to": tuple(box.address for box in found.to),
        "cc": tuple(box.address for box in found.cc),
        "subject": found.subject,
        "note": found.note,
        "outbound": found.outbound,
        "shown": mail.shown if mail.shown in found.text else found.text,
        **({} if mail.when is None else {"when": found.date}),
    }


def right(mail: Mail) -> dict[str, object]:
    """Return what is right of it, under the same names."""
    return {name: getattr(mail, name) for name in said(mail)}


def test_the_corpus_is_large() -> None:
    """At least 12 programs in 40 languages, each in some shape."""
    assert len(PROGRAMS) >= 12
    assert len(LANGUAGES) >= 40
    assert len(CORPUS) > 300
    assert len({mail.name for mail in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_forwards_of_every_program(language: str) -> None:
    """People, date, subject, text and note are those of the forwarded mail."""
    mails = [mail for mail in CORPUS if f", {language}, " in mail.name]
    assert len(mails) >= len(PROGRAMS)
    wrong = {mail.name: said(mail) for mail in mails if said(mail) != right(mail)}
    assert not wrong


@pytest.mark.parametrize("mail", special(), ids=lambda mail: mail.name)
def test_what_is_special(mail: Mail) -> None:
    """Each has one thing about it; what is no forward has a reason or none."""
    assert said(mail) == right(mail)


def test_harmless_changes_change_nobody() -> None:
    """Footers with a From line, quote marks and the like."""
    for mail in variants():
        assert said(mail) == right(mail), mail.name


def test_chains_are_read_to_eight_levels() -> None:
    """Each forward within a forward is one level deeper, up to the last that is read."""
    lines = [*gmail(EN, "en"), "innermost"]
    for _ in range(11):
        lines = [*gmail(EN, "en"), *lines]
    found = parse(compose(f"Fwd: {SUBJECT}", lines, "plain")).forward
    depth = 0
    while found:
        depth, found = depth + 1, found.inner
    assert depth == forward.MAX_LEVELS


def attached(
    *mails: bytes, subject: str = "FW: two mails", kind: str = "message/rfc822"
) -> bytes:
    """Return a mail with others attached."""
    parts = [part("See below.", "Content-Type: text/plain")]
    parts += [part(mail, f"Content-Type: {kind}; name=m.eml") for mail in mails]
    line, body = multi("mixed", *parts, boundary="OUT")
    return (
        text("", subject=subject).partition(b"Content-Type")[0]
        + line.encode()
        + b"\r\n\r\n"
        + body
    )


def test_several_attached_mails_are_several_forwards() -> None:
    """Each has its people, its id and its files, found again in the bytes."""
    with_file = mixed(
        part("How much?", "Content-Type: text/plain"),
        part(b64(PDF), "Content-Type: application/pdf; name=o.pdf", B64),
    )
    raw = attached(with_file, text("second", sender="Tim <tim@leads.example>"))
    first, second = parse(raw).forwards
    assert (first.how, first.from_.address, first.note) == (
        "attached",
        "ada@seller.example",
        "See below.",
    )
    assert first.outbound
    assert first.message_id == "<x@mail.seller.example>"
    assert first.date == datetime(2026, 11, 30, 4, tzinfo=UTC)
    assert (second.from_.address, second.text.strip()) == (
        "tim@leads.example",
        "second",
    )
    (file,) = first.attachments
    assert b"".join(decoded([raw[file.start : file.end]], file.encoding)) == PDF
    assert parse(attached(with_file, kind="application/octet-stream")).forward
    assert not parse(
        attached(with_file, subject="Re: x", kind="application/pdf")
    ).forward


def test_attached_mails_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large, too deep or no mail is told, and the others are read."""
    good = text("good")
    email = parse(attached(b"no mail", good))
    assert (len(email.forwards), email.forward_unsure) == (1, "attached_unreadable")
    email = parse(attached(b"Subject: nobody\r\n\r\nx"))
    assert (email.forwards, email.forward_unsure) == ((), "attached_without_sender")
    monkeypatch.setattr(reading, "MAX_INNER_BYTES", 10)
    assert parse(attached(good)).forward_unsure == "attached_beyond_limits"
    monkeypatch.undo()
    raw = good
    for _ in range(12):
        raw = attached(raw)
    assert parse(raw).forward


def test_bounces_are_no_forwards() -> None:
    """The mail that a report is about is not forwarded by anybody."""
    raw = attached(text("lost")).replace(b"multipart/mixed", b"multipart/report")
    assert parse(raw).forwards == ()
    automatic = attached(text("x")).replace(
        b"MIME", b"Auto-Submitted: auto-replied\r\nMIME", 1
    )
    assert parse(automatic).forwards == ()


def test_the_key_is_the_same_for_every_forward() -> None:
    """Quote marks, prefixes, blanks and the program that forwards change no key."""
    keys = {
        parse(mail.raw).forward.key  # type: ignore[union-attr]
        for mail in CORPUS
        if mail.name.startswith(
            ("gmail, en", "outlook, en", "thunderbird, en", "ios, en")
        )
        and "footer" not in mail.name
    }
    assert keys == {content_key("Mara@acme.example", f"Re: {SUBJECT}", BODY)}
    assert content_key("no address", "", "") != content_key("mara@acme.example", "", "")


@pytest.mark.parametrize(
    ("subject", "bare"),
    [
        ("Fwd: Re: AW: Offer", "Offer"),
        ("[EXT] WG: Offer", "Offer"),
        ("[Fwd: Offer]", "Offer"),
        ("FW[2]: RE(3): Offer", "Offer"),
        ("转发：报价", "报价"),
        ("Offer: now", "Offer: now"),
        ("Fwd: " * 20 + "x", "Fwd: " * 11 + "Fwd: x"),
        ("", ""),
    ],
)
def test_prefixes(subject: str, bare: str) -> None:
    """Prefixes of replies and forwards are taken off, other words are not."""
    assert bare_subject(subject) == bare


@pytest.mark.parametrize(
    "author",
    [
        "Ofis <o@acme.example> adına Mara <mara@acme.example>",
        "Mara <mara@acme.example> im Auftrag von Tim <tim@x.example> und Eva <e@x.example>",
        "Mara <mara@acme.example>; Tim <tim@leads.example>",
    ],
)
def test_two_authors_are_none(author: str) -> None:
    """Where it is not clear who wrote in whose name, nobody is named."""
    lines = [f"From: {author}", *outlook(EN, "en")[2:], BODY]
    found = read_inline("\n".join(lines), f"FW: {SUBJECT}")
    if "adına" in author:
        assert isinstance(found, Forward)
        assert found.from_.address == "o@acme.example"
    else:
        assert found == Unsure("several_senders")


@pytest.mark.parametrize("blank", ["\n", "\n\n"])
@pytest.mark.parametrize("label", ["Cc", "An", "To", "Kopie"])
@pytest.mark.parametrize("mark", ["---------- Forwarded message ---------\n", ""])
def test_a_mail_that_begins_with_a_label_names_nobody(
    blank: str, label: str, mark: str
) -> None:
    """What the author wrote below the header is no field of it."""
    header = "From: Kim <kim@x.example>\nDate: Mon, 2 Mar 2026 09:00\nSubject: Offer\n"
    letter = f"{label}: victim@v.example\n\nDear Ada"
    found = read_inline(f"{mark}{header}{blank}{letter}", "Fwd: Offer")
    assert isinstance(found, Forward)
    assert (found.to, found.cc) == ((), ())
    assert found.text == letter


def test_fields_may_stand_by_themselves() -> None:
    """Some programs make a paragraph of each field: then the next one is one as well."""
    text = (
        "From: Kim <kim@x.example>\n\nDate: Mon, 2 Mar 2026 09:00\n\nSubject: Offer\n\n"
        "To: Ada <ada@corp.example>\n\nCc: Lee <lee@x.example>\n\n\nDear Ada"
    )
    found = read_inline(text, "Fwd: Offer")
    assert isinstance(found, Forward)
    assert [box.address for box in (*found.to, *found.cc)] == [
        "ada@corp.example",
        "lee@x.example",
    ]


def test_headers_in_odd_forms() -> None:
    """Broken fields, further fields and half headers are read or refused."""
    head = "From: Mara Voss <mara@\nacme.example>\nSent: Wednesday, November 25, 2026 4:58 PM"
    wide = "Subject: A subject that is so long that a program broke it into two\nlines of its own"
    found = read_inline(
        f"{head}\nTo: Ada <ada@seller.example>;\nTim <tim@leads.example>\nImportance: High\nmore\n{wide}\n\nx",
        "FW: y",
    )
    assert isinstance(found, Forward)
    assert found.subject.endswith("two lines of its own")
    assert [box.address for box in found.to] == [
        "ada@seller.example",
        "tim@leads.example",
    ]
    for broken in (
        "From: Mara <m@x.example>\nTo: a@x.example",
        "From: m@x.example\n\n\nDate: 25.11.2026\nTo: a@x.example",
        "To: a@x.example\nDate: 25.11.2026\nSubject: z",
        "From: m@x.example\nFrom: n@x.example\nDate: 25.11.2026\nTo: a@x.example\nTo: b@x.example",
    ):
        found = read_inline(broken, "FW: y")
        assert found == Unsure("no_header") or isinstance(found, Forward)
    assert read_inline("Date:\t25.11.2026", "y") is None
    assert read_inline("-----\n\nFrom: a <a@x.example>", "y") is None
    assert read_inline("> quoted\n> text", "Fwd: y") == Unsure("no_header")
    assert read_inline("Somebody wrote:\n> quoted", "Fwd: y") == Unsure("no_header")
    named = read_inline(
        "a\n\nAm 25.11.2026 schrieb Mara, 7b <m@x.example>:\n\n> b", "Fwd: y"
    )
    assert isinstance(named, Forward)
    assert named.from_.name == ""


def test_labels_without_a_colon_need_a_line_above() -> None:
    """`To` at the start of a sentence is no label."""
    below = "From Mara <m@x.example>\nTo Ada <a@x.example>\nwith more words\n\nHi"
    line = "------ Forwarded Message ------\n"
    assert isinstance(read_inline(line + below, "y"), Forward)
    assert read_inline(below, "Fwd: y") == Unsure("no_header")


@pytest.mark.parametrize(
    ("line", "languages", "moment"),
    [
        ("Wed, 25 Nov 2026 16:58:00 +0100", {"en"}, "2026-11-25T15:58:00+00:00"),
        ("25 November 2026 at 17:58:00 CET", {"en"}, "2026-11-25T16:58:00+00:00"),
        ("11/25/2026 4:58 PM", {"en"}, "2026-11-25T16:58:00"),
        ("25/11/2026 12:05 AM", {"en"}, "2026-11-25T00:05:00"),
        ("4/5/2026 4:58 PM", {"en"}, "2026-04-05T16:58:00"),
        ("4/5/2026 16:58", {"en"}, None),
        ("5/5/2026 16:58", {"en"}, "2026-05-05T16:58:00"),
        ("04.05.26 16:58", {"de"}, "2026-05-04T16:58:00"),
        ("mercredi 25 novembre 2026 16h58", {"fr"}, "2026-11-25T16:58:00"),
        ("mar. 24 nov. 2026 à 17:58", {"fr"}, "2026-11-24T17:58:00"),
        ("25 novembra 2026", {"xx"}, "2026-11-25T00:00:00"),
        ("25 lip 2026 16:58", {"pl"}, "2026-07-25T16:58:00"),
        ("25 lip 2026 16:58", {"hr"}, "2026-06-25T16:58:00"),
        ("25 lip 2026 16:58", {"pl", "hr"}, None),
        ("25 พฤศจิกายน 2569 16:58", {"th"}, "2026-11-25T16:58:00"),
        ("2026/11/25 上午 9:05", {"zh"}, "2026-11-25T09:05:00"),
        ("32.13.2026 16:58", {"de"}, None),
        ("25 Nov", {"en"}, None),
        ("", {"en"}, None),
        ("soon", {"en"}, None),
        ("Wed, 45 Nov 2026 16:58:00 +0100", {"en"}, None),
    ],
)
def test_dates_in_their_language(
    line: str, languages: set[str], moment: str | None
) -> None:
    """The words say which number is the day; what could be two days is none."""
    found = parse_local(line, languages)
    assert (found.isoformat() if found else None) == moment


@pytest.mark.parametrize(
    "piece",
    ["From: a\n", "From: a@b.example\nDate: x\n", "To: a@b.example,\n", "Bcc: x\n", "----\n", "> x\n",
     "---------- Forwarded message ---------\n", "> " * 200 + "x\n", "From: a@b.example\nDate: 1\nTo: c@d.example\n\n"],
)  # fmt: skip
def test_time_is_linear(piece: str) -> None:
    """Whatever a text repeats, it is read once for each level."""
    hostile = piece * (300_000 // len(piece))
    assert_cpu_below(2, lambda: read_inline(hostile, "Fwd: x", "a@x.example"))
    assert_cpu_below(2, lambda: read_inline(hostile, "x", "a@x.example"))


def test_a_file_beside_an_attached_mail() -> None:
    """With a prefix it is a forward all the same; without one nothing says so."""
    line, body = multi(
        "mixed",
        part(text("good"), "Content-Type: message/rfc822"),
        part(b64(PDF), "Content-Type: application/pdf; name=o.pdf", B64),
    )
    for subject, count in (("Fwd: x", 1), ("x", 0), ("Re: x", 0)):
        head = text("", subject=subject).partition(b"Content-Type")[0]
        email = parse(head + line.encode() + b"\r\n\r\n" + body)
        assert len(email.forwards) == count


def test_each_address_of_a_line_counts_once() -> None:
    """A name is taken from where it stands, and what is no address is left out."""
    lines = [
        "From: m@x.example", "Date: 25.11.2026",
        "To: ada@x.example; Ada <ADA@x.example>; Ada B. <ada@x.example>; b@\u200b", "Subject: y", "", "Hi",
    ]  # fmt: skip
    found = read_inline("\n".join(lines), "Fwd: y")
    assert isinstance(found, Forward)
    assert [(box.name, box.address) for box in found.to][:1] == [
        ("Ada", "ADA@x.example")
    ]
    assert len(found.to) <= 2
