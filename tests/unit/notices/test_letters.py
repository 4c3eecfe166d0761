"""Each kind of notice as a letter: text and HTML say the same, and nothing lures."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from relay.config import NoticesSettings
from relay.core.automatic import AutomaticKind
from relay.core.notices import NoticeItem, NoticeKind, NoticeRow
from relay.core.states import ActivityState
from relay.core.translate import LANGUAGES, texts
from relay.mail import parse
from relay.notices.letters import (
    TEMPLATES,
    Paragraph,
    letter,
    mail,
    message_id,
    shown,
)

AT = datetime(2026, 7, 1, 12, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
SETTINGS = NoticesSettings(from_address="relay@corp.example", from_name="The Relay")
EVIL = '<a href="https://evil.example/x">Click</a> www.evil.example\r\nBcc: x@y.example'
FACTS = {
    "id": "01abc",
    "from": "Ada <ada@corp.example>",
    "to": "Kim & Co <kim@customer.example>",
    "subject": "Offer <b>now</b>",
    "detail": "no Contact has this address",
    "reply": "550 5.7.1 Not signed: do this (ref 01abc)",
}


def row(
    kind: NoticeKind, *items: dict[str, Any], count: int = 0, **facts: Any
) -> NoticeRow:
    """Return a notice of these events."""
    made = tuple(NoticeItem(f"k{n}", AT, item) for n, item in enumerate(items))
    return NoticeRow(
        *(1, f"{kind}-1", kind, "ada@corp.example", ActivityState.PLANNED, AT),
        facts=facts,
        items=made,
        count=count or len(made),
    )


def test_there_is_a_template_for_each_kind() -> None:
    """A kind without one could never be sent."""
    assert set(TEMPLATES) == set(NoticeKind)


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (NoticeKind.REFUSED, ["was refused", "550 5.7.1 Not signed: do this"]),
        (NoticeKind.HELD, ["not prove", "relay release ID"]),
        (NoticeKind.UNMATCHED, ["no Contact has this address", "relay retry ID"]),
        (NoticeKind.FAILED, ["did not take", "relay show ID"]),
        (NoticeKind.LOGGED, ["In Salesforce", "Offer"]),
    ],
)
def test_a_letter_about_a_mail(kind: NoticeKind, parts: list[str]) -> None:
    """It names the mail, when it came, what is wrong, and what helps."""
    made = letter(row(kind, FACTS), BERLIN)
    for part in (*parts, "2026-07-01 14:30", "id 01abc", "kim@customer.example"):
        assert part in made.text
    assert "(ref" not in made.text
    assert made.subject.startswith("A mail")
    assert "<b>now</b>" in made.text
    assert "Offer &lt;b&gt;now&lt;/b&gt;" in made.html
    assert "<b>" not in made.html


def test_many_events_are_one_letter() -> None:
    """The subject counts them; those that are not shown are counted."""
    made = letter(row(NoticeKind.UNMATCHED, FACTS, FACTS, count=30), BERLIN)
    assert made.subject.startswith("30 mails")
    assert "And 28 more." in made.text
    assert made.text.count("id 01abc") == made.html.count("id 01abc") == 2


def test_what_a_stranger_wrote_is_no_link() -> None:
    """Neither in text, where programs make links of addresses, nor in HTML."""
    reply = '550 5.7.1 Mail from "http://evil.example www.evil.example"@corp.example'
    facts = FACTS | {"subject": EVIL, "reply": reply}
    made = letter(row(NoticeKind.REFUSED, facts), BERLIN)
    for text in (made.text, made.html):
        assert "https://" not in text
        assert "http://" not in text
        assert "www.evil" not in text
        assert "https[:]//evil.example/x" in text
    assert "<a " not in made.html
    assert shown("x" * 500) == "x" * 119 + "…"
    assert shown(None) == ""


def test_a_held_mail_has_its_own_link() -> None:
    """By id; a mail without a link says whom to ask only if none has one."""
    other = FACTS | {"id": "01def"}
    links = {"01abc": "https://relay.example/release?a=1&b=2"}
    made = letter(row(NoticeKind.HELD, FACTS, other), BERLIN, links)
    assert "https://relay.example/release?a=1&b=2" in made.text
    assert 'href="https://relay.example/release?a=1&amp;b=2"' in made.html
    assert made.text.count("I have sent this mail") == 1
    assert "relay release ID" not in made.text


def test_a_held_mail_says_the_whole_cause() -> None:
    """What helps stands at the end of a long sentence; a link is not clickable."""
    cause = f"Nothing proves that {'a' * 120}@www.evil.example sent this; sign it"
    made = letter(row(NoticeKind.HELD, FACTS | {"detail": cause}), BERLIN)
    assert "sign it" in made.text
    assert "www.evil" not in made.text
    made = letter(row(NoticeKind.HELD, FACTS | {"detail": "", "reason": "old"}), BERLIN)
    assert "  old\n" in made.text


def test_a_digest_counts() -> None:
    """In an order of its own; what did not happen is left out."""
    counts = {"dead": 1, "logged": 12, "queued": 0}
    made = letter(row(NoticeKind.DIGEST, counts=counts, day="2026-07-01"), BERLIN)
    assert "- 12 logged in Salesforce\n- 1 failed" in made.text
    assert "waiting" not in made.text
    assert made.subject.endswith("2026-07-01")


def test_letters_of_a_claim() -> None:
    """The code stands on a line of its own."""
    who = {"user": "Ada <ada@corp.example>"}
    code = row(NoticeKind.CLAIM_CODE, code="123456", until="2026-07-01 15:00", **who)
    made = letter(code, BERLIN)
    assert "\n\n123456\n\n" in made.text
    assert "123456" in made.html
    assert "123456" not in made.subject
    done = letter(row(NoticeKind.CLAIM_DONE, address="a@b.example", **who), BERLIN)
    assert "a@b.example" in done.text


def test_the_letter_with_a_link_to_sign_in() -> None:
    """It has the link whole, says until when, and what to do if it was not you."""
    url = "https://relay.example/sign-in/link/abc-_123"
    facts = {"user": "ada@corp.example", "url": url, "until": "2026-07-01 15:00"}
    made = letter(row(NoticeKind.SIGN_IN_LINK, **facts), BERLIN)
    assert url in made.text
    assert f'href="{url}"' in made.html
    assert "2026-07-01 15:00" in made.text
    assert "do nothing" in made.text
    assert "abc-_123" not in made.subject


def test_the_letter_that_invites() -> None:
    """It greets, says what the console is for, and has the link whole."""
    url = "https://relay.example/sign-in/link/abc-_123"
    facts = {"user": "ada@corp.example", "url": url, "until": "2026-07-01 15:00"}
    made = letter(
        row(NoticeKind.SIGN_IN_LINK, **facts, name="Ada http://evil.example"), BERLIN
    )
    assert url in made.text
    assert f'href="{url}"' in made.html
    assert "2026-07-01 15:00" in made.text
    assert "You sign in as ada@corp.example" in made.text
    assert "http://evil" not in made.text
    assert "invitation" in made.subject


def read(raw: bytes) -> Any:
    """Return a mail as the recipient's program reads it."""
    return email.message_from_bytes(raw, policy=email.policy.default)


