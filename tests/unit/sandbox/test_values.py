"""One value of one field."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from relay.sandbox.errors import SandboxError
from relay.sandbox.metadata import Schema
from relay.sandbox.values import check_value, read_stamp, stamp, utf16_length

SCHEMA = Schema(["email", "shared_activities"])
TASK = SCHEMA.objects["Task"].fields
SUBJECT, DESCRIPTION = TASK["Subject"], TASK["Description"]
EMAIL = SCHEMA.objects["Contact"].fields["Email"]
AMOUNT = SCHEMA.objects["Opportunity"].fields["Amount"]


def refused(code, info, value):
    with pytest.raises(SandboxError) as raised:
        check_value(info, value)
    assert raised.value.code == code
    return raised.value


def test_lengths_are_counted_in_utf16_units():
    """Checklist 10: an emoji counts two, and nothing is cut."""
    assert utf16_length("a\u00e9\U0001f600") == 4
    assert check_value(SUBJECT, "\U0001f600" * 127) is not None
    error = refused("STRING_TOO_LONG", SUBJECT, "\U0001f600" * 128)
    assert "(max length=255)" in error.message
    assert check_value(SUBJECT, "x" * 255) == "x" * 255
    refused("STRING_TOO_LONG", SUBJECT, "x" * 256)
    refused("STRING_TOO_LONG", DESCRIPTION, "x" * 32_001)


def test_text_is_trimmed_and_empty_text_is_null():
    """The platform does the same; a key must survive that."""
    assert check_value(SUBJECT, "  a b \n") == "a b"
    assert check_value(SUBJECT, " \n") is None


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example",
        "o'neill+x=y@sub.b-c.example",
        "A.B@B.EXAMPLE",
        "a" * 64 + "@b.example",
    ],
)
def test_addresses_that_a_field_takes(address):
    """Checklist 12."""
    assert check_value(EMAIL, address) == address


@pytest.mark.parametrize(
    "address",
    [
        "a",
        "a@b",
        "@b.example",
        "a@",
        "a b@c.example",
        "a..b@c.example",
        ".a@c.example",
        "a.@c.example",
        "a@-c.example",
        "a@c..example",
        "\u00e9@c.example",
        "a@b\u00fccher.example",
        "<a@b.example>",
        "a@b.example, c@d.example",
        '"a b"@c.example',
        "a" * 65 + "@b.example",
    ],
)
def test_addresses_that_a_field_refuses(address):
    """Checklist 12: INVALID_EMAIL_ADDRESS."""
    refused("INVALID_EMAIL_ADDRESS", EMAIL, address)


def test_numbers_are_numbers():
    """Checklist 12: neither text nor booleans nor infinities."""
    assert check_value(AMOUNT, 1.5) == 1.5
    for value in ("1", True, float("inf"), float("nan"), [1]):
        assert refused("JSON_PARSER_ERROR", AMOUNT, value).whole
    count = TASK["CallDurationInSeconds"]
    refused("NUMBER_OUTSIDE_VALID_RANGE", count, 2**31)
    refused("JSON_PARSER_ERROR", count, 1.0)


def test_datetimes_are_stored_in_utc_and_whole_seconds():
    """Section 2.9: offsets in, UTC out."""
    field = TASK["ReminderDateTime"]
    stored = "2026-01-02T03:04:05.000+0000"
    for text in (
        "2026-01-02T03:04:05Z",
        "2026-01-02T04:04:05.987+01:00",
        "2026-01-02T03:04:05.000+0000",
    ):
        assert check_value(field, text) == stored
    assert read_stamp("0001-01-01T00:00:00Z") is None
    assert stamp(datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC)) == stored


def test_lists_of_ids_are_json_arrays():
    """Checklist 25: no text with separators; twice the same is once."""
    field = TASK["TaskWhoIds"]
    known = "003RM0000068xV6YAI"
    assert check_value(field, [known, known[:15]]) == [known]
    assert check_value(field, None) is None
    refused("JSON_PARSER_ERROR", field, known)
    refused("JSON_PARSER_ERROR", field, [5])
    refused("MALFORMED_ID", field, ["x"])


def test_restricted_picklists_take_their_values_only():
    """Checklist 11: TaskSubtype is restricted, Status is not."""
    refused("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", TASK["TaskSubtype"], "Mail")
    assert check_value(TASK["Status"], "Whatever") == "Whatever"


def test_a_type_that_nobody_can_write_is_refused():
    """A field of a compound type is not written directly."""
    odd = replace(SUBJECT, type="address")
    refused("INVALID_FIELD_FOR_INSERT_UPDATE", odd, "x")
