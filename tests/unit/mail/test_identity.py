"""The keys of a mail: pinned for ever, equal for copies, different for mails."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from relay.mail import content_keys, keys_of, parse
from relay.mail.identity import folded_body

RAW = (
    b"Received: from a by b\r\n"
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@corp.example>\r\n"
    b"To: Bob <bob@cust.example>,\r\n al@cust.example\r\n"
    b"Cc: c@cust.example\r\n"
    b"Subject: The  offer\r\n"
    b"Date: Mon, 02 Jun 2025 10:00:00 +0000\r\n"
    b"Message-ID: <1.2@corp.example>\r\n"
    b"\r\n"
    b"Dear Bob,\r\n\r\nhere it is.\r\n"
)
KEY1 = "b4b1c3835257d6cab76c1ca1c7d54d4990d7874ec0e503e4c264d65ad07bc34d"
KEY2 = "e4b3dc6e0c18a129e95cf24c5886e7f34e851929debc81cf053bc03ecee96335"
BARE1 = "85f97a2c82998dd3e06268b5742bb845fcb7e5d2904f87e5753e4bea066a999a"
BARE2 = "7c5daf8d245ecd177aa87c18db9433c2f786049253fd0c19dffe1c91db0a69ff"

TIMED1 = "692a629345c8846f483f4d407702404291bfd965649f7a55cc9af492b639bfa0"
TIMED2 = "394213cf02d40a030ccf5f84e20d25dbaebf61502ee3d0350f84bc344eda787f"


def without(name: bytes, raw: bytes = RAW) -> bytes:
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.replace(b"\r\n ", b"\x00").split(b"\r\n")
    kept = [item for item in lines if not item.lower().startswith(name.lower() + b":")]
    return b"\r\n".join(kept).replace(b"\x00", b"\r\n ") + b"\r\n\r\n" + body


def test_the_recipe_never_changes() -> None:
    """Stored keys are compared with new ones for years: these vectors stay."""
    assert content_keys(RAW) == (KEY1, KEY2)
    assert content_keys(b"From: a@x.example\n\nhi\n") == (BARE1, BARE2)


def test_the_recipe_is_the_one_that_is_written_down() -> None:
    """The docstring's recipe, done by hand, gives the same keys."""

    def digest(*items: bytes) -> str:
        joined = b"".join(str(len(i)).encode() + b":" + i + b"," for i in items)
        return hashlib.sha256(joined).hexdigest()

    sender = b"=?utf-8?q?J=C3=BCrgen?= <j@corp.example>"
    date = b"Mon, 02 Jun 2025 10:00:00 +0000"
    assert content_keys(RAW) == (
        digest(b"relay-key-1", b"<1.2@corp.example>", sender, date),
        digest(
            b"relay-key-2", sender, date, b"The offer",
            b"Bob <bob@cust.example>, al@cust.example", b"c@cust.example",
            b"Dear Bob, here it is.",
        ),
    )  # fmt: skip


def test_parse_gives_the_same_keys() -> None:
    """What the worker reads is what the store compares."""
    email = parse(RAW)
    assert (email.key1, email.key2) == content_keys(RAW)


@pytest.mark.parametrize(
    "copy",
    [
        RAW.replace(b"\r\n", b"\n"),
        RAW.replace(b",\r\n al@", b",\r\n\t  al@"),
        RAW.replace(b"Subject", b"SUBJECT"),
        RAW.replace(b"Subject:", b"subject: "),
        b"Received: from x by y\r\nDKIM-Signature: v=1\r\n" + RAW,
        b"Bcc: hidden@x.example\r\n" + RAW,
        without(b"Received"),
        b"From ann Mon Jun  2\r\n" + RAW,
        RAW + b"\r\n\r\n",
        RAW.replace(b"Dear Bob,\r\n\r\n", b"Dear Bob, \r\n"),
        RAW.replace(b"Cc:", b"Cc:\r\nCc:"),
        RAW.replace(b"<1.2@corp.example>", b"\r\n <1.2@corp.example>"),
    ],
)
def test_copies_have_the_same_keys(copy: bytes) -> None:
    """Folding, line ends, case of names and what servers add change nothing."""
    assert content_keys(copy) == (KEY1, KEY2)


def test_a_footer_keeps_key_1_and_a_new_id_keeps_key_2() -> None:
    """A list's footer, and a rewritten Message-ID, still join the mail."""
    assert content_keys(RAW + b"-- \r\nlist footer\r\n")[0] == KEY1
    assert content_keys(RAW.replace(b"Subject: ", b"Subject: [list] "))[0] == KEY1
    rewritten = content_keys(RAW.replace(b"<1.2@", b"<other@"))
    assert rewritten[0] != KEY1
    assert rewritten[1] == KEY2


