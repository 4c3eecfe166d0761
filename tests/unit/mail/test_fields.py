"""The header scanner: every field, in order, undecoded."""

from __future__ import annotations

import pytest

from relay.mail import header_fields
from relay.mail.fields import MAX_FIELDS, scan, scan_part


def test_fields_come_in_order_with_lower_case_names() -> None:
    """Repeated fields are all there; names lose their case, values nothing."""
    raw = b"Received: a\r\nFROM: A <a@x>\r\nreceived:b \r\n\r\nTo: no@x\r\n"
    assert header_fields(raw) == [
        ("received", b"a"),
        ("from", b"A <a@x>"),
        ("received", b"b"),
    ]


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_folded_values_lose_their_line_ends_alone(end: bytes) -> None:
    """Unfolding keeps the blanks that stood behind the line end (RFC 5322 2.2.3)."""
    raw = end.join([b"Subject: one", b"  two", b"\tthree", b"To: a@x", b"", b"body"])
    assert header_fields(raw) == [("subject", b"one  two\tthree"), ("to", b"a@x")]


def test_scanning_stops_at_the_first_empty_line() -> None:
    """What looks like a field in the body is none."""
    header = scan(b"A: 1\n\nB: 2\r\n\r\nC: 3")
    assert header.fields == [("a", b"1")]
    assert header.body == len(b"A: 1\n\n")
    assert scan(b"A: 1\r\n\r\nB: 2\n\nC: 3").body == len(b"A: 1\r\n\r\n")


def test_a_limit_bounds_what_is_read() -> None:
    """Beyond the limit nothing is read; the body still starts where it does."""
    raw = b"A: 1\r\nB: " + b"x" * 100 + b"\r\nC: 3\r\n\r\nbody"
    assert header_fields(raw, 20) == [("a", b"1"), ("b", b"x" * 11)]
    header = scan(raw, 20)
    assert raw[header.body :] == b"body"
    assert header.repairs == ("header_cut",)
    broken = scan(b"A: 1\r\nno field " + b"x" * 100 + b"\r\n\r\nbody", 20)
    assert broken.repairs == ("header_cut", "header_line_ignored")


def test_the_number_of_fields_is_bounded() -> None:
    """More fields than any mail has are dropped, and noted."""
    header = scan(b"A: 1\n" * (MAX_FIELDS + 5) + b"\n")
    assert len(header.fields) == MAX_FIELDS
    assert header.repairs == ("fields_cut",)


def test_a_line_that_is_no_field_is_passed_over() -> None:
    """A recipient behind a broken line is not lost."""
    header = scan(b"From: a@x\r\nno field here\r\n folded\r\nTo: b@x\r\n\r\nbody")
    assert [name for name, _ in header.fields] == ["from", "to"]
    assert header.values("to") == [b"b@x"]
    assert header.repairs == ("header_line_ignored",)


def test_text_behind_the_last_field_belongs_to_the_body() -> None:
    """Where the empty line was forgotten, no text is lost."""
    raw = b"From: a@x\nTo: b@x\nDear Bob,\n\nyours\n"
    header = scan(raw)
    assert raw[header.body :] == b"Dear Bob,\n\nyours\n"
    assert raw[: header.end] == b"From: a@x\nTo: b@x\n"


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"\r\nTo: a@x\r\n\r\n", b"\x00\xff", b":\n"]
)
def test_no_fields(raw: bytes) -> None:
    """Bytes without a header have no fields."""
    assert header_fields(raw) == []


def test_the_header_of_a_part_ends_at_the_first_line_that_is_no_field() -> None:
    """It may be the next boundary, which must not be swallowed."""
    raw = b"A: 1\r\n--b\r\nC: 3\r\n"
    assert scan_part(raw, 0) == ([("a", b"1")], 6)
    assert scan_part(b"\nx", 0) == ([], 1)
    assert scan_part(b"A: 1", 0) == ([("a", b"1")], 4)
    fields, body = scan_part(b"A: 1\n" * 300, 0)
    assert (len(fields), body) == (200, 1000)