def test_the_mail_says_that_it_is_automatic() -> None:
    """RFC 3834; and the relay itself would skip it, whoever sends it back."""
    notice = row(NoticeKind.HELD, FACTS)
    raw = mail(notice, letter(notice, BERLIN), SETTINGS)
    made = read(raw)
    assert made["Auto-Submitted"] == "auto-generated"
    assert made["X-Auto-Response-Suppress"] == "All"
    assert made["X-Relay-Notice"] == "held"
    assert made["From"] == "The Relay <relay@corp.example>"
    assert made["To"] == "ada@corp.example"
    assert made["Message-ID"] == message_id(notice, "corp.example")
    assert made["Message-ID"] == "<notice.held-1@corp.example>"
    assert made["Date"].datetime == AT.replace(microsecond=0)
    assert [part.get_content_type() for part in made.iter_parts()] == [
        "text/plain",
        "text/html",
    ]
    found = parse(raw).automatic
    assert found is not None
    assert found.kind is AutomaticKind.OWN_NOTICE
    assert raw.isascii()
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert max(map(len, raw.split(b"\r\n"))) <= 998


def test_a_mail_is_the_same_each_time() -> None:
    """Apart from its boundary: a double can be told by Message-ID and Date."""
    notice = row(NoticeKind.HELD, FACTS)
    one, two = (read(mail(notice, letter(notice, BERLIN), SETTINGS)) for _ in range(2))
    assert (one["Message-ID"], one["Date"]) == (two["Message-ID"], two["Date"])