@pytest.mark.parametrize(
    "other",
    [
        RAW.replace(b"j@corp", b"k@corp").replace(b"<1.2@", b"<3@"),
        RAW.replace(b"10:00:00", b"10:00:01"),
        RAW.replace(b"offer", b"order").replace(b"<1.2@", b"<3@"),
        RAW.replace(b"bob@", b"rob@").replace(b"<1.2@", b"<3@"),
        RAW.replace(b"c@cust", b"d@cust").replace(b"<1.2@", b"<3@"),
        RAW.replace(b"here it is", b"there it is").replace(b"<1.2@", b"<3@"),
    ],
)
def test_other_mails_have_other_keys(other: bytes) -> None:
    """Another sender, date, subject, recipient or text is another mail."""
    key1, key2 = content_keys(other)
    assert key1 != KEY1
    assert key2 != KEY2


def test_an_id_used_again_does_not_swallow_another_mail() -> None:
    """A program with one Message-ID for all its mails still has its mails logged."""
    again = RAW.replace(b"Mon, 02", b"Tue, 03").replace(b"here it is", b"and more")
    assert not set(content_keys(again)) & {KEY1, KEY2}


@pytest.mark.parametrize("ident", [b"", b"Message-ID:\r\n", b"Message-ID: <>\r\n"])
def test_without_an_id_key_1_says_what_key_2_says(ident: bytes) -> None:
    """Two mails of one second without an id are told apart by their content."""
    first = ident + without(b"Message-ID")
    other = first.replace(b"here it is", b"another text")
    assert content_keys(first)[0] != content_keys(other)[0]
    assert content_keys(first)[1] == KEY2
    assert content_keys(first) == content_keys(first.replace(b"\r\n", b"\n"))


def test_without_a_date_key_2_needs_the_id() -> None:
    """Automatic mails of one wording and no date are not one mail."""
    first = without(b"Date")
    other = first.replace(b"<1.2@", b"<3@")
    assert content_keys(first)[1] != content_keys(other)[1]


def test_only_the_first_4_kb_of_the_folded_body_count() -> None:
    """A long text is known by its beginning; blanks do not use up the window."""
    start = RAW + b"x" * 5000
    assert content_keys(start + b"one")[1] == content_keys(start + b"two")[1]
    assert content_keys(RAW + b"x" * 3000 + b"one")[1] != content_keys(start)[1]
    spread = b"word\r\n" + b" " * 60_000 + b"end"
    assert folded_body(spread, 0) == b"word end"
    long = b" ".join([b"%d" % number for number in range(5000)])
    assert folded_body(long, 0) == long[:4096]
    assert folded_body(long.replace(b" ", b"\r\n  "), 0) == long[:4096]
    assert folded_body(b"", 0) == b""


def test_any_bytes_have_keys() -> None:
    """Even what cannot be read as a mail has keys."""
    assert content_keys(b"") == content_keys(b"\r\n")
    assert content_keys(b"\xff\x00")[0] != content_keys(b"\xff\x01")[0]


UNDATED = b"From: a@x.example\r\nSubject: Weekly\r\n\r\nThe report is ready.\r\n"
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def joins(first: datetime, second: datetime, raw: bytes = UNDATED) -> bool:
    """Say whether two copies of a mail, received at these times, are one mail."""
    one, other = keys_of(parse(raw), first), keys_of(parse(raw), second)
    return one[0] == other[0] or one[1] == other[1]


@pytest.mark.parametrize("hour", range(24))
def test_without_id_and_date_a_resend_joins_for_hours(hour: int) -> None:
    """A copy that comes within four hours is the mail; after eight it is not."""
    first = NOON + timedelta(hours=hour, minutes=7)
    for minutes in (0, 1, 30, 120, 239):
        assert joins(first, first + timedelta(minutes=minutes))
    for hours in (8, 12, 24, 7 * 24, 365 * 24):
        assert not joins(first, first + timedelta(hours=hours))


def test_what_is_dated_joins_for_ever() -> None:
    """An id or a date alone tells a mail from others; the time says nothing more."""
    for raw in (RAW, without(b"Date"), without(b"Message-ID")):
        email = parse(raw)
        assert email.dated
        assert keys_of(email, NOON) == content_keys(raw)
    assert not parse(b"Message-ID: <>\r\nDate:\r\n" + UNDATED).dated


def test_the_recipe_with_a_time_never_changes() -> None:
    """These keys are stored as well."""
    assert keys_of(parse(UNDATED), NOON) == (TIMED1, TIMED2)