def test_nothing_gets_into_the_header() -> None:
    """A claimed address is checked before; here a line end is still no header."""
    from dataclasses import replace

    notice = replace(row(NoticeKind.HELD, FACTS), recipient="a@b.example\r\nBcc: c@d")
    with pytest.raises(ValueError, match="CR or LF"):
        mail(notice, letter(notice, BERLIN), SETTINGS)


def test_a_recipient_beyond_ascii() -> None:
    """The header is UTF-8 then (RFC 6532)."""
    from dataclasses import replace

    notice = replace(row(NoticeKind.HELD, FACTS), recipient="jürgen@corp.example")
    raw = mail(notice, letter(notice, BERLIN), SETTINGS)
    assert "To: jürgen@corp.example".encode() in raw


@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])
@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_letter_is_in_the_language_of_its_reader(
    kind: NoticeKind, language: str
) -> None:
    """No sentence of it is English; what others wrote stands as they wrote it."""
    facts = {"user": "Ada", "code": "12", "address": "a@b.example", "until": "12:00"}
    facts |= {"event": "raised", "rule": "disk", "raised_at": AT.isoformat()}
    counts = {"counts": {"logged": 2, "held": 1, "dead": 3}, "day": "2026-07-01"}
    told = row(kind, FACTS, FACTS, **facts, **counts)
    english = letter(told, BERLIN)
    made = letter(told, BERLIN, texts=texts(language))
    assert made.subject != english.subject
    assert len(made.blocks) == len(english.blocks)
    for one, other in zip(made.blocks, english.blocks, strict=True):
        if isinstance(one, Paragraph) and len(str(other)) > 30:
            assert one != other
    assert "{" not in made.text + made.subject


def test_a_held_mail_is_explained_in_the_language_of_its_reader() -> None:
    """The stored verdict is said again; one of an older relay stands as it is."""
    verdict = {"cause": "S209", "text": "old words", "address": "a@b.example"}
    known = FACTS | {"detail": "x", "verdict": verdict | {"detail": ""}}
    said = letter(row(NoticeKind.HELD, known), BERLIN, texts=texts("fr")).text
    assert "La signature DKIM de b.example a expiré (S209" in said
    known["verdict"] = verdict | {"cause": "S218", "detail": "the key is revoked"}
    said = letter(row(NoticeKind.HELD, known), BERLIN, texts=texts("sv")).text
    assert "b.example kan inte användas (nyckeln är återkallad)" in said
    older = FACTS | {"detail": "x", "verdict": verdict}
    assert "old words" in letter(row(NoticeKind.HELD, older), BERLIN).text


@pytest.mark.parametrize("kind", [NoticeKind.UNMATCHED, NoticeKind.FAILED])
def test_why_is_said_in_the_language_of_its_reader(kind: NoticeKind) -> None:
    """As the log keeps it in English; what Salesforce said stands as it is."""
    facts = FACTS | {"detail": "every outside address is excluded"}
    assert "alla externa adresser är utelämnade" in (
        letter(row(kind, facts), BERLIN, texts=texts("sv")).text
    )
    facts = FACTS | {"detail": "Close date is missing"}
    assert "Close date is missing" in (
        letter(row(kind, facts), BERLIN, texts=texts("sv")).text
    )


@pytest.mark.parametrize(
    ("event", "subject"),
    [
        ("raised", "Alert: Salesforce cannot be used since 2026-07-01 12:00 UTC: bad"),
        ("still", "Alert, still so: Salesforce cannot be used"),
        ("cleared", "Alert ended: Salesforce can be used again"),
        ("test", "Test: This is a test of the alerts"),
    ],
)
def test_alerts_by_mail(event: str, subject: str) -> None:
    """What is wrong, since when, and what helps; no link of a stranger stays one."""
    at = "2026-07-01T12:00:00+00:00"
    told = row(
        NoticeKind.ALERT,
        event=event,
        rule="connection",
        subject="https://corp.example",
        facts={"since": at, "cause": "bad https://evil.example"},
        raised_at=at,
        cleared_at=at if event == "cleared" else None,
    )
    made = letter(told, BERLIN)
    assert made.subject.startswith(subject)
    assert "://" not in made.text
    assert ("Raised at 2026-07-01 14:00." in made.text) == (
        event in {"raised", "still"}
    )
    assert ("relay check" in made.text) == (event in {"raised", "still"})
